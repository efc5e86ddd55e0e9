"""The scores and predictions of one embedding, looked up in the tables of an evaluation."""

from dataclasses import asdict, dataclass
from functools import cached_property, reduce
from operator import and_

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.embedders import EmbeddingKey
from evaluation.scores.as_searched import AS_SEARCHED
from evaluation.scores.settings import ALL_IMAGES_K10, KNN_ACCURACY, Setting
from evaluation.scores.structure import STRUCTURE


@dataclass(frozen=True)
class EmbeddingScores:
    """The tables of `evaluation.result_tables`, read by embedding."""

    evaluations: pd.DataFrame
    predictions: pd.DataFrame

    @cached_property
    def keys(self) -> list[EmbeddingKey]:
        """All embeddings with any score, those of fresh seeds too, in the order of the table."""
        columns = ["method", "dim", "trial_id", "training_seed"]
        found = self.evaluations[columns].drop_duplicates().astype(object)
        return [
            EmbeddingKey(method, dim, trial_id, None if seed is None else int(seed))
            for method, dim, trial_id, seed in found.where(found.notna(), None).to_numpy()
        ]

    @cached_property
    def knn(self) -> pd.DataFrame:
        """The rows of ``evaluations`` that are KNN accuracies."""
        return self.evaluations[self.evaluations["metric"] == KNN_ACCURACY]

    def knn_of(self, key: EmbeddingKey, protocol: str) -> pd.DataFrame:
        """Return the KNN accuracies of one embedding; ``protocol`` is ``"test"`` or ``"cv"``."""
        return self.knn[rows_of(self.knn, key) & (self.knn["protocol"] == protocol)]

    def accuracies(self, key: EmbeddingKey, protocol: str, setting: Setting) -> list[float]:
        """Return the accuracy of each fold, or the single one of the test set; empty if not measured."""
        scores = self.knn_of(key, protocol)
        values: list[float] = scores[rows_of(scores, setting)]["value"].tolist()
        return values

    def test_accuracy(self, key: EmbeddingKey, setting: Setting | None) -> float | None:
        """Return the accuracy on the test set; None if it was not measured."""
        return None if setting is None else next(iter(self.accuracies(key, "test", setting)), None)

    def as_searched(self, key: EmbeddingKey, protocol: str) -> tuple[float, int] | None:
        """Return accuracy as the search measures it, of ``validation`` or ``test``, and their number."""
        rows = self.evaluations[rows_of(self.evaluations, key)]
        rows = rows[(rows["metric"] == AS_SEARCHED) & (rows["protocol"] == protocol)]
        return None if rows.empty else (float(rows["value"].iloc[0]), int(rows["n_query"].iloc[0]))

    def predictions_of(self, key: EmbeddingKey) -> pd.DataFrame:
        """Return ``index``, ``label`` and ``predicted`` of each test image; empty if they are not known."""
        chosen = self.predictions[rows_of(self.predictions, key)]
        return chosen[rows_of(chosen, ALL_IMAGES_K10)][["index", "label", "predicted"]].sort_values("index")

    def is_correct(self, key: EmbeddingKey) -> NDArray[np.bool_]:
        """Return which test images (n,) KNN classifies correctly at `ALL_IMAGES_K10`; empty if not known."""
        predictions = self.predictions_of(key)
        return (predictions["predicted"] == predictions["label"]).to_numpy(dtype=bool)

    def best_setting(self, key: EmbeddingKey) -> Setting | None:
        """Return the setting that cross-validation selects among those with all training images."""
        scores = self.knn_of(key, "cv")
        whole = scores[scores["samples_per_class"].isna()]
        if whole.empty:
            return None
        means = whole.groupby(["n_neighbors", "weights"], as_index=False)["value"].mean()
        best = means.loc[means["value"].idxmax()]
        return Setting(None, int(best["n_neighbors"]), str(best["weights"]))

    def structure_of(self, key: EmbeddingKey) -> dict[str, float]:
        """Return the scores of `evaluation.scores.structure` that were measured, by name."""
        scores = self.evaluations[rows_of(self.evaluations, key)].set_index("metric")["value"]
        return {name: float(scores[name]) for name in STRUCTURE if name in scores.index}


def rows_of(table: pd.DataFrame, which: EmbeddingKey | Setting) -> pd.Series:
    """Return a mask of the rows that belong to an embedding, or were measured at a setting."""
    columns = ((table[name], value) for name, value in asdict(which).items())
    return reduce(and_, (column.isna() if value is None else column == value for column, value in columns))
