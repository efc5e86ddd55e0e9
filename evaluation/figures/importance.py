"""What the hyperparameters had to do with being among the best, a bar for each."""

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from evaluation.analysis.importance import Importances
from evaluation.figures.style import FAINT, INK, MUTED, WINNER
from tune.space.display import param_name


def draw_importance(found: Importances) -> Figure:
    """Draw the shares, and where chance ends: a bar that does not reach further is grey and has no number."""
    figure = Figure(figsize=(9, 1.3 + 0.36 * len(found.params)))
    axes = figure.subplots()
    heights = range(len(found.params))[::-1]
    end = 1.25 * max(param.share for param in found.params)
    for height, param in zip(heights, found.params, strict=True):
        told = param.beats_chance
        axes.barh(height, param.share, height=0.62, color=WINNER if told else FAINT)
        if param.chance < end:
            axes.plot([param.chance] * 2, [height - 0.4, height + 0.4], color=INK, linewidth=1.6)
        else:  # it lies off the picture
            axes.plot(end, height, ">", color=INK, markersize=5, clip_on=False)
        if told:
            axes.text(1.02 * end, height, f"{param.share:.0%}".replace("%", " %"), va="center", color=INK)
    axes.set_yticks(heights, [param_name(param.name) for param in found.params])
    axes.set_xlim(0, end)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("share of the importance of all hyperparameters")
    if any(param.beats_chance for param in found.params):
        title = f"What the best {found.n_best} of {found.n_trials} trials have in common"
    else:
        title = f"{found.n_trials} trials do not tell any hyperparameter's importance from chance"
    axes.set_title(title, pad=18)
    remark = "black: what chance alone stays below in 95 of 100 cases; a grey bar may be chance"
    axes.text(0, 1.015, remark, transform=axes.transAxes, fontsize=8, color=MUTED, va="bottom")
    return figure
