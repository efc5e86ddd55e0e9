"""What an evaluation will do: the options, the finalists of a study, the embedders that they ask for."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from evaluation.embedders import (
    METHODS,
    Embedder,
    Ensemble,
    Pacmap,
    Pca,
    PcaUmap,
    Raw,
    Tsne,
    Umap,
    Untrained,
    Vae,
    VaeUmap,
)
from evaluation.embedders.tsne import MAX_DIM as TSNE_MAX_DIM
from evaluation.scores.protocols import KnnGrid
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import FINALIST_SEEDS, read_frame
from vae.checkpoint import read_config, read_metrics
from vae.data import Dataset
from vae.errors import UsageError

DEFAULT_DIMS = (2, 10)
PICTURE_DIMS = (2,)
"""Of UMAP on top of a VAE, whose own embedding has as many dimensions as it needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What may be chosen about an evaluation; None means the default.

    Parameters
    ----------
    methods
        Names from `METHODS`; by default those that are marked so, of which the ensemble takes two VAEs.
    dims
        Dimensions of PCA, UMAP and PaCMAP: 2 and 10 by default, for PCA those of the VAEs too, and for UMAP
        on top of a VAE 2 alone. t-SNE takes those up to 2. Raw pixels, VAEs and ensembles have their own.
    grid
        The KNN settings that are scored.
    seed
        Of UMAP, t-SNE and PaCMAP.
    address
        Ray cluster to join; one is started on this machine if there is none and this program has none.
    cpus
        CPUs of the one that is started.
    """

    methods: Sequence[str] | None = None
    dims: Sequence[int] | None = None
    grid: KnnGrid = field(default_factory=KnnGrid)
    seed: int = 0
    address: str | None = None
    cpus: int | None = None

    def __post_init__(self) -> None:
        for method in self.methods or ():
            if method not in METHODS:
                close = get_close_matches(method, METHODS, n=1)
                hint = f"; did you mean '{close[0]}'?" if close else ""
                raise UsageError(f"the method must be one of {', '.join(METHODS)}, got '{method}'{hint}")
        for dim in self.dims or ():
            if dim < 1:
                raise UsageError(f"dims must be >= 1, got {dim}")

    def wants(self, method: str) -> bool:
        return METHODS[method].default if self.methods is None else method in self.methods

    @property
    def wants_vaes(self) -> bool:
        """Whether there is a method that needs the finalists."""
        return any(self.wants(method) for method in ("untrained", "vae", "vae_umap", "ensemble"))


def best_first(checkpoints: Sequence[Path]) -> list[Path]:
    """Return bare checkpoints by the validation metric that all of them have, KNN accuracy before SSIM.

    Without one they keep their order.

    Raises
    ------
    StorageError
        One is damaged.
    """
    metrics = {path: read_metrics(path) for path in checkpoints}
    for name in ("val_knn_accuracy", "val_ssim"):
        if all(name in found for found in metrics.values()):
            return sorted(checkpoints, key=lambda path: -metrics[path][name])
    return list(checkpoints)


def vae_embedder(trial_id: str, checkpoint: Path, dataset: Dataset) -> Vae:
    saved = read_config(checkpoint)
    if saved.image_shape != dataset.train.image_shape:
        raise UsageError(
            f"the checkpoint {checkpoint} takes images of shape {saved.image_shape} (C, H, W), those of "
            f"'{dataset.name}' have {dataset.train.image_shape}; name the dataset that it was trained on"
        )
    model, seed = saved.config.model, saved.config.training.seed
    return Vae(trial_id, checkpoint, model.latent_dim, seed, model.conditional)


def replica_embedders(run: RunDirectory, finalists: Sequence[Vae]) -> list[Vae]:
    """Return the finalists as they came out of the trainings with fresh seeds, as far as there are any."""
    originals = {vae.trial_id: vae for vae in finalists}
    return [
        replace(
            originals[row["trial_id"]], checkpoint=run.path / row["checkpoint"], training_seed=row["seed"]
        )
        for row in read_frame(run.finalist_seeds_file, FINALIST_SEEDS).to_dict("records")
        if row["trial_id"] in originals and row["status"] == "completed"
    ]


def plan_embedders(
    dataset: Dataset, vaes: Sequence[Vae], options: Options, replicas: Sequence[Vae] = ()
) -> list[Embedder]:
    """Return the work to do.

    Parameters
    ----------
    dataset
        Its size limits the dimensions.
    vaes
        The finalists' own models, best first.
    options
        What was asked for.
    replicas
        The finalists as fresh seeds made them.

    Raises
    ------
    UsageError
        A dimension was asked for that the data does not have, a method that takes more VAEs or dimensions
        than there are, or nothing is left to do.
    """
    n_pixels = dataset.train.images[0].numel()
    largest = min(n_pixels, len(dataset.train))
    if options.dims and max(options.dims) > largest:
        raise UsageError(
            f"dims must be <= {largest}, as {len(dataset.train)} images of {n_pixels} pixels allow, "
            f"got {max(options.dims)}"
        )
    dims = {dim for dim in options.dims or DEFAULT_DIMS if dim <= largest}
    own = set() if options.dims else {vae.latent_dim for vae in vaes if vae.latent_dim <= largest}
    embedders: list[Embedder] = []
    if options.wants("raw"):
        embedders.append(Raw(n_pixels))
    if options.wants("pca"):
        embedders.append(Pca(tuple(sorted(dims | own))))
    if options.wants("umap"):
        embedders.append(Umap(tuple(sorted(dims)), seed=options.seed))
    if options.wants("pca_umap"):
        embedders.append(PcaUmap(tuple(sorted(dims)), seed=options.seed))
    if options.wants("tsne"):
        embedders.append(Tsne(_tsne_dims(options), seed=options.seed))
    if options.wants("pacmap"):
        embedders.append(Pacmap(tuple(sorted(dims)), seed=options.seed))
    if options.wants("untrained") and vaes:
        embedders.append(Untrained(vaes[0]))
    if options.wants("vae"):
        embedders.extend([*vaes, *replicas])
    if options.wants("vae_umap") and vaes:
        embedders.append(_vae_umap(vaes[0], options))
    if options.wants("ensemble") and len(vaes) > 1:
        embedders.append(Ensemble(tuple(vaes)))
    elif options.methods and "ensemble" in options.methods:
        raise UsageError(
            f"an ensemble needs at least 2 VAEs, got {len(vaes)}; evaluate more, or leave it out of --methods"
        )
    if not embedders:
        raise UsageError("there is nothing to evaluate: give at least one method")
    return embedders


def _tsne_dims(options: Options) -> tuple[int, ...]:
    dims = sorted({dim for dim in options.dims or DEFAULT_DIMS if dim <= TSNE_MAX_DIM})
    if not dims:
        raise UsageError(
            f"tsne needs dims of 1 to {TSNE_MAX_DIM}, got {min(options.dims or ())}; "
            "leave it out of --methods"
        )
    return tuple(dims)


def _vae_umap(vae: Vae, options: Options) -> VaeUmap:
    dims = sorted({dim for dim in options.dims or PICTURE_DIMS if dim < vae.latent_dim})
    if not dims:
        raise UsageError(
            f"vae_umap needs dims below the {vae.latent_dim} of the best finalist, {vae.trial_id}, "
            f"got {min(options.dims or PICTURE_DIMS)}; leave it out of --methods"
        )
    return VaeUmap(vae, tuple(dims), seed=options.seed)
