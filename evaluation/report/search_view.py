"""The search as one can touch it in the report: parallel coordinates in which a trial is followed."""

from typing import Any

import numpy as np
from matplotlib.colors import to_hex

from evaluation.analysis.results import Results
from evaluation.figures.parallel_coordinates import parallel_coordinates, ramp
from tune.space.display import value_text
from tune.storage.tables import CONFIG_PREFIX
from tune.storage.trial_status import TrialCategory, category, category_text

N_COLOURS = 32


def search_view(results: Results) -> dict[str, Any] | None:
    """Return what `search_view.js` draws, as JSON values: axes from 0 to 1, and trials, the best first.

    None where `parallel_coordinates` finds nothing to draw.
    """
    view = parallel_coordinates(results)
    if view is None:
        return None
    shades = np.linspace(0, 1, N_COLOURS)
    shares = results.objectives[0] == "val_knn_accuracy"
    return {
        "axes": [{"name": axis.name, "ticks": axis.ticks} for axis in view.axes],
        "trials": [
            {
                "id": trial["trial_id"],
                "winner": trial["trial_id"] == results.winner,
                "fate": category(trial),
                "told": f"{category_text(trial)} after {_epochs(trial['epochs'] or 0)}",
                "places": [
                    None if p is None else round(p, 4) for p in (axis.places[row] for axis in view.axes)
                ],
                "values": [
                    *(value_text(trial[CONFIG_PREFIX + name]) for name in view.names),
                    _objective(trial["objective"], shares=shares),
                ],
            }
            for row, trial in enumerate(results.trial_rows)
        ],
        "fates": [
            kind for kind in TrialCategory if any(category(trial) is kind for trial in results.trial_rows)
        ],
        "ramps": {
            theme: [to_hex(colour) for colour in ramp(dark=theme == "dark")(shades)]
            for theme in ("light", "dark")
        },
    }


def _epochs(n: int) -> str:
    return "1 epoch" if n == 1 else f"{n} epochs"


def _objective(value: float | None, *, shares: bool) -> str:
    if value is None:
        return "no value"
    return f"{100 * value:.1f} %" if shares else f"{value:.4g}"
