"""Replays searches on recorded curves and prints what each rule costs and loses."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from emgmodels.config import read_yaml
from emgmodels.outputs import check_output, picture_path
from emgmodels.saying import counted
from search.engine.schedulers import SCHEDULERS, check_options
from search.halving.rungs import HALVING, aligned_epochs, resolve
from search.report.display.words import say, with_room
from search.simulate.frontier import FRONTIER_MARK, draw_frontier
from search.simulate.replay import Curve, ReplaySummary, read_curves, whole
from search.simulate.rules import Rule, Setting, Tuned, compared, grid, is_own, own_scheduler, tune
from search.space import load_space

# As in the comparisons in EXPERIMENTS.md, so that their figures can be repeated.
_USUAL_TRIALS = 27


@dataclass(frozen=True)
class Asked:
    """What is replayed, as a person asks for it.

    Attributes:
        paths: run folders, or CSVs.
        names: schedulers: names, or mappings with options as in a space file.
        options: of all schedulers that take them.
        epochs: of a whole training; None: what half of the curves reach.
        slots: trials that train at a time.
        trials: of a search; None: 27, or all there are.
        repeats: searches.
        seed: of the trials drawn.
        compare: replay all rules too.
        bound: mean regret (CER points) of the rule to find; None: find none.
        figure: picture to draw.
    """

    paths: list[Path]
    names: list[str]
    options: dict[str, Any]
    epochs: int | None = None
    slots: int = 1
    trials: int | None = None
    repeats: int = 1000
    seed: int = 0
    compare: bool = False
    bound: float | None = None
    figure: Path | None = None


def print_table(console: Console, results: dict[Rule, ReplaySummary], timed: bool) -> None:
    """Print one row a rule, the cheapest first."""
    table = Table(box=None, pad_edge=False)
    table.add_column("scheduler", no_wrap=True)
    for column in ("epochs", "regret", "±", "p90", "within 0.4", "hours" if timed else "duration"):
        table.add_column(column, justify="right", no_wrap=True)
    for rule, summary in sorted(results.items(), key=lambda item: item[1].share):
        table.add_row(
            str(rule),
            f"{100 * summary.share:.1f} %",
            f"{summary.regret:.3f}",
            f"{summary.error:.3f}",
            f"{summary.p90:.3f}",
            f"{100 * summary.near_best:.0f} %",
            f"{summary.time / 3600:.2f}" if timed else counted(round(summary.time), "epoch"),
        )
    console.print(table)


def replay_searches(asked: Asked) -> None:
    """Replay searches, print a row a rule, and draw the figure if one is named."""
    console = with_room(Console())
    figure = picture_path(asked.figure) if asked.figure else None
    if figure:
        check_output(figure, FRONTIER_MARK, asked.paths)
    curves, setting = _recorded(console, asked)
    aligned = min(map(_aligned_epochs, asked.paths))
    results: dict[Rule, ReplaySummary] = {}
    if asked.bound is not None:
        shorter = replace(setting, repeats=min(asked.repeats, 100))
        rules = track(grid(setting.epochs), "tuning", console=console)
        tuned = tune(curves, shorter, asked.bound, rules)
        _print_tuned(console, tuned, asked.bound)
        results[tuned.rule] = setting.replay(curves, tuned.rule)
    else:
        for rule in _checked(asked.names, asked.options, setting.epochs, aligned, curves):
            results[rule] = setting.replay(curves, rule)
    if asked.compare:
        for other in track(compared(setting.epochs), "replaying", console=console):
            results.setdefault(other, setting.replay(curves, other))
    print_table(console, results, all(curve.seconds for curve in curves))
    if figure:
        [default] = _checked(["asha"], {}, setting.epochs, aligned, curves)
        _draw(console, figure, results, asked.slots, default)


def _recorded(console: Console, asked: Asked) -> tuple[list[Curve], Setting]:
    """Return the curves that searches draw from, and what is replayed; say how many there are."""
    recorded, epochs = _read(asked.paths), asked.epochs
    if epochs is None:
        epochs = _usual_epochs(recorded, longest=all(path.is_dir() for path in asked.paths))
    curves = whole(recorded, epochs)
    trials = _trials(" ".join(map(str, asked.paths)), recorded, curves, epochs, asked.trials)
    diverged = sum(curve.diverged for curve in curves)
    say(
        console,
        f"{len(curves)} of {counted(len(recorded), 'curve')} have all {counted(epochs, 'epoch')}"
        f"{f' or diverged, as {diverged} did' if diverged else ''}; "
        f"{counted(asked.repeats, 'search', 'searches')} of {counted(trials, 'trial')} on "
        f"{counted(asked.slots, 'slot')}",
    )
    return curves, Setting(epochs, asked.slots, trials, asked.repeats, asked.seed)


def _draw(
    console: Console, figure: Path, results: dict[Rule, ReplaySummary], slots: int, default: Rule
) -> None:
    try:
        draw_frontier(results, figure, slots, default)
    except ValueError as error:  # matplotlib lists the formats it has
        raise ValueError(f"--figure {figure}: {error}") from None
    say(console, f"drawn: {figure}")


def _read(paths: list[Path]) -> list[Curve]:
    """Return the curves of all files; of several, each file is a source of its own."""
    if len(paths) == 1:
        return read_curves(paths[0])
    return [
        # Run folders number their trials from 0, so names would clash.
        replace(curve, name=f"{path}: {curve.name}", source=str(path))
        for path in dict.fromkeys(paths)
        for curve in read_curves(path)
    ]


def _aligned_epochs(path: Path) -> int:
    """Return how long the trials of a run folder started aligned; of a CSV nothing is known."""
    space = path / "space.yaml"
    return (
        aligned_epochs(load_space(space, imports=False).training.plain()) if space.is_file() else 0
    )


def _usual_epochs(curves: list[Curve], longest: bool) -> int:
    """Return what half of the curves reach that did not diverge, or the longest.

    Args:
        curves: Curves as recorded.
        longest: They are of searches, which cut trials short.
    """
    whole_ones = [curve for curve in curves if not curve.diverged] or curves
    # Public curves have many lengths, and the median keeps most of them. A search's own are short
    # only because it stopped them.
    lengths = sorted(len(curve.cer) for curve in whole_ones)
    return lengths[-1] if longest else lengths[len(lengths) // 2]


def _trials(
    read: str, recorded: list[Curve], curves: list[Curve], epochs: int, trials: int | None
) -> int:
    if len(curves) < 2 or (trials or 0) > len(curves):
        longest = max(len(curve.cer) for curve in recorded)
        raise ValueError(
            f"{read}: {len(curves)} of {counted(len(recorded), 'curve')} have all "
            f"{counted(epochs, 'epoch')}, and {trials or 2} are needed: ask for fewer --trials or "
            f"--epochs (the longest curve has "
            f"{longest}), or record more with 'scheduler: none'"
        )
    return trials or min(_USUAL_TRIALS, len(curves))


def _checked(
    schedulers: list[str],
    options: dict[str, Any],
    epochs: int,
    aligned: int,
    curves: Sequence[Curve],
) -> list[Rule]:
    """Return the rules of schedulers, each with those of the options that it takes, or its own.

    Raises:
        ValueError: a name or an option is wrong, or none of the schedulers takes it.
    """
    named = [_named(text) for text in dict.fromkeys(schedulers)]
    known: dict[str, Sequence[str]] = {
        name: SCHEDULERS[name].options for name, _ in named if name in SCHEDULERS
    }
    known |= {name: list(own_scheduler(name)[1].model_fields) for name, _ in named if is_own(name)}
    taken = set().union(*known.values())
    rules = []
    for name, own in named:
        takes = known.get(name, ())
        own = {key: options[key] for key in options if key in takes or key not in taken} | own
        if own.get("resource") in ("seconds", "macs") and name in HALVING:
            own = _with_most(own, own["resource"], curves)
        if not is_own(name):
            # As checked, since a duration is a text before.
            own = check_options(name, epochs, **own).options
        if name in HALVING:
            schedule = resolve(name, epochs, aligned, **own)
            usual = {key: getattr(schedule, key) for key in ("grace", "eta", "rank_by")}
            own = {**usual, **own}
        rules.append(Rule.of(name, **own))
    return rules


def _with_most(own: dict[str, Any], resource: str, curves: Sequence[Curve]) -> dict[str, Any]:
    """Return options with what a trial costs at most: twice the median of the curves.

    Raises:
        ValueError: the curves do not say what they cost.
    """
    costs = [cost for curve in curves if (cost := curve.cost(resource)) is not None]
    if len(costs) < len(curves):
        where = "a run folder, or a CSV with that column for each epoch"
        raise ValueError(
            f"resource {resource}: {len(curves) - len(costs)} of {counted(len(curves), 'curve')} "
            f"have no {resource}: replay {where}, or leave resource out"
        )
    return {f"max_{resource}": float(f"{2 * statistics.median(costs):.3g}"), **own}


def _named(text: str) -> tuple[str, dict[str, Any]]:
    """Return the name of a scheduler, and its options where it is written as in a space file."""
    if not text.lstrip().startswith("{"):
        return text, {}
    own = read_yaml(text, "--scheduler")
    if not isinstance(own.get("name"), str):
        raise ValueError(f"--scheduler {text}: names none: write {{name: asha, grace: 4}}")
    return own.pop("name"), {key: value for key, value in own.items() if value is not None}


def _print_tuned(console: Console, tuned: Tuned, bound: float) -> None:
    rule = tuned.rule
    say(console, f"cheapest rule with mean regret of at most {bound:g} CER: {rule}")
    say(
        console,
        "A bound met on some curves need not hold on others. Chosen without a group of curves, and "
        "tried on it:",
    )
    for name, (other, summary) in tuned.held_out.items():
        kept = "kept" if summary.regret <= bound else "not kept"
        say(
            console,
            f"  {name}: {other}: {100 * summary.share:.1f} % of epochs, "
            f"regret {summary.regret:.3f} ± {summary.error:.3f}: {kept}",
            hanging=4,
        )
    say(console, "in a space file:\n\n  search:\n    scheduler:")
    for key, value in (("name", rule.name), *rule.given):
        say(console, f"      {key}: {value}")
    console.print()
