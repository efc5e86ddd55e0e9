"""The search: space, Optuna, ASHA, trials on Ray, and the study that ties them together."""

import os
import time

STARTED = time.perf_counter()
"""When the command began: importing Ray and torch is part of what a person waits for."""

# Ray reads these when it is imported or first used; this file is imported before any other of the package.
for _name, _value in {
    "RAY_AIR_NEW_OUTPUT": "0",  # with verbose=0 the only way to a silent Tune; callbacks/progress.py draws
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # search_loop.py names the loggers
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # see callbacks/shutdown.py
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # callbacks/recorder.py says it in one line, the traceback is in ray/
    "RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE": "1",  # callbacks/failures.py says when a trial has failed
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a task without a GPU sees none
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run`, workers would be started through uv once more
    "RAY_USAGE_STATS_ENABLED": "0",
}.items():
    os.environ.setdefault(_name, _value)
