"""The figures of one search, one function each, and the best-so-far curves of several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from emgmodels.config.stage_names import stage_of
from emgmodels.saying import counted
from search.report.display.plot import (
    CER_CEILING,
    COLUMN,
    FAINT,
    INK,
    MARKERS,
    PAGE,
    SERIES,
    NothingToDrawError,
    Plot,
    cer_axis,
    drawing,
)
from search.report.display.words import duration, setting
from search.report.drawing import (
    ABSENT,
    NO_STAGE,
    Scale,
    cut,
    dots,
    is_logarithmic,
    is_scale,
    legend,
    legend_of_marks,
    lines,
    ordered,
    plain_log,
    short,
    strip,
)
from search.report.importance import best_count, importances
from search.report.pareto import WHOLE_OR_NOT, pareto
from search.report.run import HIGHLIGHTED, Run, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_AXES_SHOWN = 9
_PANELS_SHOWN = 6
_ORDERS_SHOWN = 14


def learning_curves(run: Run) -> Plot:
    """Draw validation CER and loss of every trial against the epoch, with the rungs."""
    title = "Learning curves: most trials end at a rung, the best go on"
    if not run.rungs:
        title = "Learning curves of all trials"
    with drawing(title, _about(run), PAGE, 3.1) as figure:
        panels = figure.subplots(1, 2)
        columns = {"val_cer": "validation CER (%)", "val_loss": "validation CTC loss"}
        for axes, (column, label) in zip(panels, columns.items(), strict=True):
            for rung in run.rungs:
                axes.axvline(rung, color=FAINT, linewidth=0.6, linestyle=(0, (1, 2)), zorder=0)
            curves = [(trial.curve["epoch"], trial.curve[column]) for trial in run.ranked]
            lines(axes, run.ranked, curves)
            axes.set(xlabel="epoch", ylabel=label, xlim=(0, run.max_epochs * 1.02))
            axes.xaxis.get_major_locator().set_params(integer=True)
            ceiling = CER_CEILING if column == "val_cer" else None
            # CER may reach several hundred percent in the first epochs, which would flatten all
            # that follows.
            cut(axes, [trial.curve[column] for trial in run.ranked], ceiling)
        legend(figure, panels[0])
    rungs = ", ".join(map(str, run.rungs))
    rungs = f"Dotted lines are the rungs, at epochs {rungs}. " if rungs else ""
    return Plot(
        figure,
        title,
        f"Coloured, as in every figure here: the best {counted(_best(run), 'trial')}; the others "
        f"are grey. {rungs}CER above {CER_CEILING:.0f} % is cut off.",
    )


def progress(run: Run) -> Plot:
    """Draw the best CER so far against epochs and hours, up to what whole trainings would cost."""
    history = run.history
    spent = len(history.best)
    size, unit = _unit_of_time(max(history.whole_hours, float(history.hours[-1])))
    saved = 100 * (1 - spent / history.whole_epochs)
    title = (
        f"Cost: {counted(spent, 'epoch')}, where training every trial whole takes "
        f"{history.whole_epochs}"
    )
    if spent >= history.whole_epochs:
        title = f"Cost: {counted(spent, 'epoch')}, every trial trained whole"
    with drawing(title, _about(run), PAGE, 2.5) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        epochs = np.arange(1, spent + 1)
        _spent(panels[0], epochs, history.best, history.whole_epochs, ".0f")
        panels[0].set_xlabel("epochs trained, all trials together")
        _spent(panels[1], size * history.hours, history.best, size * history.whole_hours, ".3g")
        panels[1].set_xlabel(f"training time, all trials together ({unit})")
        cer_axis(panels[0], _finite(history.best), "y")
        panels[0].set_ylabel("best validation CER so far (%)")
    return Plot(
        figure,
        title,
        f"The search found {_finite(history.best)[-1]:.2f} % in {counted(spent, 'epoch')}"
        f"{f', {duration(run.elapsed)}' if math.isfinite(run.elapsed) else ''} and "
        f"{duration(3600 * history.hours[-1])} of training time (added up over trials that may "
        f"have run side by side). Training each of {counted(len(run.ranked), 'trial')} to the "
        f"last epoch takes {counted(history.whole_epochs, 'epoch')} and about "
        f"{duration(3600 * history.whole_hours)}: "
        + (
            f"{100 - saved:.0f} % of the epochs were trained before it was cut off."
            if run.cut_off
            else f"{saved:.0f} % of the epochs were saved."
        ),
    )


def parallel_coordinates(run: Run) -> Plot:
    """Draw every trial as a line through its settings."""
    names = _most_telling(run)[:_AXES_SHOWN]
    if not names:
        raise NothingToDrawError(
            "parallel coordinates need a setting of which trials had several values"
        )
    title = "Settings of the best trials among all others"
    with drawing(title, _about(run), PAGE, 3.3) as figure:
        axes = figure.subplots()
        scales = [Scale([_value(trial, name) for trial in run.ranked]) for name in names]
        cer = Scale([min(trial.val_cer, CER_CEILING) for trial in run.ranked], flipped=True)
        rng = np.random.default_rng(0)
        through: list[tuple[Any, Any]] = []
        for trial in run.ranked:
            places = [
                scale(_value(trial, name)) + rng.uniform(-0.012, 0.012)
                for scale, name in zip(scales, names, strict=True)
            ]
            through.append((range(len(names) + 1), [*places, cer(min(trial.val_cer, CER_CEILING))]))
        lines(axes, run.ranked, through)
        for place, scale in enumerate([*scales, cer]):
            scale.draw(axes, place)
        axes.set_xticks(
            range(len(names) + 1), [*map(_broken, names), "validation\nCER (%)"], color=INK
        )
        axes.set(xlim=(-0.35, len(names) + 0.35), ylim=(-0.2, 1.05), yticks=[])
        axes.tick_params(axis="x", length=0, pad=2)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        legend(figure, axes)
    hidden = len(run.varied) - len(names)
    left_out = counted(hidden, "further setting is", "further settings are")
    more = f" {left_out} left out, of those that matter less." if hidden else ""
    return Plot(
        figure,
        title,
        f"One line a trial, the best {_best(run)} coloured; lines are set apart a little where "
        f"they share a value. '–' marks a setting that a trial does not have.{more}",
    )


def importance(run: Run) -> Plot:
    """Draw how much each searched setting tells the best trials from all."""
    # A setting that no trial could vary has nothing to show.
    found = [item for item in importances(run) if item.share > 0 or item.chance > 0]
    title = "Which settings the best trials share"
    height = 0.95 + 0.19 * len(found)
    with drawing(title, _about(run), COLUMN, height) as figure:
        axes = figure.subplots()
        for place, item in enumerate(reversed(found)):
            clear = item.share > item.chance
            axes.barh(
                place,
                100 * item.share,
                height=0.62,
                color=SERIES[0] if clear else FAINT,
                linewidth=0,
            )
            axes.plot([100 * item.chance] * 2, [place - 0.4, place + 0.4], color=INK, linewidth=1)
        axes.set_yticks(range(len(found)), [setting(item.name) for item in reversed(found)])
        axes.set_xlabel("share of importance (%)")
        axes.tick_params(axis="y", length=0)
    best = best_count(len(run.ranked))
    return Plot(
        figure,
        title,
        f"PED-ANOVA: how far the values of the best {best} of {counted(len(run.ranked), 'trial')} "
        f"are from "
        f"those of all. 95 % of random rankings of the same trials stay left of the black mark; "
        f"a blue bar passes it, a grey one says nothing. optuna-dashboard may show another order: "
        f"it counts complete trials alone, and their CERs.",
    )


def orders(run: Run) -> Plot:
    """Draw CER by the order of stages, best order first."""
    groups: dict[str, list[Trial]] = {}
    for trial in run.ranked:
        names = str(trial.values.get("model.encoder.order", "")).split()
        stages = [stage_of(name, {*names} - {name}) for name in names]
        groups.setdefault(" → ".join(stages) or NO_STAGE, []).append(trial)
    if len(groups) < 2:
        raise NothingToDrawError("the effect of order needs trials of several orders")
    shown = dict(list(groups.items())[:_ORDERS_SHOWN])
    title = "Validation CER by order of stages"
    with drawing(title, _about(run), COLUMN, 1.7 + 0.2 * len(shown)) as figure:
        axes = figure.subplots()
        for place, trials in enumerate(reversed(shown.values())):
            strip(axes, trials, place, across=True)
        axes.set_yticks(range(len(shown)), list(reversed(shown)))
        axes.tick_params(axis="y", length=0)
        cer_axis(axes, [trial.val_cer for trials in shown.values() for trial in trials])
        legend_of_marks(figure, run)
    # A space with four stages has 64 orders. The first ones are the best.
    hidden = len(groups) - len(shown)
    more = f" {counted(hidden, 'further order')} did worse." if hidden else ""
    return Plot(figure, title, f"The first stage of an order reads the input. {_STRIPS}{more}")


def effects(run: Run) -> Plot:
    """Draw CER by depth of each stage, by electrodes, and by the most telling other settings."""
    names = [name for name in _most_telling(run) if name != "model.encoder.order"]
    first = [name for name in names if name.endswith((".layers", ".electrodes"))]
    names = [*first, *(name for name in names if name not in first)][:_PANELS_SHOWN]
    if not names:
        raise NothingToDrawError(
            "the effect of settings needs one of which trials had several values"
        )
    title = "Validation CER by depth, electrodes and other settings"
    rows = math.ceil(len(names) / 3)
    with drawing(title, _about(run), PAGE, 0.95 + 1.75 * rows) as figure:
        panels = figure.subplots(rows, 3, sharey=True, squeeze=False)
        for axes, name in zip(panels.flat, names, strict=False):
            _effect(axes, run, name)
        for axes in panels.flat[len(names) :]:
            axes.set_visible(False)
        for row in panels:
            cer_axis(row[0], [trial.val_cer for trial in run.ranked], "y")
        legend_of_marks(figure, run, columns=3)
    return Plot(figure, title, _STRIPS)


def comparison(runs: Sequence[Run]) -> Plot:
    """Draw the best CER so far of several searches against epochs and hours."""
    title = "Best validation CER so far, search by search"
    about = ", ".join(dict.fromkeys(run.data for run in runs))
    size, unit = _unit_of_time(max(float(run.history.hours[-1]) for run in runs))
    with drawing(title, about, PAGE, 2.8) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        for place, run in enumerate(runs):
            history, colour = run.history, SERIES[place % len(SERIES)]
            for axes, cost in zip(
                panels, (np.arange(1, len(history.best) + 1), size * history.hours), strict=True
            ):
                axes.step(
                    cost,
                    history.best,
                    where="post",
                    color=colour,
                    linestyle=("-", "--", ":")[place // len(SERIES) % 3],
                    marker=MARKERS[place % len(MARKERS)],
                    markevery=[-1],
                    markersize=4,
                    label=run.name,
                )
        for axes in panels:
            axes.set_xlim(0, None)
        panels[0].set_xlabel("epochs trained, all trials together")
        panels[1].set_xlabel(f"training time, all trials together ({unit})")
        cer_axis(panels[0], [cer for run in runs for cer in _finite(run.history.best)], "y")
        panels[0].set_ylabel("best validation CER so far (%)")
        legend(figure, panels[0])
    return Plot(
        figure,
        title,
        "Each line ends where its search has got to. Training time is added up over "
        "trials that may have run side by side.",
    )


FIGURES = {
    "learning_curves": learning_curves,
    "progress": progress,
    "importance": importance,
    "orders": orders,
    "effects": effects,
    "parallel_coordinates": parallel_coordinates,
    "pareto": pareto,
}
"""Every figure of one search by its file's name; each may raise ``NothingToDrawError``."""
_STRIPS = f"One mark a trial, a bar at the median of each value. {WHOLE_OR_NOT}"


