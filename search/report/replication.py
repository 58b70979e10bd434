"""The technical report's figures, drawn again from a run's own trials."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from search.report.display.plot import (
    CER_CEILING,
    COLUMN,
    INK,
    MARKERS,
    PAGE,
    PAPER,
    SERIES,
    Plot,
    drawing,
)
from search.report.drawing import cut, legend
from search.report.published import AUTHORS, PUBLISHED, as_published, scale, scaled
from search.report.run import Run, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MEMBERS = len(SERIES)
_RECURRENT = {"gru", "lstm"}
_EARLY = "Pale bars and lines that end early belong to trials that the search stopped."


class Family(NamedTuple):
    """Architectures that the report draws together."""

    curves: int
    """Number of the report's figure with loss and CER against epoch."""
    bars: int
    """Number of the report's figure with final CERs."""
    name: str
    contains: Callable[[tuple[str, ...]], bool]
    """Whether stages, from input to output, belong."""


FAMILIES = (
    Family(
        *(1, 2, "convolution, then transformer"),
        lambda stages: stages in (("conv", "transformer"), ("conv", "pretrained")),
    ),
    Family(
        *(3, 4, "LSTM and convolution"),
        lambda stages: "lstm" in stages and set(stages) <= {"lstm", "conv"},
    ),
    Family(
        *(5, 6, "LSTM or GRU, and convolution"),
        lambda stages: bool(_RECURRENT & set(stages)) and "transformer" not in stages,
    ),
    Family(
        *(7, 8, "transformer, LSTM or GRU, and convolution"),
        lambda stages: bool(_RECURRENT & set(stages)) and {"transformer", "conv"} <= set(stages),
    ),
)


def redrawn(run: Run) -> Iterator[tuple[str, Plot]]:
    """Yield the report's figures for which a run has at least two architectures, by file name."""
    for family in FAMILIES:
        members = _members(run, family)
        if len(members) > 1:
            yield f"report_figure_{family.curves}", _curves(run, family, members)
            yield f"report_figure_{family.bars}", _bars(run, family, members)
    groups = _by_electrodes(run)
    if groups:
        yield "report_figure_9", _electrodes(run, groups)


def _members(run: Run, family: Family) -> list[Trial]:
    """Return the best trial of each architecture of a family, at most electrodes; baseline last."""
    most = f"@{max(map(_electrodes_of, run.ranked))}ch"
    best: dict[str, Trial] = {}
    for trial in run.ranked:
        if trial.label.endswith(most):
            best.setdefault(_stages_text(trial), trial)
    members = [trial for text, trial in best.items() if family.contains(_stages(text))]
    name = _baseline(run)
    known = name in best and _is_baseline(run, best[name])
    # The report draws its baseline into each figure, so that families can be compared across
    # figures.
    baseline = [best[name]] if len(members) > 1 and known else []
    return members[: _MEMBERS - 1] + baseline


