"""The methods by name, in the order of tables and figures."""

from evaluation.embedders.embedding import EmbeddingKey
from evaluation.embedders.ensemble import Ensemble, n_members
from evaluation.embedders.method import Method
from evaluation.embedders.pacmap import Pacmap
from evaluation.embedders.pca import Pca
from evaluation.embedders.raw import Raw
from evaluation.embedders.tsne import Tsne
from evaluation.embedders.umap import PcaUmap, Umap, VaeUmap
from evaluation.embedders.untrained import Untrained
from evaluation.embedders.vae import Vae

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


def position(method: str) -> int:
    """Return a method's place among `METHODS`; one of another version comes last."""
    return list(METHODS).index(method) if method in METHODS else len(METHODS)


def label(key: EmbeddingKey) -> str:
    """Return an embedding's method as figures and tables show it, with its trial or its number of members."""
    if key.method == Ensemble.name and key.trial_id is not None:
        return f"ensemble of {n_members(key.trial_id)} VAEs"
    title = METHODS[key.method].title if key.method in METHODS else key.method
    return title + (f" {key.trial_id}" if key.trial_id else "")
