"""What an evaluation will do: the options, the finalists of a study, the embedders that they ask for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from evaluation.embedders import METHODS, Embedder, Pca, Raw, Umap, Vae
from evaluation.protocols import KnnGrid
from evaluation.run_directory import RunDirectory
from evaluation.tables import read_table
from vae.checkpoint import read_config
from vae.data import Dataset
from vae.errors import UserError

DEFAULT_DIMS = (2, 10)
DEFAULT_FINALISTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What may be chosen about an evaluation; None means the default.

    Parameters
    ----------
    methods
        Names from `METHODS`; all by default.
    dims
        Dimensions of PCA and UMAP: 2 and 10 by default, for PCA those of the VAEs too. Raw pixels and VAEs
        have their own.
    grid
        The KNN settings that are scored.
    seed
        Of UMAP.
    cpus
        CPUs of the Ray cluster that is started if none is connected.
    """

    methods: Sequence[str] | None = None
    dims: Sequence[int] | None = None
    grid: KnnGrid = field(default_factory=KnnGrid)
    seed: int = 0
    cpus: int | None = None

    def __post_init__(self) -> None:
        for method in self.methods or ():
            if method not in METHODS:
                close = get_close_matches(method, METHODS, n=1)
                hint = f"; did you mean '{close[0]}'?" if close else ""
                raise UserError(f"the method must be one of {', '.join(METHODS)}, got '{method}'{hint}")
        for dim in self.dims or ():
            if dim < 1:
                raise UserError(f"dims must be >= 1, got {dim}")

    def wants(self, method: str) -> bool:
        return self.methods is None or method in self.methods


def choose_finalists(run: RunDirectory, mode: str, n: int) -> list[str]:
    """Return the ids of the best ``n`` trials that ran their full budget, best first.

    Raises
    ------
    UserError
        There is none.
    """
    if n < 1:
        raise UserError(f"finalists must be >= 1, got {n}")
    trials = read_table(run.trials_file).to_pylist()
    done = [
        t for t in trials if t["status"] == "completed" and t["objective"] is not None and t["checkpoint"]
    ]
    done.sort(key=lambda trial: trial["objective"], reverse=mode == "max")
    if not done:
        raise UserError(
            f"none of the {len(trials)} trials in {run.path} ran its full budget and left a checkpoint; "
            "search on, or evaluate the baselines with --methods raw,pca,umap"
        )
    return [trial["trial_id"] for trial in done[:n]]


def vae_embedder(trial_id: str, checkpoint: Path, dataset: Dataset) -> Vae:
    config, image_shape = read_config(checkpoint)
    if image_shape != dataset.train.image_shape:
        raise UserError(
            f"the checkpoint {checkpoint} takes images of shape {image_shape} (C, H, W), those of "
            f"'{dataset.name}' have {dataset.train.image_shape}; name the dataset that it was trained on"
        )
    return Vae(trial_id, checkpoint, config.model.latent_dim)


def plan_embedders(dataset: Dataset, vaes: Sequence[Vae], options: Options) -> list[Embedder]:
    """Return the work to do.

    Raises
    ------
    UserError
        A dimension was asked for that the data does not have, or nothing is left to do.
    """
    n_pixels = dataset.train.images[0].numel()
    largest = min(n_pixels, len(dataset.train))
    if options.dims and max(options.dims) > largest:
        raise UserError(
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
    if options.wants("vae"):
        embedders.extend(vaes)
    if not embedders:
        raise UserError("there is nothing to evaluate: give at least one method")
    return embedders