def _curves(run: Run, family: Family, members: list[Trial]) -> Plot:
    title = f"Loss and CER by epoch: {family.name}"
    with drawing(title, _about(run, family.curves), PAGE, 3.0) as figure:
        panels = figure.subplots(1, 2)
        columns = {"train_loss": "training loss", "val_cer": "validation CER (%)"}
        for axes, (column, label) in zip(panels, columns.items(), strict=True):
            for place, trial in enumerate(members):
                colour, marker = _series(run, trial, place)
                epochs = trial.curve["epoch"]
                axes.plot(
                    epochs,
                    trial.curve[column],
                    color=colour,
                    linestyle="--" if colour == INK else "-",
                    marker=marker,
                    markersize=3,
                    markevery=max(1, len(epochs) // 6),
                    zorder=3 - 0.1 * place,
                    label=_name(run, trial),
                )
            ceiling = CER_CEILING if column == "val_cer" else None
            cut(axes, [trial.curve[column] for trial in members], ceiling)
            axes.set(xlabel="epoch", ylabel=label)
            axes.xaxis.get_major_locator().set_params(integer=True)
        legend(figure, panels[0])
    return Plot(figure, title, f"As figure {family.curves} of {AUTHORS}. {_EARLY}")


def _bars(run: Run, family: Family, members: list[Trial]) -> Plot:
    members = sorted(members, key=lambda trial: -trial.val_cer)
    title = f"Lowest CER: {family.name}"
    title = title if len(title) < 46 else f"Lowest CER:\n{family.name}"
    tested = any(math.isfinite(trial.test_cer) for trial in members)
    with drawing(title, _about(run, family.bars), COLUMN, 1.0 + 0.36 * len(members)) as figure:
        axes = figure.subplots()
        for place, trial in enumerate(members):
            _bar(axes, place + 0.19 * tested, trial.val_cer, trial, SERIES[0], tested)
            if math.isfinite(trial.test_cer):
                _bar(axes, place - 0.19, trial.test_cer, trial, SERIES[1], tested)
        _mark_published(axes, run, members)
        axes.set_yticks(range(len(members)), [_name(run, trial) for trial in members])
        axes.tick_params(axis="y", length=0)
        axes.set(xlabel="CER (%)" if tested else "validation CER (%)", xlim=(0, None))
        handles = [(SERIES[0], "validation"), (SERIES[1], "test")] if tested else []
        for colour, label in handles:
            axes.barh(0, 0, color=colour, label=label)
        if axes.get_legend_handles_labels()[1]:
            figure.legend(loc="outside lower left", ncols=3, handlelength=1.2)
    return Plot(figure, title.replace("\n", " "), _bars_caption(run, family, tested))


def _bar(axes: Axes, at: float, cer: float, trial: Trial, colour: str, halved: bool) -> None:
    height, alpha = 0.34 if halved else 0.6, 1 if trial.is_whole else 0.4
    axes.barh(at, min(cer, CER_CEILING), height=height, color=colour, alpha=alpha)
    ended = "" if trial.is_whole else f", epoch {trial.epochs}"
    axes.annotate(
        f"{cer:.1f}{ended}",
        (1, at),
        xycoords=("axes fraction", "data"),
        xytext=(3, 0),
        textcoords="offset points",
        va="center",
        size=6.5,
    )


def _mark_published(axes: Axes, run: Run, members: list[Trial]) -> None:
    """Mark the published validation CERs, where they are of the same kind of data."""
    known = {published.architecture: published.val_cer for published in PUBLISHED}
    above = 0.19 if run.is_evaluated else 0
    marks = [(known.get(t.label, math.nan), place + above) for place, t in enumerate(members)]
    marks = [(cer, place) for cer, place in marks if math.isfinite(cer)]
    # A person's CER and a synthetic typist's have nothing in common.
    if marks and not run.synthetic:
        cers, places = zip(*marks, strict=True)
        axes.plot(
            *(cers, places, "D"),
            color=INK,
            markerfacecolor=PAPER,
            markersize=4.5,
            label="published validation",
        )


def _bars_caption(run: Run, family: Family, tested: bool) -> str:
    test = "" if tested else "Test CERs appear after python -m search.evaluate RUN --test. "
    return f"As figure {family.bars} of {AUTHORS}. {test}{_EARLY}"


def _by_electrodes(run: Run) -> dict[str, list[Trial]]:
    """Return architectures that were trained at several electrode counts, the best few first."""
    groups: dict[str, dict[int, Trial]] = {}
    for trial in run.ranked:
        which = trial.label.rpartition("ch:")[2] if "ch:" in trial.label else ""
        text = f"{_stages_text(trial)}, {which}" if which else _stages_text(trial)
        groups.setdefault(text, {}).setdefault(_electrodes_of(trial), trial)
    several = [(text, list(trials.values())) for text, trials in groups.items() if len(trials) > 1]
    several.sort(key=lambda item: (-len(item[1]), min(trial.rank for trial in item[1])))
    return {text: sorted(trials, key=_electrodes_of) for text, trials in several[: _MEMBERS - 2]}


def _electrodes(run: Run, groups: dict[str, list[Trial]]) -> Plot:
    title = "CER by number of electrodes"
    with drawing(title, _about(run, 9), COLUMN, 2.9) as figure:
        axes = figure.subplots()
        for place, (text, trials) in enumerate(groups.items()):
            counts = [_electrodes_of(trial) for trial in trials]
            for kind, style in (("val_cer", "-"), ("test_cer", "--")):
                cers = np.array([getattr(trial, kind) for trial in trials])
                if not np.isfinite(cers).any():
                    continue
                label = text if kind == "val_cer" else f"{text}, test"
                look: dict[str, Any] = {
                    "color": SERIES[place],
                    "marker": MARKERS[place],
                    "markersize": 4.5,
                }
                axes.plot(counts, cers, style, **look, label=label, zorder=3)
                for count, cer, trial in zip(counts, cers, trials, strict=True):
                    face = SERIES[place] if trial.is_whole else PAPER
                    axes.plot(count, cer, **look | {"mfc": face, "zorder": 4})
        axes.set_xticks(sorted({_electrodes_of(t) for trials in groups.values() for t in trials}))
        label = "CER (%)" if run.is_evaluated else "validation CER (%)"
        axes.set(xlabel="electrodes a band", ylabel=label)
        axes.set_ylim(0, 1.06 * min(axes.get_ylim()[1], CER_CEILING))
        legend(figure, axes, columns=1)
    return Plot(
        figure,
        title,
        f"As figure 9 of {AUTHORS}: the best trial of each architecture at each number "
        "of electrodes. Hollow marks ended early and might have improved.",
    )


def _baseline(run: Run) -> str:
    """Return the baseline's stages, at the depth of the run."""
    return scaled(PUBLISHED[0].architecture, scale(run)).partition(" @")[0]


def _is_baseline(run: Run, trial: Trial) -> bool:
    return _stages_text(trial) == _baseline(run) and as_published(run, trial)


def _series(run: Run, trial: Trial, place: int) -> tuple[str, str]:
    if _is_baseline(run, trial):
        return INK, "x"
    return SERIES[place % len(SERIES)], MARKERS[place % len(MARKERS)]


def _name(run: Run, trial: Trial) -> str:
    text = _stages_text(trial)
    return f"{text} (baseline)" if _is_baseline(run, trial) else text


def _about(run: Run, figure: int) -> str:
    return f"{run.data}, {run.name}; as figure {figure} of Agrawal et al."


def _stages_text(trial: Trial) -> str:
    return trial.label.partition(" @")[0]


def _stages(text: str) -> tuple[str, ...]:
    return tuple(part.partition(":")[0] for part in text.split())


def _electrodes_of(trial: Trial) -> int:
    return int(trial.values["model.electrodes"])
