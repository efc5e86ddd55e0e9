"""The interactive view of the search in the report: parallel coordinates, a line for each trial."""

from typing import Any

import numpy as np
from matplotlib.colors import to_hex

from evaluation.analysis.results import Results
from evaluation.figures.parallel_coordinates import parallel_coordinates, ramp
from evaluation.formatting import counted, objective_value
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
    return {
        "axes": [{"name": axis.name, "ticks": axis.ticks} for axis in view.axes],
        "trials": [
            {
                "id": trial["trial_id"],
                "winner": trial["trial_id"] == results.winner,
                "category": category(trial),
                "outcome": f"{category_text(trial)} after {counted(trial['epochs'] or 0, 'epoch')}",
                "places": [
                    None if p is None else round(p, 4) for p in (axis.places[row] for axis in view.axes)
                ],
                "values": [
                    *(value_text(trial[CONFIG_PREFIX + name]) for name in view.names),
                    "no value"
                    if trial["objective"] is None
                    else objective_value(trial["objective"], results.objectives[0]),
                ],
            }
            for row, trial in enumerate(results.trial_rows)
        ],
        "categories": [
            kind for kind in TrialCategory if any(category(trial) is kind for trial in results.trial_rows)
        ],
        "ramps": {
            theme: [to_hex(colour) for colour in ramp(dark=theme == "dark")(shades)]
            for theme in ("light", "dark")
        },
    }
