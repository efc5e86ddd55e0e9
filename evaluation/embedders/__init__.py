"""The methods that are compared: each is fitted on the training images alone and embeds both splits.

A new method is one file here and one line: a class that derives from `Method` (its name, title, description
and colour, `plan` from what was asked for, `keys` and `embeddings`), and its entry in `METHODS`. Command
line, cache, tables, figures and report read the rest from the class.
"""

from evaluation.embedders.checkpoint import Checkpoint
from evaluation.embedders.embedding import Embedder, Embedding, EmbeddingKey, Images
from evaluation.embedders.ensemble import Ensemble
from evaluation.embedders.method import Method, PlanRequest, Reduction
from evaluation.embedders.methods import METHODS, label, position
from evaluation.embedders.pacmap import Pacmap
from evaluation.embedders.pca import Pca
from evaluation.embedders.raw import Raw
from evaluation.embedders.tsne import Tsne
from evaluation.embedders.umap import PcaUmap, Umap, VaeUmap
from evaluation.embedders.untrained import Untrained
from evaluation.embedders.vae import Vae

__all__ = [
    "METHODS",
    "Checkpoint",
    "Embedder",
    "Embedding",
    "EmbeddingKey",
    "Ensemble",
    "Images",
    "Method",
    "Pacmap",
    "Pca",
    "PcaUmap",
    "PlanRequest",
    "Raw",
    "Reduction",
    "Tsne",
    "Umap",
    "Untrained",
    "Vae",
    "VaeUmap",
    "label",
    "position",
]
