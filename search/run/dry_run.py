"""Prints a plan: what a search would do, before it does any of it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence

from rich.console import Console

from emgmodels.checkpoints.start import start_in_words
from emgmodels.config import SAMPLE_RATE, Config
from emgmodels.network.summary import describe
from emgmodels.notation import notation
from emgmodels.saying import counted
from emgmodels.windows.recording import Recording
from search.engine.gpu_share import step_bytes
from search.halving.rungs import Schedule, expected_epochs
from search.report.display.words import duration, say
from search.results.folder import RunFolder
from search.results.record import COMPLETE, FAILED, STOPPED
from search.run.cost import in_words
from search.run.forecast import mean_epochs, slots_here
from search.run.plan import Plan
from search.space import Space
from search.space.distributions import flow
from search.space.draws import drawn

_DRAWN = 24
"""Architectures that are drawn, for what a trial needs of memory."""
_SHOWN = 4
"""Architectures that are shown as examples."""
LABEL = 14
"""Characters of what a line is about."""


def show(console: Console, plan: Plan, folder: RunFolder | None = None) -> None:
    """Print what a plan does: trials, examples, rungs, epochs, memory, slots, sessions, places.

    Args:
        console: where.
        plan: the plan.
        folder: the run folder of an earlier part of the search.
    """
    say(console, f"Plan of {plan.space.name}; nothing is trained, and no results are written:")
    for label, text in lines(plan, folder):
        say(console, f"  {label:{LABEL}}{text}", hanging=2 + LABEL)


def lines(plan: Plan, folder: RunFolder | None = None) -> Iterator[tuple[str, str]]:
    """Yield the lines of a plan: what they are about, and what there is to say."""
    schedule = plan.schedule
    ended = 0
    if folder is not None and plan.listed is None:
        states = (COMPLETE, STOPPED, FAILED)
        ended = sum(trial.state in states for trial in folder.trials.values())
    yield "trials", _trials(plan, ended)
    configs = [config for _, config in plan.listed or ()] or list(drawn(plan.space, _DRAWN))
    shown = {notation(config.model): config for config in configs}
    for text, config in itertools.islice(shown.items(), _SHOWN):
        yield "for example", _example(text, config)
    if plan.start is not None and configs:
        yield "start", start_in_words(configs[0], plan.start)
    yield "scheduler", _scheduler(plan, schedule)
    yield "epochs", _epochs(plan.trials - ended, schedule, plan.space)
    if schedule.resource != "epochs":
        yield "cost", _cost(plan.trials - ended, schedule)
    yield from _memory(plan, configs)
    yield "slots", _slots(plan)
    for name, recordings in (("training", plan.opened.train), ("validation", plan.opened.val)):
        yield name, _sessions(recordings)
    tested = len(plan.facts.get("split", {}).get("test", ()))
    yield "test", f"{counted(tested, 'session')}, not opened"
    if (budget := plan.space.search.time_budget) is not None and plan.listed is None:
        yield "time budget", duration(budget)
    if (stop := plan.space.search.stop) is not None and plan.listed is None:
        given = stop.model_dump(exclude_none=True)
        yield "ends early", ", ".join(f"{rule}: {flow(value)}" for rule, value in given.items())
    path = folder.path if folder else next(RunFolder.free(plan.parent, plan.space.name, plan.place))
    copied = f", copied to {(plan.place / path.name).uri}" if plan.place and not folder else ""
    yield "results", f"{path}{copied}"


def _trials(plan: Plan, ended: int) -> str:
    search = plan.space.search
    if plan.listed is not None:
        winners = len({config.model for _, config in plan.listed})
        return f"{counted(len(plan.listed), 'training')} of {counted(winners, 'winner')}"
    size = plan.space.size
    asked = (
        f" (of {search.trials * search.repeats} asked for)" if plan.trials < search.trials else ""
    )
    parts = [
        f"{plan.trials}{asked}, suggested by {search.sampler.name} from "
        + (counted(size, "configuration") if size is not None else "a continuous space"),
        f"seed {search.seed}",
    ]
    if search.repeats > 1:
        parts.append(f"{counted(search.repeats, 'seed')} each")
    if plan.earlier:
        parts.append(f"{len(plan.earlier)} earlier ones are known")
    if ended:
        parts.append(f"{ended} have ended already")
    return ", ".join(parts)


def _example(text: str, config: Config) -> str:
    summary = describe(config.model)
    return f"{text} ({counted(summary.parameters, 'parameter')})"


def _scheduler(plan: Plan, schedule: Schedule) -> str:
    objectives = plan.space.search.objectives
    if schedule.name == "none":
        return "none: every trial trains to its last epoch"
    if plan.listed is not None and schedule.resource != "epochs":
        most = in_words(schedule.most or 0.0, schedule.resource)
        return f"none: every trial trains for {most}, as long as one of the search may"
    if not schedule.rungs:
        given = [f"{option} {value}" for option, value in schedule.options.items()]
        return ", ".join([schedule.name, *given])
    is_one = len(schedule.rungs) == 1
    if schedule.resource == "epochs":
        epochs = ", ".join(map(str, schedule.rungs))
        at = f"at epoch {epochs}" if is_one else f"at epochs {epochs}"
    else:
        levels = ", ".join(in_words(rung, schedule.resource) for rung in schedule.rungs)
        at = f"after {levels} of training"
    text = (
        f"{schedule.name}: {'rung' if is_one else 'rungs'} {at}; one in "
        f"{schedule.eta:g} passes; ranked by {schedule.rank_by}"
    )
    front = f"; keeps the Pareto front of {', '.join(objectives)}" if len(objectives) > 1 else ""
    return text + front


def _cost(trials: int, schedule: Schedule) -> str:
    """Say what trials cost at most, in what rungs count, and what is expected."""
    assert schedule.most is not None, "decided with the plan"
    each = expected_epochs(schedule.most, schedule.rungs, schedule.eta or 1.0)
    whole, of_all, usual, usual_of_all = (
        in_words(cost, schedule.resource)
        for cost in (schedule.most, trials * schedule.most, each, trials * each)
    )
    return (
        f"{whole} of training a trial, {of_all} in all at most; expected {usual} a trial, "
        f"{usual_of_all} in all"
    )


def _epochs(trials: int, schedule: Schedule, space: Space) -> str:
    most = trials * schedule.epochs
    if schedule.resource != "epochs":
        return f"{schedule.epochs} a trial at most, fewer where they cost more than a trial may"
    text = f"{schedule.epochs} a trial, {most:,} in all at most"
    if schedule.rungs:
        each = mean_epochs(space, schedule, trials)
        return f"{text}; expected {each:.1f} a trial, {round(trials * each):,} in all"
    if schedule.name == "none":
        return f"{text}; expected {round(trials * space.mean_epochs):,}"
    return f"{text}; expected fewer: {schedule.name} ends trials by what others reach"


def _memory(plan: Plan, configs: Sequence[Config]) -> Iterator[tuple[str, str]]:
    needed = step_bytes(list(dict.fromkeys(configs)), [*plan.opened.train, *plan.opened.val])
    if not needed:
        yield "memory", "unknown: no configuration that was drawn can be trained"
        return
    low, high = (round(bytes_ / 2**20) for bytes_ in (min(needed), max(needed)))
    span = f"{low:,} to {high:,}" if low < high else f"{high:,}"
    yield (
        "memory",
        f"{span} MB a trial for a training step, by an estimate of "
        f"{counted(len(needed), 'architecture')}; its process has a few hundred MB beside",
    )
    if warning := _too_much(plan, max(needed)):
        yield "warning", warning


def _too_much(plan: Plan, largest: int) -> str:
    """Warn where the largest trials do not fit beside each other into this machine's memory."""
    if plan.resources is None or plan.resources.gpus:
        return ""
    slots = min(plan.trials, slots_here(plan.resources))
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if slots * largest < there:
        return ""
    fewer = "" if slots == 1 else f"--cpus-per-trial {os.cpu_count()} for one at once, "
    return (
        f"that is too much memory: {slots} at once on {there / 2**20:,.0f} MB. Give {fewer}a "
        f"smaller training.batch_size or training.window_seconds, or constraints.max_parameters"
    )


def _slots(plan: Plan) -> str:
    if plan.resources is None:
        asked = zip(plan.asked, ("CPUs", "GPUs"), strict=True)
        given = [f"{value:g} {what}" for value, what in asked if value is not None]
        each = f"{' and '.join(given)} a trial; " if given else ""
        return f"{each}as many at once as the cluster {plan.address} has room for"
    slots, trial = min(plan.trials, slots_here(plan.resources)), plan.resources
    cpus, gpus = counted(trial.cpus, "CPU"), counted(trial.gpus, "GPU")
    return f"{slots} at once on this machine, {cpus} and {gpus} a trial"


def _sessions(recordings: Sequence[Recording]) -> str:
    hours = sum(recording.samples for recording in recordings) / SAMPLE_RATE / 3600
    return f"{counted(len(recordings), 'session')}, {hours:.2f} hours"
