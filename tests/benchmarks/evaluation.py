"""Time the evaluation of VAEs against the same table computed the way a notebook would.

Run with `make bench-evaluation ARGS=folder-of-checkpoints`; with `--old worktree` against another commit, see
`tests.benchmarks.evaluation_parts`. The notebook's way, in one process with every core: PCA and UMAP fitted
anew for each dimension, a `KNeighborsClassifier` fitted anew for each cell of each round. The cells are taken
in random order until a time limit, so that those that were done tell how long all of them would take; each
value is compared with ours.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from numpy.typing import NDArray
from rich.console import Console
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from evaluation.api import evaluate
from evaluation.embedders import Embedding, EmbeddingKey, Images, Vae
from evaluation.pipeline.plan import vae_embedder
from evaluation.scores.protocols import rank_within_class
from evaluation.scores.settings import KNN_ACCURACY, KnnGrid
from tests.benchmarks.evaluation_parts import compare
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import read_table
from vae.data import load_dataset

METHODS = ("raw", "pca", "umap", "vae")


class LargestWorker:
    """The most memory that one of the Ray workers below this process has held of its own, in GiB."""

    gib = 0.0

    def watch(self, done: threading.Event) -> None:
        while not done.wait(0.5):
            for process in psutil.Process().children(recursive=True):
                try:
                    if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::"):
                        self.gib = max(self.gib, process.memory_full_info().uss / 2**30)
                except psutil.Error:
                    continue


@contextmanager
def watched_workers() -> Iterator[LargestWorker]:
    largest, done = LargestWorker(), threading.Event()
    thread = threading.Thread(target=largest.watch, args=(done,))
    thread.start()
    try:
        yield largest
    finally:
        done.set()
        thread.join()


def notebook_embedding(key: EmbeddingKey, images: Images, vaes: dict[str, Vae]) -> Embedding:
    """Return one embedding that shares nothing with the others."""
    train, test = images.pixels()
    if key.method == "raw":
        return Embedding(key, train, test)
    if key.method == "pca":
        pca = PCA(key.dim).fit(train)
        return Embedding(key, pca.transform(train), pca.transform(test))
    if key.method == "umap":
        import umap

        reducer = umap.UMAP(n_components=key.dim)
        return Embedding(key, reducer.fit_transform(train), reducer.transform(test))
    assert key.trial_id is not None
    return next(vaes[key.trial_id].embeddings(images))


def notebook_cell(cell: pd.Series, embedding: Embedding, images: Images, rank: NDArray[np.int64]) -> float:
    """Return the accuracy of one cell, by a classifier of its own."""
    assert images.train_labels is not None
    assert images.test_labels is not None
    small = np.ones(len(rank), bool) if pd.isna(cell.samples_per_class) else rank < cell.samples_per_class
    if cell.protocol == "test":
        reference, query, labels = small, embedding.test, images.test_labels
    else:
        fold = rank % KnnGrid().n_folds == cell.fold
        reference, query = small & ~fold, embedding.train[small & fold]
        labels = images.train_labels[small & fold]
    classifier = KNeighborsClassifier(int(cell.n_neighbors), weights=cell.weights)
    return classifier.fit(embedding.train[reference], images.train_labels[reference]).score(query, labels)


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", type=Path, help="folder of checkpoints")
    parser.add_argument("--dataset", default="fmnist")
    parser.add_argument("--old", type=Path, help="compare with this worktree of another commit instead")
    parser.add_argument("--limit", type=float, default=6.0, help="give the notebook so many times our time")
    arguments = parser.parse_args()
    console = Console(highlight=False)
    if arguments.old is not None:
        compare(arguments.checkpoints, arguments.dataset, arguments.old, console)
        return
    dataset = load_dataset(arguments.dataset)
    paths = sorted(path for path in arguments.checkpoints.iterdir() if path.is_dir())
    vaes = {path.name: vae_embedder(path.name, path, dataset) for path in paths}

    with tempfile.TemporaryDirectory() as directory, watched_workers() as largest:
        output = RunDirectory(Path(directory) / "ours")
        started = time.perf_counter()
        evaluate(paths, dataset=dataset, output=output.path, methods=METHODS, progress=console)
        ours = time.perf_counter() - started
        table = read_table(output.evaluations_file).to_pandas()
    cells = table[table["metric"] == KNN_ACCURACY].sample(frac=1, random_state=0)
    keys = {
        EmbeddingKey(row.method, row.dim, None if pd.isna(row.trial_id) else row.trial_id)
        for row in cells[["method", "dim", "trial_id"]].drop_duplicates().itertuples()
    }
    console.print(
        f"ours: {ours:.0f} s for {len(keys)} embeddings, {len(cells):,} cells and the structure scores; "
        f"the largest worker held {largest.gib:.2f} GiB"
    )

    images = Images.from_dataset(dataset)
    assert images.train_labels is not None
    rank = rank_within_class(images.train_labels, KnnGrid().seed)
    started = time.perf_counter()
    embeddings = {(key.method, key.dim, key.trial_id): notebook_embedding(key, images, vaes) for key in keys}
    embedding_s = time.perf_counter() - started
    console.print(f"notebook: {embedding_s:.0f} s for the embeddings")
    differences: dict[str, list[float]] = {method: [] for method in METHODS}
    n_done = 0
    for _, cell in cells.iterrows():
        trial_id = None if pd.isna(cell.trial_id) else cell.trial_id
        value = notebook_cell(cell, embeddings[cell.method, cell.dim, trial_id], images, rank)
        n_done += 1
        differences[cell.method].append(abs(value - cell.value))
        elapsed = time.perf_counter() - started
        if elapsed > arguments.limit * ours:
            break
    whole = embedding_s + (elapsed - embedding_s) * len(cells) / n_done
    console.print(
        f"notebook: {elapsed:.0f} s = {elapsed / ours:.1f} times ours, with {n_done:,} of {len(cells):,} "
        f"random cells done; all would take about {whole:,.0f} s = {whole / ours:.0f} times ours"
    )
    for method, values in differences.items():
        if values:
            console.print(f"{method}: {len(values)} cells differ from ours by {max(values):.5f} at most")


if __name__ == "__main__":
    main()
