"""What Ray and Ray Tune read from the environment, set as long as a session lasts and put back afterwards."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

RAY_VARIABLES = {
    "RAY_AIR_NEW_OUTPUT": "0",  # with verbose=0 the only way to a silent Tune; callbacks/progress.py draws
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # search_loop.py names the loggers
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # see callbacks/shutdown.py
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # callbacks/recorder.py says it in one line, the traceback is in ray/
    "RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE": "1",  # callbacks/failures.py says when a trial has failed
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a task without a GPU sees none
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run`, workers would be started through uv once more
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""A value that the user has set stays. Ray reads them at each call, and the processes of a local cluster
inherit them; that of uv is read when Ray is imported, see `ray_session`."""
SET_BY_A_SESSION = ("PYTHONPATH", "RAY_AUTH_MODE")


@contextmanager
def ray_environment() -> Iterator[None]:
    """Set `RAY_VARIABLES` where the user has not, and put them and what a session sets back in the end.

    Examples
    --------
    >>> with ray_environment():  # unless the user has set another value
    ...     os.environ["TUNE_DISABLE_SIGINT_HANDLER"]
    '1'
    """
    before = {name: os.environ.get(name) for name in (*RAY_VARIABLES, *SET_BY_A_SESSION)}
    for name, value in RAY_VARIABLES.items():
        os.environ.setdefault(name, value)
    try:
        yield
    finally:
        for name, usual in before.items():
            if usual is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = usual
