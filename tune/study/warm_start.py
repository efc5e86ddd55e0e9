"""Starting a search from what another study found."""

import logging
from dataclasses import replace
from typing import Any

from tune.algorithms.objective import MODES, Objective
from tune.space.domains import Space
from tune.space.file import START
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import CONFIG_PREFIX, TRIALS, read_rows
from tune.study.ranking import full_budget_trials
from vae.errors import UsageError

logger = logging.getLogger(__name__)

N_POINTS = 5
"""How many of the other study's best are tried first."""


def warm_start(space: Space, other: RunDirectory) -> Space:
    """Return the space with the best completed trials of another study in front of its starting points.

    Only configurations travel, no results: the other study may have had other images or another budget. A
    configuration that the space does not allow is left out.

    Raises
    ------
    UsageError
        No trial of the other study can be used.
    StorageError
        Its tables cannot be read.
    """
    record = other.read_study()
    name = record.objectives[0]
    sign = Objective(name, MODES[name]).sign
    trials = read_rows(other.trials_file, TRIALS)
    rows = [row for row in full_budget_trials(trials, record) if row["objective"] is not None]
    rows.sort(key=lambda row: -sign * row["objective"])
    points: list[dict[str, Any]] = []
    for row in rows:
        point = space.applicable({name: row.get(CONFIG_PREFIX + name) for name in space.entries})
        if len(points) < N_POINTS and point not in points:
            try:
                replace(space, start=(point,)).check()
            except UsageError as error:
                logger.info("%s is not in this space: %s", row["trial_id"], error)
                continue
            points.append(point)
    if not points:
        raise UsageError(
            f"none of the {len(rows)} completed trials of {other.location} lies in this search space; "
            "leave --warm-start out, or widen the space"
        )
    start = (*points, *(p for p in space.start if p not in points))
    # In the record too: a search that dies before its first proposal starts from the same points.
    source = space.source | {START: list(start)}
    return replace(space, start=start, source=source, n_warm=len(points))
