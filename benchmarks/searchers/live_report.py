"""Table, picture and results of searchers that were compared on real trainings."""

from __future__ import annotations

import bisect
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.results import describe_setting
from benchmarks.searchers.live import BUDGET, SPACE, Live
from benchmarks.searchers.problem import WORST, Event
from benchmarks.searchers.report import styles
from emgmodels.drawing import own_style
from emgmodels.outputs import write_text
from emgmodels.saying import counted

NAME = "searchers-live"
SHARES = (0.1, 0.2, BUDGET)
"""Budgets at which searches are compared, of the epochs that training everything takes."""
_PARTS = (1 / 3, 2 / 3, 1.0)
"""The same of the time that a search takes."""
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Student's t of a two-sided 95 % interval, by degrees of freedom from 1."""
_CEILING = 100.0
"""CER (%) that stands for all above it, and for a search that has no result yet."""


@dataclass(frozen=True)
class Searched:
    """What a searcher came to with one seed.

    Attributes:
        name: the searcher.
        seed: the repeat.
        epochs: epochs of training all trials to the end.
        trials: trials that it began.
        cer: lowest validation CER (%) after each epoch that it trained.
        seconds: processor time of trainings by then, on one slot.
    """

    name: str
    seed: int
    epochs: int
    trials: int
    cer: Sequence[float]
    seconds: Sequence[float]

    def at(self, share: float) -> float:
        """Return the lowest CER (%) once a share of all epochs was trained."""
        return self._after(int(share * self.epochs + 1e-9))

    def by(self, seconds: float) -> float:
        """Return the lowest CER (%) once that much time has passed."""
        return self._after(bisect.bisect_right(self.seconds, seconds + 1e-9))

    def _after(self, epochs: int) -> float:
        # A search that ended before its budget keeps what it has.
        count = min(epochs, len(self.cer))
        return min(_CEILING, self.cer[count - 1]) if count else _CEILING


def searched(name: str, problem: Live, events: Sequence[Event]) -> Searched:
    """Return what a searcher came to.

    Raises:
        ValueError: it trained an epoch twice or before its turn, or more than its budget.
    """
    done: dict[int, int] = {}
    for event in events:
        if event.epoch != done.get(event.trial, 0) + 1:
            raise ValueError(f"{name}: trial {event.trial}: epoch {event.epoch} is out of turn")
        done[event.trial] = event.epoch
    if not 0 < len(events) <= problem.budget:
        raise ValueError(f"{name}: {counted(len(events), 'epoch')}, of {problem.budget} allowed")
    return Searched(
        name,
        problem.repeat,
        problem.trials * problem.epochs,
        len(done),
        np.minimum.accumulate([min(WORST, event.cer) for event in events]).tolist(),
        [event.end for event in events],
    )


def t_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return a mean over seeds and its 95 % interval by Student's t; of one seed no interval."""
    mean, count = float(np.mean(values)), len(values)
    if count == 1:
        return mean, float("nan"), float("nan")
    # From ten on the interval is a little too wide, never too narrow.
    half = _T[min(count - 1, len(_T)) - 1] * float(np.std(values, ddof=1)) / count**0.5
    return mean, mean - half, mean + half


def by_name(found: Sequence[Searched]) -> dict[str, list[Searched]]:
    """Return the searches of each searcher by seed, of the seeds that all of them have."""
    names = dict.fromkeys(each.name for each in found)
    seeds = set.intersection(*({e.seed for e in found if e.name == name} for name in names))
    return {
        name: [each for each in found if each.name == name and each.seed in seeds] for name in names
    }


def write_report(found: Sequence[Searched], folder: Path) -> None:
    """Write ``searchers-live.md``, ``.json`` and ``.png`` into a folder."""
    values = {"setting": describe_setting(), "searches": [_values(each) for each in found]}
    write_text(folder / f"{NAME}.json", json.dumps(values, indent=1) + "\n")
    write_text(folder / f"{NAME}.md", markdown(found))
    (folder / f"{NAME}.png").write_bytes(picture(by_name(found)))


def markdown(found: Sequence[Searched]) -> str:
    """Return tables by epochs and by time, the searcher with the lowest CER at the end first."""
    searches = by_name(found)
    lowest = {
        name: t_interval([each.at(BUDGET) for each in of])[0] for name, of in searches.items()
    }
    searches = {name: searches[name] for name in sorted(searches, key=lowest.__getitem__)}
    seeds = [each.seed for each in next(iter(searches.values()))]
    shortest = _time(searches)
    parts = [
        "# Searchers side by side on real trainings",
        f"Written by `python -m benchmarks run searchers_live --venvs DIR --keep DIR "
        f"--repeats {len(seeds)} --threads 1 --record`; what\nis compared is in "
        f"[the README](README.md#searchers-on-real-trainings). "
        f"The space is [{SPACE.name}](searchers/{SPACE.name}). Seeds\n"
        f"{', '.join(map(str, seeds))}; mean and 95 % interval over them by Student's t.",
        f"![Lowest validation CER by epochs and by time]({NAME}.png)",
        "## By epochs",
        "Lowest validation CER (%) once a share of the epochs was trained that training all trials "
        "takes. *Above\nthe best*: at the end, above the lowest CER that any of these searchers "
        "found with that seed. *Beside emgsearch*:\nthe difference at the end, seed by seed.",
        _by_epochs(searches),
        "## By time",
        f"Lowest validation CER (%) by the processor time of the trainings, of the "
        f"{shortest:.0f} s that the fastest search\nneeded for the whole budget. Each epoch "
        f"counts what it took when it was trained.",
        _by_time(searches, shortest),
    ]
    return "\n\n".join(parts) + "\n"


