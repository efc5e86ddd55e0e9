"""How our figures look: fonts, grid, and the colours of classes and trials."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from evaluation.embedders import Vae
from tune.storage.trial_status import TrialCategory

DOTS_PER_INCH = 200

INK = "#1f2430"
MUTED = "#8a8f9c"
FAINT = "#c9ccd4"
WINNER = Vae.colour
CATEGORY_COLOURS = {
    TrialCategory.COMPLETED: "#1a9a8a",
    TrialCategory.STOPPED: MUTED,
    TrialCategory.FAILED: "#d1383d",
    TrialCategory.CUT_SHORT: "#d9822b",
    TrialCategory.OPEN: "#2f8fd0",
}

_BLACK = "#2b3040"
_CLASS_COLOURS = (
    "#3b7dd8", "#f28e2b", "#e0474c", "#4caf50", "#a463c9", "#e8c130", _BLACK, "#18bccb", "#a0714f",
    "#9aa0a8",
)  # fmt: skip

_RC: dict[Any, Any] = {
    "figure.dpi": DOTS_PER_INCH,
    "savefig.dpi": DOTS_PER_INCH,
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#eceef2",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "text.parse_math": False,  # a class may be called "US$ 5 and A$ 6"
    # Letters as outlines: an SVG looks the same where our font, in which places are measured, is missing.
    "svg.fonttype": "path",
    "svg.hashsalt": "vae",  # the same figure is the same file
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw everything inside with our settings, and off screen."""
    with mpl.rc_context(_RC):
        yield


def shown_name(name: str, longest: int = 32) -> str:
    """Return a name that somebody has chosen, such as of a class, as a figure has room for it: on one line.

    Examples
    --------
    >>> shown_name("two\\nlines"), shown_name("a name that is far too long to be drawn", 20)
    ('two lines', 'a name that …e drawn')
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    if len(line) <= longest:
        return line
    end = (longest - 1) * 2 // 5
    return f"{line[: longest - 1 - end]}…{line[-end:]}"


def class_colours(n: int, *, dark: bool = False) -> list[Any]:
    """Return a colour for each of ``n`` classes, on white or on a ``dark`` page."""
    if n <= len(_CLASS_COLOURS):
        return ["#f2f3f7" if dark and c == _BLACK else c for c in _CLASS_COLOURS[:n]]
    return list(mpl.colormaps["gist_rainbow"](np.linspace(0, 1, n)))


def limits_without_outliers(values: ArrayLike, mode: str) -> tuple[float, float]:
    """Return limits for objectives that the few worst do not stretch: they would flatten all others."""
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    low, high = known.min(), known.max()
    if len(known) >= 10:
        near, far = (np.quantile(known, 0.97), high) if mode == "min" else (np.quantile(known, 0.03), low)
        spread = near - low if mode == "min" else high - near
        if abs(far - near) > 0.2 * spread:
            low, high = (low, near) if mode == "min" else (near, high)
    margin = 0.06 * (high - low) or 1e-3
    return float(low - margin), float(high + margin)


def label_line_ends(axes: Axes, ends: list[tuple[float, str, str, bool]], *, gap: float = 0.052) -> None:
    """Write names beside the right ends of lines, moved down where they would overlap.

    The limits of the axes must be final. Of each line there are the height of its end, name, colour, and
    whether to write it in bold; ``gap``, the least distance of two names, is a share of the height.
    """
    low, high = axes.get_ylim()
    place = 1.0
    for end, name, colour, bold in sorted(ends, reverse=True):
        height = (end - low) / (high - low)
        place = min(height, place)
        axes.annotate(
            name,
            xy=(1.0, height),
            xytext=(1.06, place),
            xycoords="axes fraction",
            color=colour,
            va="center",
            fontsize=9,
            fontweight="bold" if bold else "normal",
            arrowprops={
                "arrowstyle": "-",
                "color": FAINT,
                "lw": 0.7,
                "relpos": (0, 0.5),
                "shrinkA": 2,
                "shrinkB": 2,
            },
            annotation_clip=False,
        )
        place -= gap
