"""Replays searches on recorded curves and prints what each rule costs and loses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from emgmodels.outputs import check_output, picture_path
from search.display.words import with_room
from search.engine.schedulers import SCHEDULERS, check_options
from search.halving.rungs import DEFAULT_RANKING, Defaults, aligned_epochs, defaults
from search.simulate.frontier import FRONTIER_MARK, draw_frontier
from search.simulate.replay import Curve, ReplaySummary, read_curves, whole
from search.simulate.rules import Rule, Setting, Tuned, compared, grid, tune
from search.space import load_space

# As in the comparisons in EXPERIMENTS.md, so that their figures can be repeated.
_USUAL_TRIALS = 27


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
            f"{summary.time / 3600:.2f}" if timed else f"{summary.time:.0f} epochs",
        )
    console.print(table)


def replay_searches(
    paths: list[Path],
    names: list[str],
    options: dict[str, Any],
    epochs: int | None,
    slots: int,
    trials: int | None,
    repeats: int,
    seed: int,
    compare: bool,
    bound: float | None,
    figure: Path | None,
) -> None:
    """Replay searches, print a row a rule, and draw the figure if one is named; see the command."""
    console = with_room(Console())
    if figure:
        figure = picture_path(figure)
        check_output(figure, FRONTIER_MARK, paths)
    recorded = _read(paths)
    if epochs is None:
        epochs = _usual_epochs(recorded, longest=all(path.is_dir() for path in paths))
    curves = whole(recorded, epochs)
    trials = _trials(" ".join(map(str, paths)), recorded, curves, epochs, trials)
    setting = Setting(epochs, slots, trials, repeats, seed)
    usual = defaults(epochs, min(map(_aligned_epochs, paths)))
    timed = all(curve.seconds for curve in curves)
    diverged = sum(curve.diverged for curve in curves)
    console.print(
        f"{len(curves)} of {len(recorded)} curves have all {epochs} epochs"
        f"{f' or diverged, as {diverged} did' if diverged else ''}; "
        f"{repeats} searches of {trials} trials on {slots} slot{'s'[: slots > 1]}"
    )
    results: dict[Rule, ReplaySummary] = {}
    if bound is not None:
        shorter = replace(setting, repeats=min(repeats, 100))
        tuned = tune(curves, shorter, bound, track(grid(epochs), "tuning", console=console))
        _print_tuned(console, tuned, bound)
        results[tuned.rule] = setting.replay(curves, tuned.rule)
    else:
        for rule in _checked(names, options, epochs, usual):
            results[rule] = setting.replay(curves, rule)
    if compare:
        for other in track(compared(epochs), "replaying", console=console):
            results.setdefault(other, setting.replay(curves, other))
    print_table(console, results, timed)
    if figure:
        default = Rule("asha", usual.grace, usual.eta, DEFAULT_RANKING)
        try:
            draw_frontier(results, figure, slots, default)
        except ValueError as error:  # matplotlib lists the formats it has
            raise ValueError(f"--figure {figure}: {error}") from None
        console.print(f"drawn: {figure}")


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
    return aligned_epochs(load_space(space).training.plain()) if space.is_file() else 0


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
            f"{read}: {len(curves)} of {len(recorded)} curves have all {epochs} epochs, and "
            f"{trials or 2} are needed: ask for fewer --trials or --epochs (the longest curve has "
            f"{longest}), or record more with 'scheduler: none'"
        )
    return trials or min(_USUAL_TRIALS, len(curves))


def _checked(names: list[str], options: dict[str, Any], epochs: int, usual: Defaults) -> list[Rule]:
    """Return the rules of schedulers, each with those of the options that it takes, or its own.

    Raises:
        ValueError: a name or an option is wrong, or none of the schedulers takes it.
    """
    known = {name: SCHEDULERS[name].options for name in names if name in SCHEDULERS}
    taken = set().union(*known.values())
    rules = []
    for name in dict.fromkeys(names):
        takes = known.get(name, ())
        own = {key: options[key] for key in options if key in takes or key not in taken}
        check_options(name, epochs, **own)
        if name in ("asha", "asha_stopping"):
            own = {**usual._asdict(), "rank_by": DEFAULT_RANKING, **own}
        rules.append(Rule(name, **own))
    return rules


def _print_tuned(console: Console, tuned: Tuned, bound: float) -> None:
    rule = tuned.rule
    console.print(f"cheapest rule with mean regret of at most {bound:g} CER: [bold]{rule}[/bold]")
    console.print("A bound met on some curves need not hold on others. Chosen without a group of")
    console.print("curves, and tried on it:")
    for name, (other, summary) in tuned.held_out.items():
        kept = "kept" if summary.regret <= bound else "not kept"
        console.print(
            f"  {name}: {other}: {100 * summary.share:.1f} % of epochs, "
            f"regret {summary.regret:.3f} ± {summary.error:.3f}: {kept}"
        )
    console.print("in a space file:\n\n  search:\n    scheduler:", highlight=False)
    for key in ("name", "grace", "eta", "rank_by"):
        console.print(f"      {key}: {getattr(rule, key)}", highlight=False)
    console.print()
