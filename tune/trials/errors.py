"""Why a trial or a task failed: Ray's errors read and put into one line."""

import os
from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray.exceptions import RayTaskError
from ray.tune.experiment import Trial

from vae.errors import one_line


def raised(trial: Trial) -> Exception:
    """Return the error of a trial's last failure, as Ray gave it to Tune.

    Tune has pickled it a moment ago, in this process, into Ray's folder of this session on this machine.
    """
    try:
        with open(trial.pickled_error_file, "rb") as file:
            if os.fstat(file.fileno()).st_uid != os.geteuid():  # others may write into Ray's folder
                raise PermissionError(f"{file.name} is not this user's")
            error: Exception = cloudpickle.load(file)
            return error
    except Exception:  # absent, or of a class that cannot be unpickled
        text = Path(trial.error_file).read_text().strip() if trial.error_file else "unknown error"
        return RuntimeError(text)


def forget_pickle(trial: Trial) -> None:
    """Keep Tune from loading the pickled error again at the end, where nothing uses it."""
    trial.run_metadata.pickled_error_filename = None


def cause_of(error: Any) -> Exception:
    """Return what an error comes from; Ray wraps it in its own."""
    while (inner := getattr(error, "cause", None) or error.__cause__) is not None:
        error = inner
    return error


def task_message(error: Exception) -> str:
    """Return in one line why a task failed: what it raised, without Ray's traceback around it."""
    return one_line(error.cause if isinstance(error, RayTaskError) else error)


def last_line(error: Exception) -> str:
    """Return the class of an error and its last line, which is what Ray's own have to say."""
    if getattr(error, "preempted", False):  # Ray gives no reason then
        return f"{type(error).__name__}: its machine was taken back"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    return f"{type(error).__name__}: {last.partition(' Some common causes include')[0]}"
