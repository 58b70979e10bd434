"""The picture of a replay: share of epochs against regret."""

from __future__ import annotations

from pathlib import Path

from emgmodels.drawing import own_style
from emgmodels.outputs import mark_of, save_figure
from emgmodels.saying import counted
from search.simulate.replay import ReplaySummary
from search.simulate.rules import Rule

FRONTIER_MARK = mark_of("frontier")


def draw_frontier(
    results: dict[Rule, ReplaySummary], path: Path, slots: int, chosen: Rule | None = None
) -> None:
    """Draw cost against regret of every rule, the better to the lower left.

    Args:
        results: What was replayed.
        path: Picture to write; its ending is the format.
        slots: Trials that trained at a time, for the title.
        chosen: Rule to point out.
    """
    with own_style():
        _draw_frontier(results, path, slots, chosen)


def _draw_frontier(
    results: dict[Rule, ReplaySummary], path: Path, slots: int, chosen: Rule | None
) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    families: dict[str, list[Rule]] = {}
    for rule in results:
        rank_by = rule.options.get("rank_by")
        family = f"{rule.name} by {rank_by}" if rank_by else rule.name
        families.setdefault(family, []).append(rule)
    for (family, rules), marker in zip(families.items(), "os^Dv<>PX*" * 9, strict=False):
        share = [100 * results[rule].share for rule in rules]
        regret = [results[rule].regret for rule in rules]
        axes.errorbar(
            *(share, regret, [results[rule].error for rule in rules]),
            fmt=marker,
            markersize=6,
            elinewidth=0.8,
            alpha=0.85,
            label=family,
        )
        for rule, x, y in zip(rules, share, regret, strict=True):
            grace, eta = rule.options.get("grace"), rule.options.get("eta")
            if grace:
                text = f"{grace}/{eta:g}" if eta else f"{grace}"
                axes.annotate(text, (x, y), (4, 3), textcoords="offset points", fontsize=6.5)
    if chosen in results:
        at = (100 * results[chosen].share, results[chosen].regret)
        axes.scatter(*at, s=220, facecolors="none", edgecolors="black", label="default")
    axes.set_yscale("symlog", linthresh=0.1)
    axes.set_ylim(bottom=-0.01)
    axes.set_xlabel("epochs trained (% of training every trial whole)")
    axes.set_ylabel("mean regret (CER points)")
    axes.set_title(f"Cost and regret on {counted(slots, 'slot')}; labels: grace/eta")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    save_figure(figure, path, FRONTIER_MARK, dpi=150)
