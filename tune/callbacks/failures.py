"""Workers and nodes that trials lose: when that fails a trial, and where it is tried again.

On spot machines a trial may lose its worker any number of times, as long as it has new reports in between.
It has failed after `MAX_FAILURES` + 1 failures without a new report. Ray would put each attempt on the node
that is free, which is the one where trials die immediately: the next attempt avoids it, if there is another.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayActorError
from ray.tune import PlacementGroupFactory
from ray.tune.experiment import Trial
from ray.util.placement_group import NODE_ID_LABEL_KEY

from tune.callbacks.driver_callback import DriverCallback
from tune.cluster.ray_private import actors
from tune.storage.trial_status import TIME_ATTR
from tune.trials.errors import cause_of, last_line, raised

logger = logging.getLogger(__name__)

MAX_FAILURES = 2
CHECK_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Failure:
    """One worker that a trial lost, or an exception that it raised there; None: nobody knows the node."""

    node_id: str | None
    host: str | None
    died: bool
    before_first_report: bool
    """Whether this worker had not yet reported."""
    message: str


class FailureTracker(DriverCallback):
    """A Tune callback that counts the failures of each trial since its last new report.

    It outlives a run of Tune, so the next run continues its counts. The scheduler reports each failure.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock=clock)
        self._checked_at = clock()
        self._failures: dict[str, list[Failure]] = {}
        self._images: dict[str, int] = {}
        self._progressed: set[str] = set()  # whose present worker has reported
        self._waiting: dict[str, Trial] = {}  # for a node other than those where it failed
        self._unschedulable: set[str] = set()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        trial_id = trial.config["trial_id"]
        self._progressed.discard(trial_id)
        self._unschedulable.discard(trial_id)
        self._waiting.pop(trial_id, None)
        trial.run_metadata.num_failures = self.count(trial_id)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        trial_id = trial.config["trial_id"]
        self._progressed.add(trial_id)
        if result[TIME_ATTR] > self._images.get(trial_id, 0):  # not one that it has trained again
            self._images[trial_id] = result[TIME_ATTR]
            self.forget(trial_id)
            trial.run_metadata.num_failures = 0

    def record(self, trial: Trial) -> None:
        """Count a failure, before the trial is queued again."""
        trial_id, error = trial.config["trial_id"], raised(trial)
        node_id = _node_of(error)
        failure = Failure(
            node_id=node_id,
            host={node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes()}.get(node_id),
            died=isinstance(error, RayActorError),
            before_first_report=trial_id not in self._progressed,
            message=last_line(cause_of(error)),
        )
        self._progressed.discard(trial_id)
        self._waiting.pop(trial_id, None)
        self._failures.setdefault(trial_id, []).append(failure)
        if trial.status == Trial.ERROR:  # as long as it is in none of Tune's queues
            self._avoid_failed_nodes(trial)

    def count(self, trial_id: str) -> int:
        """Return how often a trial has failed since its last new report."""
        return len(self._failures.get(trial_id, ()))

    def forget(self, trial_id: str) -> None:
        """Reset the count of a trial."""
        self._failures.pop(trial_id, None)

    def host(self, trial_id: str) -> str | None:
        """Return where a trial failed last."""
        return self._failures[trial_id][-1].host

    def failure_message(self, trial_id: str) -> str:
        """Return in one line how often a trial has failed in a row, where, and with which error at last."""
        failures = self._failures[trial_id]
        if len(failures) == 1:
            return failures[0].message
        description = "its worker died" if all(failure.died for failure in failures) else "it failed"
        hosts = list(dict.fromkeys(failure.host for failure in failures if failure.host))
        where = f" on {' and '.join(hosts)}" if hosts else ""
        return f"{description} {len(failures)} times in a row{where}, last: {failures[-1].message}"

    def unschedulable(self) -> list[Trial]:
        """Return the waiting trials that no node can take but those where they failed; they are ended.

        The next run of Tune starts them on any node.
        """
        if not self._waiting or self._clock() - self._checked_at < CHECK_EVERY_S:
            return []
        self._checked_at = self._clock()
        found = [trial for trial in self._waiting.values() if not _others(trial, self._avoided(trial))]
        for trial in found:
            self._unschedulable.add(trial.config["trial_id"])
            del self._waiting[trial.config["trial_id"]]
        return found

    def is_unschedulable(self, trial_id: str) -> bool:
        return trial_id in self._unschedulable

    def _avoided(self, trial: Trial) -> set[str]:
        failures = self._failures.get(trial.config["trial_id"], ())
        return {failure.node_id for failure in failures if failure.before_first_report and failure.node_id}

    def _avoid_failed_nodes(self, trial: Trial) -> None:
        request, selector = _request(trial), {}
        if (avoided := self._avoided(trial)) and _others(trial, avoided):
            trial_id = trial.config["trial_id"]
            logger.warning(
                "%s failed on %s before its first report there, it waits for another node (%s)",
                trial_id,
                self.host(trial_id),
                self._failures[trial_id][-1].message,
            )
            self._waiting[trial_id] = trial
            selector = {"bundle_label_selector": [{NODE_ID_LABEL_KEY: f"!in({','.join(sorted(avoided))})"}]}
        trial.update_resources(PlacementGroupFactory(request.bundles, request.strategy, **selector))


def _node_of(error: Any) -> str | None:
    """Return the node of the actor that an error comes from."""
    actor_id = getattr(error, "actor_id", None) or getattr(error, "_actor_id", None)
    found = actors(actor_id) if actor_id else {}
    return found["Address"]["NodeID"] or None if found else None


def _request(trial: Trial) -> PlacementGroupFactory:
    request: PlacementGroupFactory | None = trial.placement_group_factory
    assert request is not None
    return request


def _others(trial: Trial, avoided: set[str]) -> bool:
    """Whether a node beside those could hold the trial."""
    needs = _request(trial).required_resources
    return any(
        all(node["Resources"].get(name, 0) >= amount for name, amount in needs.items())
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] not in avoided
    )
