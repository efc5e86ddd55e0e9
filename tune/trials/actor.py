"""The actor that runs trials, named after its trial in Ray's dashboard, in `ps` and in its log.

Ray reads the name of an actor once, when it starts, and reuses it for one trial after another. The title of
the process, by which Ray also reports CPU and memory, and the log follow the current trial.

On SIGTERM a process first trains until its next report, with its checkpoint.
"""

import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from ray.tune import Trainable
from ray.tune.trainable import wrap_function

from tune.cluster.ray_private import global_worker, setproctitle
from tune.storage.trial_status import STOP_REASON, TIME_ATTR

GRACE_S = 90.0
"""A process ends this long after SIGTERM at most; AWS takes a machine two minutes after its notice."""
LOGGED = (
    *("val_knn_accuracy", "val_neighbour_recall", "val_ssim", "val_loss", "train_loss"),
    *("epoch_seconds", "images_per_second"),
)

logger = logging.getLogger(__name__)


def trial_actor(function: Callable[[dict[str, Any]], None], study: str) -> type[Trainable]:
    """Return the actor's class for a function that trains the trial which its argument describes."""

    class Trial(wrap_function(function)):  # type: ignore[misc]  # Ray makes it
        def __repr__(self) -> str:
            return f"{self.config['trial_id']} and later"

        def setup(self, config: dict[str, Any]) -> None:
            super().setup(config)
            self._end = DeferredSigterm()

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._end.exit_if_signalled()
            return bool(super().reset_config(new_config))

        def step(self) -> dict[str, Any]:
            self._end.exit_if_signalled()  # Tune has the last report and its checkpoint
            setproctitle(f"ray::{self.config['trial_id']}")  # Ray sets another one at each call
            result: dict[str, Any] = super().step()
            if TIME_ATTR in result:
                logger.info("%s", _log_line(result))
            return result

        def _trainable_func(self, config: dict[str, Any]) -> None:
            with _trial_log(study, config["trial_id"]):
                logger.info("process %d, %s", os.getpid(), config["params"])
                super()._trainable_func(config)

    Trial.__qualname__ = "Trial"  # what the dashboard shows as its class
    return Trial


def is_trial_process(title: str) -> bool:
    """Whether a process with this title is a worker of trials: it has the name of one or of their class."""
    return re.match(r"ray::(Trial\b|\d{4,}-)", title) is not None


class DeferredSigterm:
    """Defers SIGTERM until `exit_if_signalled` is called, a second one arrives or `GRACE_S` have passed.

    To be made in the main thread, after Ray has set its own handler there.
    """

    def __init__(self) -> None:
        self._signalled = False
        self._handler = signal.signal(signal.SIGTERM, self._handle)

    def exit_if_signalled(self) -> None:
        if self._signalled:
            signal.signal(signal.SIGTERM, self._handler)
            signal.raise_signal(signal.SIGTERM)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self._signalled:
            logger.info("asked to end (SIGTERM): after its next report, in %.0f s at the latest", GRACE_S)
            again = threading.Timer(GRACE_S, os.kill, (os.getpid(), signal.SIGTERM))
            again.daemon = True
            again.start()
        else:
            self.exit_if_signalled()
        self._signalled = True


def _log_line(result: Mapping[str, Any]) -> str:
    """Return the line of a trial's log for one result."""
    parts = [f"epoch {result['epoch']:.3g}"] if "epoch" in result else []
    parts += [f"{name} {result[name]:.5g}" for name in LOGGED if name in result]
    if result.get(STOP_REASON):
        parts.append(f"ends: {result[STOP_REASON]}")
    return ", ".join(parts)


@contextmanager
def _trial_log(study: str, trial_id: str) -> Iterator[None]:
    """Send what is logged to a file of the trial among Ray's logs of this node, and to that of the actor."""
    assert global_worker.node is not None
    directory = global_worker.node.get_logs_dir_path()
    handlers: list[logging.Handler] = [
        logging.FileHandler(Path(directory, f"trial-{study}-{trial_id}.log"), encoding="utf-8"),
        logging.StreamHandler(sys.stdout),
    ]
    root, usual = logging.getLogger(), logger.level
    for handler in handlers:
        handler.setFormatter(logging.Formatter(f"%(asctime)s {trial_id} %(message)s"))
        root.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    except Exception:
        logger.exception("failed")
        raise
    finally:
        logger.setLevel(usual)
        for handler in handlers:
            root.removeHandler(handler)
            handler.flush()
        handlers[0].close()  # the other one's stream is the process's own
