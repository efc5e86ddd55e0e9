"""The methods that are compared: each is fitted on the training images alone and embeds both splits.

A new method is one class in a file here, one entry in `METHODS`, and a line in `evaluation.pipeline.plan`.
"""

from evaluation.embedders.embedding import Embedder, Embedding, EmbeddingKey, Images
from evaluation.embedders.ensemble import Ensemble
from evaluation.embedders.methods import METHODS, label
from evaluation.embedders.pacmap import Pacmap
from evaluation.embedders.pca import Pca
from evaluation.embedders.raw import Raw
from evaluation.embedders.tsne import Tsne
from evaluation.embedders.umap import PcaUmap, Umap, VaeUmap
from evaluation.embedders.untrained import Untrained
from evaluation.embedders.vae import Vae

__all__ = [
    "METHODS",
    "Embedder",
    "Embedding",
    "EmbeddingKey",
    "Ensemble",
    "Images",
    "Pacmap",
    "Pca",
    "PcaUmap",
    "Raw",
    "Tsne",
    "Umap",
    "Untrained",
    "Vae",
    "VaeUmap",
    "label",
]
