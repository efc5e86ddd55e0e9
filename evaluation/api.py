"""The Python API: `evaluate` a study, checkpoints or an embedding, and `load` what was evaluated before."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from evaluation.evaluation import Evaluation
from evaluation.model_cards import complete_model_cards
from evaluation.pipeline.plan import Options
from evaluation.pipeline.run import run_evaluation
from evaluation.pipeline.serial import Compute
from evaluation.pipeline.subject import Subject, checkpoints_subject, precomputed_subject, study_subject
from evaluation.scores.settings import ALL_IMAGES_K10, KnnGrid
from tune.storage.filesystems import parse_location
from tune.storage.run_directory import RunDirectory
from tune.study.ranking import DEFAULT_FINALISTS
from vae.checkpoint import CONFIG_FILE, read_config
from vae.command_line import plain_console
from vae.data import Dataset, dataset_from_arrays, load_dataset
from vae.errors import UsageError, notes_kept_back

logger = logging.getLogger(__name__)


class HasLocation(Protocol):
    """A study as `tune` returns it, or anything else that names its run directory."""

    @property
    def location(self) -> str:
        """Path or URI."""


def evaluate(
    subject: HasLocation | str | Path | Sequence[str | Path],
    *,
    methods: Sequence[str] | None = None,
    dims: Sequence[int] | None = None,
    finalists: int = DEFAULT_FINALISTS,
    finalists_per_dim: bool = False,
    dataset: Dataset | tuple[Any, Any] | str | Path | None = None,
    data_dir: str | Path | None = None,
    output: str | Path | None = None,
    seed: int = 0,
    n_neighbors: Sequence[int] | None = None,
    address: str | None = None,
    cpus: int | None = None,
    compute: Compute | None = None,
    progress: bool | Console = True,
) -> Evaluation:
    """Compare the best VAEs of a study, bare checkpoints, or an embedding with the usual baselines.

    Each method is fitted on the training images alone. Embeddings, scores, figures and report go to the run
    directory of the study, whose earlier evaluation they replace, or to ``output``. What an earlier
    evaluation has computed there is not computed again.

    Parameters
    ----------
    subject
        A study of `tune`, the path or URI of its run directory, a checkpoint directory, a folder or a list of
        such directories, or a Parquet file with an embedding in the columns ``embedding``, ``label`` and
        perhaps ``split``.
    methods
        Names from `evaluation.embedders.METHODS`; by default ``raw``, ``pca``, ``umap``, ``untrained``,
        ``vae`` and ``ensemble``.
    dims
        Dimensions of the baselines: 2 and 10 by default, for PCA those of the VAEs too; for ``tsne``, which
        takes no more, and ``vae_umap`` 2 alone. Raw pixels, VAEs and ensembles have dimensions of their own.
    finalists
        How many trials of a study to take, the best first.
    finalists_per_dim
        Whether to take the best trial of each latent dimension that these lack, too.
    dataset
        The images of checkpoints: a name, a path, or ``(images, labels)``; resized as those were that the
        checkpoints were trained on. A study knows its own.
    data_dir
        Where the data set lies, if not in its usual place.
    output
        Directory of the results of checkpoints or of an embedding. A study has its own.
    seed
        Seed of what is random: UMAP and the like, the subsets and folds of the KNN accuracy.
    n_neighbors
        Numbers of neighbours that vote: 1, 5, 10, 25 and 50 by default; 10 is always among them.
    address
        Ray cluster to join: ``auto`` or ``HOST[:PORT]``; by default one is started on this machine, unless
        this program has one already.
    cpus
        CPUs of the cluster that is started on this machine; all by default.
    compute
        What carries the evaluation out; None means Ray. `evaluation.pipeline.serial.compute` works in this
        process.
    progress
        Whether to show a progress bar, or lines where there is no terminal; a rich console says where.

    Raises
    ------
    UsageError
        There is nothing to evaluate, or the arguments do not fit the subject.
    StorageError
        A file cannot be read or written.
    ClusterError
        Ray does not start.

    Examples
    --------
    An embedding of one's own, here 60 points on a line that belong to two classes:

    >>> import pandas as pd
    >>> import evaluation
    >>> from evaluation.pipeline import serial
    >>> points = [[float(i), 1.0] for i in range(60)]
    >>> pd.DataFrame({"embedding": points, "label": [0] * 30 + [1] * 30}).to_parquet("line.parquet")
    >>> result = evaluation.evaluate("line.parquet", output="out", compute=serial.compute, progress=False)
    >>> result.comparison[["method", "dim", "test"]]
      method  dim  test
    0   line    2   1.0
    >>> result.embedding("line").shape
    (12, 2)

    A study, and what its best VAE gives:

    >>> result = evaluation.evaluate("runs/NAME", methods=["pca", "vae"], dims=[2, 10])  # doctest: +SKIP
    >>> latents = result.embedding("vae", split="train")  # doctest: +SKIP
    """
    if address is not None and cpus is not None:
        raise UsageError("cpus is for a cluster that is started on this machine: leave it or address out")
    if cpus is not None and cpus < 1:
        raise UsageError(f"cpus must be >= 1, got {cpus}")
    options = Options(
        methods=methods,
        dims=dims,
        finalists_per_dim=finalists_per_dim,
        grid=_grid(n_neighbors, seed),
        seed=seed,
        address=address,
        cpus=cpus,
    )
    console = progress if isinstance(progress, Console) else plain_console() if progress else None
    where = None if data_dir is None else Path(data_dir)
    found, run = _open(subject, options, finalists, dataset, where, output)
    run_evaluation(found, run, options, compute, console)
    # Not at the top of the file: figures take a second, and the first line of the progress comes before them.
    from evaluation.report.page import write_report

    write_report(run, found.dataset)
    complete_model_cards(run)
    run.push()
    return Evaluation(run)


def load(path: str | Path) -> Evaluation:
    """Return the results of an earlier evaluation; a warning is logged if the study has changed since.

    Parameters
    ----------
    path
        Run directory of a study or its URI, or the ``output`` of checkpoints or an embedding.

    Raises
    ------
    UsageError
        There is no evaluation.
    StorageError
        A file cannot be read.

    Examples
    --------
    What the example of `evaluate` has written:

    >>> import evaluation
    >>> evaluation.load("out").comparison[["method", "dim", "test"]]
      method  dim  test
    0   line    2   1.0
    """
    run = open_evaluated(path)
    if not run.evaluation_file.is_file():
        raise UsageError(f"{run.location} is not evaluated yet; evaluate it with evaluation.evaluate")
    found = Evaluation(run)
    if found.outdated:
        logger.warning("%s", found.outdated)
    return found


def find_checkpoints(path: Path) -> list[Path]:
    """Return the checkpoint that ``path`` is, or those that lie in it; none if it is a run directory."""
    if (path / CONFIG_FILE).is_file():
        return [path]
    if not path.is_dir() or RunDirectory(path).study_file.exists():
        return []
    return sorted(file.parent for file in path.glob(f"*/{CONFIG_FILE}"))


def open_evaluated(location: str | Path) -> RunDirectory:
    """Return a study, or the ``output`` of checkpoints or of an embedding."""
    run = RunDirectory.resolve(location)
    return run if run.evaluation_file.is_file() else RunDirectory.open(location)


def _open(
    subject: HasLocation | str | Path | Sequence[str | Path],
    options: Options,
    finalists: int,
    dataset: Dataset | tuple[Any, Any] | str | Path | None,
    data_dir: Path | None,
    output: str | Path | None,
) -> tuple[Subject, RunDirectory]:
    """Return what is to be evaluated and where its results go."""
    checkpoints: list[Path] = []
    if isinstance(subject, str | Path):
        location = parse_location(str(subject))
        if isinstance(location, Path) and location.suffix == ".parquet":
            if output is None or dataset is not None:
                raise UsageError(f"{location} is an embedding: give a directory as output, and no dataset")
            run = _new_output(output)
            return precomputed_subject(location, run), run
        checkpoints = find_checkpoints(location) if isinstance(location, Path) else []
    elif isinstance(subject, Sequence):
        location = ", ".join(map(str, subject))
        checkpoints = [found for path in subject for found in find_checkpoints(Path(path))]
        if not checkpoints:
            raise UsageError(f"there is no checkpoint in [{location}]; name at least one directory of one")
    else:
        location = subject.location
    if checkpoints:
        if dataset is None or output is None:
            raise UsageError(f"{checkpoints[0]} is a checkpoint: give its images as dataset, and an output")
        run = _new_output(output)
        with notes_kept_back():
            found = _dataset(dataset, data_dir, _resize_of(checkpoints))
            return checkpoints_subject(checkpoints, found, run, options), run
    if dataset is not None or output is not None:
        raise UsageError("dataset and output are for checkpoints: a study has its own of both")
    run = subject if isinstance(subject, RunDirectory) else RunDirectory.open(location)
    return study_subject(run, options, finalists, data_dir), run


def _resize_of(checkpoints: Sequence[Path]) -> int | None:
    """Return what the images were resized to that the checkpoints were trained on."""
    found = {checkpoint: read_config(checkpoint).resize for checkpoint in checkpoints}
    first, *others = found
    for other in others:
        if found[other] != found[first]:
            raise UsageError(
                f"{first} and {other} were trained on images resized to {found[first]} and {found[other]}; "
                "evaluate one at a time"
            )
    return found[first]


def _dataset(
    dataset: Dataset | tuple[Any, Any] | str | Path, data_dir: Path | None, resize: int | None
) -> Dataset:
    if isinstance(dataset, Dataset):
        return dataset
    if isinstance(dataset, str | Path):
        return load_dataset(str(dataset), data_dir, resize=resize)
    return dataset_from_arrays(*dataset, resize=resize)


def _new_output(path: str | Path) -> RunDirectory:
    output = RunDirectory(Path(path))
    if output.study_file.exists():
        raise UsageError(f"output {path} is the run directory of a study, whose evaluation would be lost")
    return output


def _grid(n_neighbors: Sequence[int] | None, seed: int) -> KnnGrid:
    if n_neighbors is None:
        return KnnGrid(seed=seed)
    if not n_neighbors or min(n_neighbors) < 1:
        found = ", ".join(map(str, n_neighbors)) or "none"
        raise UsageError(f"n_neighbors must be numbers >= 1, got {found}")
    return KnnGrid(n_neighbors=tuple(sorted({*n_neighbors, ALL_IMAGES_K10.n_neighbors})), seed=seed)