def _spent(axes: Axes, cost: np.ndarray, best: np.ndarray, whole: float, digits: str) -> None:
    """Draw the best CER so far against its cost, up to that of whole trainings."""
    axes.step(cost, best, where="post", color=SERIES[0])
    axes.plot(cost[-1], best[-1], "o", color=SERIES[0], markersize=4)
    axes.axvline(whole, color=SERIES[1], linewidth=1, linestyle="--")
    axes.axvspan(cost[-1], whole, color=SERIES[1], alpha=0.08, linewidth=0)
    axes.set_xlim(0, 1.03 * max(whole, cost[-1]))
    axes.annotate(
        f"every trial trained whole: {whole:{digits}}",
        (whole, 0.97),
        xycoords=("data", "axes fraction"),
        xytext=(-4, 0),
        textcoords="offset points",
        ha="right",
        va="top",
        size=7,
        color=INK,
    )


def _effect(axes: Axes, run: Run, name: str) -> None:
    """Draw CER against the values of one setting, side by side or on a scale."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    values = [_value(trial, name) for trial in run.ranked]
    axes.set_xlabel(setting(name))
    if not is_scale(values):
        places = ordered(values)
        for place, value in enumerate(places):
            same = [trial for trial, own in zip(run.ranked, values, strict=True) if own == value]
            strip(axes, same, place)
        axes.set_xticks(range(len(places)), [ABSENT if v is None else str(v) for v in places])
        axes.set_xlim(-0.5, len(places) - 0.5)
        return
    present = [value for value in values if value is not None]
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    if is_logarithmic(present):
        plain_log(axes, present)
    having = [t for t, value in zip(run.ranked, values, strict=True) if value is not None]
    dots(axes, having, present, [min(trial.val_cer, CER_CEILING) for trial in having])


def _value(trial: Trial, name: str) -> Any:
    """Return a trial's setting; a stage that is absent has 0 layers."""
    return trial.values.get(name, 0 if name.endswith(".layers") else None)


def _most_telling(run: Run) -> list[str]:
    """Return the settings that varied, the most important ones first where that is known."""
    try:
        shares = {item.name: item.share for item in importances(run)}
    except NothingToDrawError:
        return run.varied
    return sorted(run.varied, key=lambda name: -shares.get(name, 0.0))


def _about(run: Run) -> str:
    return f"{run.data}, {run.name}" + (", search still running" if run.is_running else "")


def _best(run: Run) -> int:
    return min(HIGHLIGHTED, len(run.ranked))


def _broken(name: str) -> str:
    """Return a setting's name over two lines or three."""
    return setting(name).replace(" ", "\n")


def _unit_of_time(hours: float) -> tuple[float, str]:
    """Return how many of a unit an hour is, and the unit: that in which a time has few digits."""
    return (1.0, "h") if hours >= 3 else (60.0, "min") if hours >= 0.05 else (3600.0, "s")


def _finite(values: np.ndarray) -> list[float]:
    return values[np.isfinite(values)].tolist()
