"""When `python -m tune` began: its user waits for the imports of Ray and torch as well."""

import time

STARTED = time.perf_counter()
