"""The interactive part of the report: latent spaces side by side, and the image under the pointer."""

import base64
from typing import Any

import numpy as np
import torch
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from evaluation.analysis.results import Results
from evaluation.figures.latent_spaces import latent_space_panels
from evaluation.figures.sprite import sprite, sprite_columns
from evaluation.figures.style import MUTED, class_colours
from tune.storage.run_directory import RunDirectory
from vae.data import Dataset

MAX_IMAGES = 2500
MAX_PIXEL_VALUES = 6_000_000
"""Of all thumbnails together: the report is one file that is sent by mail."""
_STEPS = 10_000
"""Positions along each side of a panel."""


def explorer(run: RunDirectory, results: Results, dataset: Dataset) -> dict[str, Any] | None:
    """Return what `explorer.js` draws, as JSON values: some of the test images in every panel.

    None if no embedding is on disk.
    """
    panels = latent_space_panels(run, results)
    test = dataset.test
    if not panels or not len(test):
        return None
    n = min(MAX_IMAGES, len(test), MAX_PIXEL_VALUES // test.images[0].numel())
    shown = np.sort(np.random.default_rng(0).permutation(len(test))[:n])
    images = test.images[torch.tensor(shown)]
    labelled = test.labels is not None
    predicted, winner = None, results.comparison.winner
    if labelled and winner is not None:
        table = results.scores.predictions_of(winner.key).set_index("index")["predicted"]
        predicted = table.reindex(shown).tolist() if len(table) == len(test) else None
    return {
        "panels": [
            {
                "title": panel.title,
                "remark": panel.remark,
                "winner": panel.winner,
                "x": places[:, 0].tolist(),
                "y": places[:, 1].tolist(),
            }
            for panel in panels
            for places in [_places(panel.points, shown)]
        ],
        "index": shown.tolist(),
        "sources": dataset.sources[1].subset(shown).to_list() if dataset.sources is not None else None,
        "labels": test.labels[torch.tensor(shown)].tolist() if test.labels is not None else None,
        "predicted": predicted,
        "classes": list(dataset.class_names) if labelled else [],
        "colours": {
            page: [to_hex(c) for c in class_colours(len(dataset.class_names), dark=page == "dark")]
            if labelled
            else [MUTED]
            for page in ("light", "dark")
        },
        "sprite": {
            "src": "data:image/webp;base64," + base64.b64encode(sprite(images.numpy(), "WEBP")).decode(),
            "columns": sprite_columns(n),
            "width": images.shape[3],
            "height": images.shape[2],
        },
    }


def _places(points: NDArray[np.float32], shown: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return whole numbers from 0 to `_STEPS` for the shown points; outliers stand at the edge."""
    low, high = np.percentile(points, [0.1, 99.9], axis=0)
    shares = (points[shown] - low) / np.maximum(high - low, 1e-9)
    return np.rint(_STEPS * shares.clip(0, 1)).astype(np.int64)
