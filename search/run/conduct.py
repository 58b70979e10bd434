"""Conducts a search: opens what a plan needs, trains its trials, ranks them and closes all again.

A new search, one that goes on, a confirmation and the benchmarks' idle search are all this.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from rich.console import Console

from emgmodels.checkpoints.start import START
from emgmodels.config import Config
from emgmodels.saying import counted, whose
from emgmodels.scoring import Scoring
from search.engine.cluster_check import check_cluster
from search.engine.failures import SearchFailedError
from search.engine.fixed_list import ListedConfigs
from search.engine.in_time import InTime
from search.engine.patching import left_out
from search.engine.ray_session import engine
from search.engine.recorder import Recorder
from search.engine.resources import Resources, choose_resources, in_words
from search.engine.schedulers import Asha, scheduler_from
from search.engine.searcher import OptunaSampler
from search.engine.trial import EmgTrial
from search.engine.tuning import resume_trials, run_trials
from search.halving.rungs import Schedule
from search.report.display.console import Progress
from search.report.display.tensorboard import TrialBoards
from search.report.display.words import duration, say
from search.results.facts import ASKED, PLANNED
from search.results.folder import RunFolder
from search.results.lock import running
from search.results.own_files import unshare
from search.results.record import UNFINISHED
from search.results.session_files import is_synthetic
from search.run.cost import cost_of, emg_seconds
from search.run.forecast import TimeLeft, slots_here
from search.run.plan import Plan, schedule_of
from search.run.ranking import print_ranking, send
from search.space import Space
from search.space.objectives import costs
from search.storage import ENGINE_FOLDER

JOURNAL = "study.journal"
LEFT_OUT = "ray_patches_left_out"
"""In ``environment.json``: patches to Ray that the installed Ray does not take, and why."""


def rank(console: Console, folder: RunFolder) -> None:
    """Print the ranking of a search that is over."""
    print_ranking(console, folder, is_synthetic(folder.read_environment()))
    send(console, folder)


def conduct(
    plan: Plan,
    console: Console,
    folder: RunFolder | None = None,
    *,
    close: Callable[[Console, RunFolder], None] = rank,
    verbose: bool = False,
    trial: type[EmgTrial] = EmgTrial,
    recorder: type[Recorder] = Recorder,
) -> RunFolder:
    """Do what a plan says, and return the run folder.

    Args:
        plan: what to do.
        console: told what happens.
        folder: the run folder of an earlier part of the search; None makes a new one.
        close: ranks what was trained; it is called as long as the search holds the folder.
        verbose: also print a line for each epoch, and what Ray and the trials' processes say.
        trial: what trains.
        recorder: what records.

    Raises:
        ValueError: the cluster is not ready, or a search runs in the folder.
        SearchFailedError: every trial failed, or the disk is full.
        EngineError: Ray could not be started; a kind of ``SearchFailedError``.
    """
    with engine(plan.address, plan.asked[0], verbose):
        resources = plan.resources or choose_resources(*plan.asked, cluster=True)
        watch: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
        if plan.address is not None:
            storage = plan.place or (folder.path if folder else plan.parent)
            watch = check_cluster(plan.data, resources, storage, console)
        opened = folder or RunFolder.create(plan.parent, plan.space.name, plan.place)
        with running(opened.path), watch:
            _write(plan, opened, resources, console)
            if plan.listed is None:
                say(console, in_words(resources, plan.trials, plan.address is not None))
                begins = "Going on with" if folder else f"Searching {plan.space.name} into"
                line = f"{begins} {opened.path}; Ctrl-C ends it with a ranking."
                if folder and _is_over(folder, plan.trials):
                    line = f"All trials of {opened.path} have ended: --add-trials N trains more."
                say(console, line)
            goes_on = folder and folder.trials and plan.listed is None
            run = resume_trials if goes_on else functools.partial(run_trials, trainable=trial)
            run = functools.partial(run, start=plan.start)
            source = _source(plan, opened, again=folder is not None)
            done = _train(plan, opened, source, resources, console, run, recorder, verbose)
            close(console, opened)
    if done.failure:
        raise SearchFailedError(done.failure)
    return opened


def scheduler_of(space: Space, schedule: Schedule | None = None) -> TrialScheduler:
    """Return the scheduler that a space asks for, or with it one of another schedule."""
    several = len(space.search.objectives) > 1
    return scheduler_from(
        schedule or schedule_of(space),
        functools.partial(_costs_of, space) if several else None,
        space.search.scheduler.chosen(),
    )


def _is_over(folder: RunFolder, trials: int) -> bool:
    states = [trial.state for trial in folder.trials.values()]
    return len(states) >= trials and not set(states) & set(UNFINISHED)


def _write(plan: Plan, folder: RunFolder, resources: Resources, console: Console) -> None:
    """Write what is searched, and on what, into the run folder."""
    facts = {name: fact for name, fact in plan.facts.items() if name != LEFT_OUT}
    facts["resources_per_trial"] = asdict(resources)
    facts["emg_seconds"] = emg_seconds(plan.opened)
    facts["storage"] = folder.mirror.place.uri if folder.mirror else None
    if plan.listed is None:
        facts[PLANNED] = plan.trials
    if plan.asked_trials is not None:
        facts[ASKED] = plan.asked_trials
    if found := left_out():
        facts[LEFT_OUT] = found
    for name, why in found.items():
        say(console, f"note: Ray is used without the patch {name}: {why}")
    unshare(folder.path)
    if plan.start is not None and not (folder.path / START).exists():
        plan.start.write(folder.path / START)
    if plan.split:
        folder.write_split(plan.split)
    if plan.written is not None:
        folder.write_space(plan.written, plan.space.own.codes)
    folder.write_environment(facts)
    folder.send()


def _source(plan: Plan, folder: RunFolder, again: bool) -> OptunaSampler | ListedConfigs:
    """Return what suggests the trials."""
    if plan.listed is not None:
        # What ended stays in the tables; what did not starts again.
        shutil.rmtree(folder.path / ENGINE_FOLDER, ignore_errors=True)
        return ListedConfigs(plan.listed, plan.space.search, plan.sessions)
    sampler = OptunaSampler(plan.space, folder.path / JOURNAL, plan.earlier)
    if again and not folder.trials:
        sampler.begin_again()
    return sampler


def _train(
    plan: Plan,
    folder: RunFolder,
    source: OptunaSampler | ListedConfigs,
    resources: Resources,
    console: Console,
    run: Callable[..., None],
    recorder: type[Recorder],
    verbose: bool,
) -> Recorder:
    """Train the trials, and return what recorded them."""
    space, facts = plan.space, folder.read_environment()
    scheduler = scheduler_of(space, plan.schedule)
    if isinstance(scheduler, Asha):
        scheduler.cost_of = cost_of(plan.schedule.resource, plan.opened, resources)
    on = "synthetic data" if is_synthetic(facts) else whose(facts.get("subject", "unknown"))
    boards = TrialBoards(
        folder.path / "tensorboard", space.parameters(), on, Scoring.in_facts(facts)
    )
    called = {number: config.name for number, config in plan.listed or ()}
    done = len(folder.trials.keys() - called.keys()) if called else 0
    trials = plan.trials + done
    with Progress(console, trials, space.search.time_budget, verbose) as progress:
        left = TimeLeft(plan.schedule, trials, progress.pulse, plan.seconds)
        progress.time_left, progress.called = left, called
        # Which slots a cluster has at a moment, nobody knows: there a time budget cuts trials off.
        if plan.in_time and plan.resources and isinstance(source, OptunaSampler):
            close = functools.partial(_close, console, folder, source, progress, left)
            slots = slots_here(plan.resources)
            scheduler = InTime(scheduler, plan.schedule, plan.in_time, slots, folder.trials, close)
        # A fixed list is trained whole: winners that are confirmed are no search.
        settings = space.search.model_copy(update={"stop": None} if plan.listed else {})
        recording = recorder(folder, boards, progress, scheduler, settings)
        try:
            run(source, scheduler, plan.data, resources, recording)
        finally:
            # A full disk has been told already, and must not hide why the search ended.
            with contextlib.suppress(OSError):
                if isinstance(source, OptunaSampler):
                    source.rest()
    if source.exhausted:
        say(console, f"note: no more trials: {source.exhausted}")
    return recording


def _close(
    console: Console,
    folder: RunFolder,
    source: OptunaSampler,
    progress: Progress,
    left: TimeLeft,
    trials: int,
) -> None:
    """Train only this many trials, as if no more had been asked for, and say so."""
    asked = source.space.search.trials
    search = source.space.search.model_copy(update={"trials": trials})
    source.space = replace(source.space, search=search)
    progress.trials = left.trials = trials
    folder.write_space(source.space.resolved(), source.space.own.codes)
    facts = folder.read_environment()
    folder.write_environment({ASKED: asked, **facts, PLANNED: trials})
    say(
        console,
        f"Trials take longer than was expected: {counted(trials, 'trial')} of {asked} will be "
        f"trained, so that all end within {duration(search.time_budget or 0)}.",
    )


def _costs_of(space: Space, trial: Trial) -> list[float]:
    """Return what a search is to keep low beside the CER of a trial of Ray's."""
    return costs(space, Config.model_validate_json(trial.config["config"]))
