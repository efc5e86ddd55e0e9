"""`make fuzz`: damage files that a run reads, for so many minutes, and see that each is read or refused.

Refused means one of `vae.errors.Error`, which a command prints in one line. Anything else is a finding:
another exception, more than 20 seconds, or 4 GiB more than at the start. Each is printed once, with the seed
that brings it back. Exit code 1 if there was one.
"""

import argparse
import logging
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from types import FrameType

from tests.fuzz.targets import Target, targets
from vae.errors import Error

LIMIT_S = 20
LIMIT_BYTES = 4 * 2**30
"""Beyond what the process holds at the start."""


class TooSlow(Exception):
    """A file took longer than `LIMIT_S`."""


def try_one(target: Target, good: bytes, seed: int) -> str | None:
    """Return what is wrong with how a damaged file is read, None if nothing is."""
    draw = random.Random(seed)
    mutation = draw.choice(target.mutations)
    try:
        damaged = mutation(good, draw)
    except (ValueError, TypeError, OverflowError):  # nothing that can be written
        return None
    target.file.write_bytes(damaged)
    signal.alarm(LIMIT_S)
    try:
        target.read()
    except Error:  # the command line prints it as one line
        return None
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        frames = traceback.extract_tb(error.__traceback__)
        ours = [
            frame
            for frame in frames
            if "/site-packages/" not in frame.filename and "/tests/" not in frame.filename
        ]
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
        return f"{type(error).__name__} at {place}: {str(error)[:150]!r}"
    finally:
        signal.alarm(0)
        target.file.write_bytes(good)
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.fuzz")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="targets whose name has this text")
    arguments = parser.parse_args()
    logging.disable()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _too_slow)
    with tempfile.TemporaryDirectory() as name:
        chosen = [t for t in targets(Path(name)) if arguments.only is None or arguments.only in t.name]
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + LIMIT_BYTES, resource.RLIM_INFINITY))
        goods = [target.file.read_bytes() for target in chosen]
        n_tried, found, seed = Counter[str](), Counter[str](), arguments.seed * 10**9
        end = time.process_time() + 60 * arguments.minutes
        while time.process_time() < end:
            for target, good in zip(chosen, goods, strict=True):
                seed += 1
                n_tried[target.name] += 1
                problem = try_one(target, good, seed)
                if problem is None:
                    continue
                key = problem.partition(": ")[0]
                found[key] += 1
                if found[key] == 1:
                    print(f"{target.name}, seed {seed}: {problem}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(
        f"{sum(n_tried.values())} files of {len(n_tried)} kinds, {len(found)} findings, peak {peak:.0f} MiB"
    )
    return int(bool(found))


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TooSlow


if __name__ == "__main__":
    sys.exit(main())
