"""Which values an argument of a search allows, in one line for whoever gives another."""

import math
import re
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from vae.errors import UsageError


@dataclass(frozen=True, slots=True)
class Rule:
    """Which numbers an argument allows."""

    whole: bool
    minimum: float = -math.inf
    above: bool = False
    """Whether the minimum itself is too small."""
    maximum: float = math.inf

    def check(self, name: str, value: Any) -> int | float:
        """Return the number; a UsageError if it is none or out of range."""
        kind: Any = Integral if self.whole else Real
        number = isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)
        in_range = number and self.minimum <= value <= self.maximum
        if not in_range or (self.above and value == self.minimum):
            what = "a whole number" if self.whole else "a number"
            allowed = f" {'>' if self.above else '>='} {self.minimum:g}"
            if self.maximum < math.inf:
                allowed = f" from {self.minimum:g} to {self.maximum:g}"
            elif self.minimum == -math.inf:
                allowed = ""
            raise UsageError(f"{name} must be {what}{allowed}, got {value!r}")
        return int(value) if self.whole else float(value)


def whole(minimum: int) -> Rule:
    return Rule(whole=True, minimum=minimum)


POSITIVE = Rule(whole=False, minimum=0, above=True)


def duration(text: str) -> float:
    """Return the seconds of a time such as 90s, 30m or 1h30m.

    Raises
    ------
    UsageError
        It is not a time.

    Examples
    --------
    >>> duration("1h30m")
    5400.0
    """
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", text.strip())
    seconds = (
        sum(int(n or 0) * unit for n, unit in zip(match.groups(), (3600, 60, 1), strict=True)) if match else 0
    )
    if seconds <= 0:
        raise UsageError(f"time_budget must be a time such as 90s, 30m or 1h30m, got '{text}'")
    return float(seconds)
