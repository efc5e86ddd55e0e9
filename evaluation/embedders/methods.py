"""The methods by name: what a reader calls them, and which are compared if nobody says otherwise."""

from dataclasses import dataclass

from evaluation.embedders.embedding import EmbeddingKey
from evaluation.embedders.ensemble import n_members


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How a method is presented."""

    title: str
    what: str
    default: bool = True
    """Whether it is compared without being asked for; further manifold methods would be dear."""


METHODS = {
    "raw": Method(title="raw pixels", what="the pixels themselves"),
    "pca": Method(title="PCA", what="principal components"),
    "umap": Method(title="UMAP", what="UMAP of the pixels, library defaults"),
    "pca_umap": Method(title="PCA + UMAP", what="UMAP of 50 principal components", default=False),
    "tsne": Method(title="t-SNE", what="t-SNE of 50 principal components", default=False),
    "pacmap": Method(title="PaCMAP", what="PaCMAP of the pixels, library defaults", default=False),
    "untrained": Method(title="untrained VAE", what="the best finalist's encoder before its training"),
    "vae": Method(title="VAE", what="posterior means of the finalists"),
    "vae_umap": Method(title="VAE + UMAP", what="UMAP of the best finalist's posterior means", default=False),
    "ensemble": Method(
        title="ensemble", what="posterior means of two or more finalists, scaled and side by side"
    ),
}


def label(key: EmbeddingKey) -> str:
    """Return an embedding's method as a reader calls it, with its trial or the size of its ensemble."""
    if key.method == "ensemble" and key.trial_id is not None:
        return f"ensemble of {n_members(key.trial_id)} VAEs"
    title = METHODS[key.method].title if key.method in METHODS else key.method
    return title + (f" {key.trial_id}" if key.trial_id else "")
