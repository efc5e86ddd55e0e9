"""What an evaluation will do: its options, and the embedders that they and the VAEs ask for."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from evaluation.embedders import METHODS, Checkpoint, Embedder, PlanRequest, Vae
from evaluation.scores.settings import KnnGrid
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import FINALIST_SEEDS, read_frame
from tune.storage.trial_status import TrialStatus
from tune.study.ranking import is_of_state, records
from vae.checkpoint import read_config, read_metrics
from vae.data import Dataset
from vae.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What can be chosen about an evaluation: arguments of `evaluation.evaluate`, and the KNN settings."""

    methods: Sequence[str] | None = None
    dims: Sequence[int] | None = None
    finalists_per_dim: bool = False
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
        return any(self.wants(name) for name, method in METHODS.items() if method.needs_vaes)


def best_first(checkpoints: Sequence[Path]) -> list[Path]:
    """Return bare checkpoints by KNN accuracy, neighbour recall or SSIM, the first that all of them have.

    Without one they keep their order.

    Raises
    ------
    StorageError
        One is damaged.
    """
    metrics = {path: read_metrics(path) for path in checkpoints}
    for name in ("val_knn_accuracy", "val_neighbour_recall", "val_ssim"):
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
    return Vae(trial_id, Checkpoint(checkpoint), model.latent_dim, seed, model.conditional)


def replica_embedders(run: RunDirectory, finalists: Sequence[Vae]) -> list[Vae]:
    """Return the finalists as trained anew with fresh seeds, where that has succeeded with this budget.

    One whose model is gone is among them, as something that is missing.
    """
    originals, max_epochs = {vae.trial_id: vae for vae in finalists}, run.read_study().max_epochs
    rows = [
        row
        for row in records(read_frame(run.finalist_seeds_file, FINALIST_SEEDS))
        if row["trial_id"] in originals
        and row["status"] == TrialStatus.COMPLETED
        and is_of_state(run, row, max_epochs)
    ]
    run.fetch(*(run.path / row["checkpoint"] for row in rows))
    return [
        replace(
            originals[row["trial_id"]],
            checkpoint=Checkpoint(run.path / row["checkpoint"]),
            training_seed=row["seed"],
        )
        for row in rows
    ]


def plan_embedders(
    dataset: Dataset, vaes: Sequence[Vae], options: Options, replicas: Sequence[Vae] = ()
) -> list[Embedder]:
    """Return the work to do; ``vaes`` and ``replicas`` are those of a `PlanRequest`.

    Raises
    ------
    UsageError
        A dimension was asked for that the data does not have, a method that takes more VAEs or dimensions
        than there are, or there is nothing to do.
    """
    request = PlanRequest(
        n_pixels=dataset.train.images[0].numel(),
        n_train=len(dataset.train),
        vaes=tuple(vaes),
        replicas=tuple(replicas),
        dims=tuple(options.dims) if options.dims else None,
        seed=options.seed,
        explicit=options.methods is not None,
    )
    wanted = [method for name, method in METHODS.items() if options.wants(name)]
    embedders: list[Embedder] = [embedder for method in wanted for embedder in method.plan(request)]
    if not embedders:
        raise UsageError("there is nothing to evaluate: give at least one method")
    return embedders