def picture(searches: Mapping[str, Sequence[Searched]]) -> bytes:
    """Return a PNG: mean lowest CER by epochs and by time, and each seed at the end."""
    with own_style():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(12, 4.6), layout="constrained")
        FigureCanvasAgg(figure)
        epochs, time, end = figure.subplots(1, 3)
        some = next(iter(searches.values()))[0]
        shares = np.arange(1, round(BUDGET * some.epochs) + 1) / some.epochs
        moments = np.linspace(0, _time(searches), 160)
        for row, (name, style) in enumerate(styles(searches).items()):
            of = searches[name]
            by_epoch = [[each.at(share) for share in shares] for each in of]
            by_time = [[each.by(moment) for moment in moments] for each in of]
            epochs.plot(shares * some.epochs, np.mean(by_epoch, axis=0), label=name, **style)
            time.plot(moments, np.mean(by_time, axis=0), **style)
            last = [each.at(BUDGET) for each in of]
            mean, low, high = t_interval(last)
            end.plot([low, high], [row, row], color=style["color"], linewidth=2)
            end.plot(last, [row] * len(last), "o", color=style["color"], markersize=4)
            end.plot([mean], [row], "|", color=style["color"], markersize=16)
        for axes, label in ((epochs, "epochs trained"), (time, "processor time of trainings (s)")):
            axes.set_xlabel(label)
            axes.set_ylabel("lowest validation CER (%)")
            axes.grid(alpha=0.25)
        end.set_yticks(range(len(searches)), list(searches), fontsize=7)
        end.invert_yaxis()
        end.set_xlabel("at the end (%): seeds, mean, 95 % interval")
        figure.legend(*epochs.get_legend_handles_labels(), loc="outside lower center", ncols=4)
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=110)
    small = io.BytesIO()
    Image.open(drawn).convert("RGB").quantize(256).save(small, format="png", optimize=True)
    return small.getvalue()


def _time(searches: Mapping[str, Sequence[Searched]]) -> float:
    """Return the time of the fastest search that spent its budget, else of the longest."""
    of_all = [each for of in searches.values() for each in of]
    most = max(len(each.cer) for each in of_all)
    return min(each.seconds[-1] for each in of_all if len(each.cer) == most)


def _by_epochs(searches: Mapping[str, Sequence[Searched]]) -> str:
    best = [min(each.at(BUDGET) for each in same) for same in zip(*searches.values(), strict=True)]
    ours = [each.at(BUDGET) for each in searches.get("emgsearch", [])]
    head = ["searcher", *(f"at {100 * share:.0f} %" for share in SHARES)]
    rows = [[*head, "lowest of all seeds", "above the best", "beside emgsearch", "trials begun"]]
    for name, of in searches.items():
        last = [each.at(BUDGET) for each in of]
        beside = [one - our for one, our in zip(last, ours, strict=True)] if ours else []
        cells = [_told([each.at(share) for each in of]) for share in SHARES]
        cells += [f"{min(last):.1f}"]
        cells += [_told([one - least for one, least in zip(last, best, strict=True)])]
        cells += ["" if name == "emgsearch" or not beside else _told(beside, "{:+.1f}")]
        rows.append([_bold(name), *cells, f"{np.mean([each.trials for each in of]):.1f}"])
    return _table(rows)


def _by_time(searches: Mapping[str, Sequence[Searched]], shortest: float) -> str:
    moments = [part * shortest for part in _PARTS]
    rows = [["searcher", *(f"after {moment:.0f} s" for moment in moments), "a search takes"]]
    for name, of in searches.items():
        cells = [_told([each.by(moment) for each in of]) for moment in moments]
        took = float(np.mean([each.seconds[-1] for each in of]))
        rows.append([_bold(name), *cells, f"{took:.0f} s"])
    return _table(rows)


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _bold(name: str) -> str:
    return f"**{name}**" if name.startswith("emgsearch") else name


def _told(values: Sequence[float], form: str = "{:.1f}") -> str:
    # Rounded first, so that nothing is -0.0.
    mean, low, high = (form.format(round(value, 1) + 0.0) for value in t_interval(values))
    return mean if len(values) == 1 else f"{mean} ({low} to {high})"


def _values(each: Searched) -> dict[str, object]:
    return {
        "name": each.name,
        "seed": each.seed,
        "trials": each.trials,
        "cer": [round(value, 3) for value in each.cer],
        "seconds": [round(value, 3) for value in each.seconds],
    }
