"""How the terminal, the figures and the report write what several of them show."""


def points(share: float) -> str:
    """Return a difference of two shares in percentage points, with its sign."""
    return f"{100 * share:+.1f}".replace("-", "−")


def p_value(p: float) -> str:
    """Return a p-value as papers give it."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
