"""The methods that are compared: each is fitted on the training images alone and embeds both splits.

A new method is one file here and one line: a class that derives from `Method` (its name, title, description
and colour, `plan` from what was asked for, `keys` and `embeddings`), and its entry in `METHODS`. Command
line, cache, tables, figures and report read the rest from the class.
"""

from evaluation.embedders.checkpoint import Checkpoint
from evaluation.embedders.embedding import Embedder, Embedding, EmbeddingKey, Images, SearchedRows
from evaluation.embedders.ensemble import Ensemble, n_members
from evaluation.embedders.method import Method, PlanRequest, Reduction
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
    "SearchedRows",
    "Tsne",
    "Umap",
    "Untrained",
    "Vae",
    "VaeUmap",
    "label",
    "position",
]

METHODS: dict[str, type[Method]] = {
    Raw.name: Raw,
    Pca.name: Pca,
    Umap.name: Umap,
    PcaUmap.name: PcaUmap,
    Tsne.name: Tsne,
    Pacmap.name: Pacmap,
    Untrained.name: Untrained,
    Vae.name: Vae,
    VaeUmap.name: VaeUmap,
    Ensemble.name: Ensemble,
}
"""The methods by name, in the order of tables and figures."""


def position(method: str) -> int:
    """Return a method's place among `METHODS`; one of another version comes last."""
    return list(METHODS).index(method) if method in METHODS else len(METHODS)


def label(key: EmbeddingKey) -> str:
    """Return an embedding's method as figures and tables show it, with its trial or its number of members."""
    if key.method == Ensemble.name and key.trial_id is not None:
        return f"ensemble of {n_members(key.trial_id)} VAEs"
    title = METHODS[key.method].title if key.method in METHODS else key.method
    return title + (f" {key.trial_id}" if key.trial_id else "")
