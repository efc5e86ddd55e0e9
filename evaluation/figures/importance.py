"""How much each hyperparameter decides whether a trial is among the best, a bar for each."""

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from evaluation.analysis.importance import Importances
from evaluation.figures.style import FAINT, INK, MUTED, WINNER
from tune.space.display import param_name, percent


def draw_importance(found: Importances, sampler: str | None = None) -> Figure:
    """Draw the shares and the level of chance; a bar below it is grey and has no number.

    ``sampler`` names one that does not draw at random, for which that level is no more than a hint.
    """
    figure = Figure(figsize=(9, 1.3 + 0.36 * len(found.params)))
    axes = figure.subplots()
    heights = range(len(found.params))[::-1]
    end = 1.25 * max(param.share for param in found.params)
    for height, param in zip(heights, found.params, strict=True):
        axes.barh(height, param.share, height=0.62, color=WINNER if param.beats_chance else FAINT)
        if param.chance < end:
            axes.plot([param.chance] * 2, [height - 0.4, height + 0.4], color=INK, linewidth=1.6)
        else:  # outside the picture
            axes.plot(end, height, ">", color=INK, markersize=5, clip_on=False)
        if param.beats_chance:
            axes.text(1.02 * end, height, percent(param.share, 0), va="center", color=INK)
    axes.set_yticks(heights, [param_name(param.name) for param in found.params])
    axes.set_xlim(0, end)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("share of the importance of all hyperparameters")
    if any(param.beats_chance for param in found.params):
        title = f"What the best {found.n_best} of {found.n_trials} trials have in common"
    else:
        title = f"No hyperparameter stands out from chance in {found.n_trials} trials"
    axes.set_title(title, pad=18)
    remark = "black mark: under random rankings, all bars stay below theirs in 95 %; grey: not above it"
    if sampler is not None:
        remark += f"; a hint, not a test, as {sampler} does not draw at random"
    axes.text(0, 1.015, remark, transform=axes.transAxes, fontsize=8, color=MUTED, va="bottom")
    return figure
