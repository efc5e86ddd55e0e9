"""The results of an evaluation as an object: tables as data frames, embeddings as arrays."""

from base64 import b64encode
from functools import cached_property
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.analysis.results import Results
from evaluation.embedders import EmbeddingKey, label
from evaluation.embedders.files import SPLITS, embedding_file, read_embedding
from evaluation.scores.settings import FEW_SHOT_500
from tune.storage.run_directory import RunDirectory
from vae.errors import UsageError

SHOWN_FIGURES = ("accuracy", "latent_spaces")
"""Those that a notebook shows below the comparison."""


class Evaluation:
    """The results of an evaluation: a view of its directory.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from evaluation import evaluate
    >>> from evaluation.pipeline.serial import compute
    >>> corners = pd.DataFrame({"embedding": list(np.eye(60)), "label": [0, 1] * 30})
    >>> corners.to_parquet("corners.parquet")
    >>> result = evaluate("corners.parquet", output="out", compute=compute, progress=False)
    >>> result  # doctest: +ELLIPSIS
    <Evaluation of out: 1 embeddings in ...out>
    >>> sorted(set(result.scores["protocol"]))
    ['cv', 'test']
    >>> result.report.name
    'report.html'
    """

    def __init__(self, run: RunDirectory) -> None:
        self.run = run

    @property
    def name(self) -> str:
        """The name of the study, or of the directory of the results."""
        return self._results.name

    @property
    def location(self) -> str:
        """Path or URI of the directory that holds everything."""
        return self.run.location

    @property
    def outdated(self) -> str | None:
        """A sentence if the study is not what it was when it was evaluated; None if it is."""
        return self._results.outdated

    @property
    def scores(self) -> pd.DataFrame:
        """All scores, one row per embedding, protocol, setting and fold: `evaluations.parquet`."""
        return self._results.evaluations

    @cached_property
    def comparison(self) -> pd.DataFrame:
        """One row per embedding, best first by the KNN accuracy on the test set (10 neighbours, in [0, 1]).

        ``test_low`` and ``test_high`` bound its 95 % interval over the test images, ``test_500`` is the
        accuracy with 500 training images per class, ``cv`` the mean over the folds of the training set.
        Those of VAEs are not of the study as it is if `outdated` says so.
        """
        rows = []
        for row in self._results.comparison:
            low, high = row.test_interval or (None, None)
            rows.append(
                {
                    "embedding": label(row.key),
                    "method": row.key.method,
                    "trial_id": row.key.trial_id,
                    "dim": row.key.dim,
                    "test": row.test,
                    "test_low": low,
                    "test_high": high,
                    f"test_{FEW_SHOT_500.samples_per_class}": row.few_shot,
                    "cv": row.cv,
                    "cv_std": row.cv_std,
                    **row.structure,
                }
            )
        table = pd.DataFrame(rows)
        return table.sort_values("test", ascending=False, kind="stable", ignore_index=True)

    @property
    def report(self) -> Path:
        """The report, one HTML file."""
        return self.run.report_file

    @property
    def figures(self) -> list[Path]:
        """The figures as PNG files."""
        self.run.fetch(self.run.figures_dir)
        return sorted(self.run.figures_dir.glob("*.png"))

    def embedding(
        self, method: str, *, dim: int | None = None, trial_id: str | None = None, split: str = "test"
    ) -> NDArray[np.float32]:
        """Return the points (n, dim) of one embedding, in the order of the images of the data set.

        Parameters
        ----------
        method
            Its name, such as ``vae`` or ``umap``.
        dim
            Its number of dimensions; by default that of the best VAE, or the closest there is.
        trial_id
            Its trial; by default the best.
        split
            ``train`` or ``test``.

        Raises
        ------
        UsageError
            There is no such embedding; the message names those that there are.
        StorageError
            Its file cannot be read.
        """
        if split not in SPLITS:
            raise UsageError(f"split must be one of {', '.join(SPLITS)}, got '{split}'")
        key = self._key(method, dim, trial_id)
        file = embedding_file(self.run.embeddings_dir, key)
        self.run.fetch(file.parent)
        found = read_embedding(self.run.embeddings_dir, key)
        return found.test if split == "test" else found.train

    def _key(self, method: str, dim: int | None, trial_id: str | None) -> EmbeddingKey:
        keys, first = self._results.comparison.keys, next(iter(self._results.finalists), None)
        best = next((key for key in keys if key.method == "vae" and key.trial_id == first), None)
        wanted = dim or (best.dim if best else 0)
        fitting = [
            key
            for key in keys
            if key.method == method and dim in (None, key.dim) and trial_id in (None, key.trial_id)
        ]
        if not fitting:
            asked = " ".join(str(part) for part in (method, trial_id, dim and f"{dim}-d") if part)
            there = ", ".join(str(key) for key in keys)
            raise UsageError(f"there is no embedding {asked} in {self.location}, only {there}")
        return min(fitting, key=lambda key: (key != best, abs(key.dim - wanted)))

    @cached_property
    def _results(self) -> Results:
        return Results.read(self.run)

    def __repr__(self) -> str:
        state = ", outdated" if self.outdated else ""
        n = len(self._results.comparison.keys)
        return f"<Evaluation of {self.name}: {n} embeddings in {self.location}{state}>"

    def _repr_html_(self) -> str:
        table = self.comparison.to_html(index=False, float_format="{:.4f}".format, na_rep="–")
        pictures = "".join(
            f'<img alt="{file.stem}" width="900" src="data:image/png;base64,{_base64(file)}">'
            for file in self.figures
            if file.stem in SHOWN_FIGURES
        )
        notice = f"<p><b>{escape(self.outdated)}</b></p>" if self.outdated else ""
        return f"<h4>{escape(self.name)}</h4>{notice}{table}{pictures}"


def _base64(file: Path) -> str:
    return b64encode(file.read_bytes()).decode()
