"""What a search is going to do: every default decided, once, and read by all that follow."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from optuna.trial import FrozenTrial
from rich.console import Console

from emgmodels.checkpoints.start import Start, read_start
from emgmodels.config import Config
from emgmodels.installing import python_here
from emgmodels.notation import notation
from emgmodels.scoring import Scoring
from emgmodels.sessions import Split, read_info, split_text
from emgmodels.stages.pretrained import check_weights
from search.engine.elsewhere import check_log_to
from search.engine.gpu_share import AUTO, gpu_share, gpus_of_trial, trial_bytes
from search.engine.resources import Resources, choose_resources, resources_asked
from search.engine.schedulers import check_options
from search.engine.searcher import OptunaSampler
from search.engine.trial import TrialData
from search.halving.rungs import Schedule, aligned_epochs, resolve
from search.report.display.words import say
from search.results.folder import RunFolder
from search.results.own_files import check_parent
from search.results.people import people_facts
from search.results.session_files import SETS, recordings_of
from search.run.cost import typical_macs
from search.run.earlier import learn
from search.run.forecast import tell_time
from search.run.sessions import (
    Opened,
    choose_sessions,
    open_again,
    open_sessions,
    opener_of,
    sessions_again,
)
from search.space import Space, limits_of, load_space
from search.space.settings import SCHEDULER_OPTIONS
from search.space.start import SpaceStart
from search.storage import Place, SessionStore, is_uri, local_path

_DEMO = """\
No --data: this is a demo, on a synthetic typist. Its error rates say nothing about people.
For session files of emg2qwerty or your own:
    {python} -m search.run {space} --data DIR"""


@dataclass(frozen=True)
class Plan:
    """What a search is going to do.

    Attributes:
        space: what is searched, as its sessions allow, with its scheduler's options decided.
        opened: its sessions.
        data: the same as trials read them.
        asked: cores and GPUs for each trial as they were asked for; None: the default.
        resources: what each trial is given; None: the cluster decides, once it is connected.
        address: the Ray cluster that searches; None: this machine.
        parent: where run folders are made.
        place: where a copy of the run folder is kept, if so.
        facts: what ``environment.json`` says beside the machine.
        written: what ``space.yaml`` says from now on; None: what it says already.
        earlier: trials of other searches to learn from.
        listed: number and configuration of each trial, where no sampler suggests them.
        split: what ``split.yaml`` says from now on; empty: what it says already.
        start: the checkpoint that its trials start from, if any.
        sessions: what single trials of a list train on, where it is not what all do.
        seconds: that the search takes by an estimate; None: unknown.
        in_time: seconds within which its trials have to end; None: a time budget cuts them off.
        asked_trials: trials that were asked for, where fewer fit into the time; None: all fit.
    """

    space: Space
    opened: Opened
    data: TrialData
    asked: tuple[float | None, float | None] = (None, None)
    resources: Resources | None = None
    address: str | None = None
    parent: Path = Path("runs")
    place: Place | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    written: Mapping[str, Any] | None = None
    earlier: Sequence[FrozenTrial] = ()
    listed: Sequence[tuple[int, Config]] | None = None
    split: str = ""
    start: Start | None = None
    sessions: Mapping[int, TrialData] = field(default_factory=dict)
    seconds: float | None = None
    in_time: float | None = None
    asked_trials: int | None = None

    @property
    def schedule(self) -> Schedule:
        """Which of its trials end early: of a list none, but with what a trial may cost."""
        found = schedule_of(self.space)
        if self.listed is None:
            return found
        epochs = max((config.training.epochs for _, config in self.listed), default=found.epochs)
        return replace(found, rungs=(), epochs=epochs)

    @property
    def trials(self) -> int:
        """Trials that it trains at most, those of an earlier part of it included."""
        if self.listed is not None:
            return len(self.listed)
        return self.space.trials


def schedule_of(space: Space, is_aligned: bool = True) -> Schedule:
    """Return the scheduler of a space, with what its file leaves out decided.

    Args:
        space: the space.
        is_aligned: whether its sessions let trainings start aligned.

    Raises:
        ValueError: an option does not fit trainings of that many epochs.
    """
    scheduler = space.search.scheduler
    if scheduler.chosen() is None:
        check_options(scheduler.name, space.epochs, **scheduler.options)
    aligned = aligned_epochs(space.training.plain()) if is_aligned else 0
    return resolve(scheduler.name, space.epochs, aligned, **scheduler.options)


def decided(space: Space, opened: Opened) -> Space:
    """Return a space as its sessions allow it, with its scheduler's options written out.

    A search that goes on has the same rungs then, whatever the defaults are by then.
    """
    scheduler = space.search.scheduler
    if scheduler.resource == "macs" and scheduler.max_macs is None:
        scheduler = scheduler.model_copy(update={"max_macs": typical_macs(space, opened)})
        space = replace(space, search=space.search.model_copy(update={"scheduler": scheduler}))
    schedule = schedule_of(space, opened.is_aligned(space))
    takes = SCHEDULER_OPTIONS.get(scheduler.name, ())  # one of the user's own has none of these
    if "grace" in takes and space.epochs > 1:  # one epoch has no rungs
        found = {**vars(schedule), **schedule.options}
        scheduler = scheduler.model_copy(update={name: found.get(name) for name in takes})
        space = replace(space, search=space.search.model_copy(update={"scheduler": scheduler}))
    if space.search.rank_by is None and len({recording.user for recording in opened.val}) > 1:
        search = space.search.model_copy(update={"rank_by": Scoring.of(opened.users).by})
        space = replace(space, search=search)
    return space.within(limits_of(opened.train, opened.val))


def plan_search(
    space: Space,
    source: Path,
    console: Console,
    *,
    data: str | Path | None,
    subject: str | None,
    split: str | Path | None,
    resources: tuple[float | None, float | str | None],
    address: str | None,
    results: tuple[Path, Place | None],
    warm_start: Sequence[str | Path],
    writes: bool,
    fits: bool = False,
) -> Plan:
    """Decide all of a search, and tell what a user should know before it begins.

    Args:
        space: what to search.
        source: its file.
        console: told about sessions, durations and earlier trials.
        data: folder with session files or its URI; None: a synthetic typist.
        subject: whose sessions.
        split: emg2qwerty's split file.
        resources: cores and GPUs of a trial; None for a default.
        address: a running Ray cluster's address.
        results: where run folders are made, and where they are copied to.
        warm_start: folders of earlier searches to learn from.
        writes: fill the cache of recordings; otherwise nothing is written.
        fits: train fewer trials of a larger space, where all would not fit into the time budget.

    Raises:
        ValueError: something cannot be had; the message says what.
    """
    _check(space, source)
    check_parent(results[0])
    given = resolve_resources(*resources, address)
    if data is None:
        say(console, _DEMO.format(python=python_here(), space=shlex.quote(str(source))))
    store = SessionStore(str(data)) if data is not None and is_uri(data) else None
    chosen = choose_sessions(space, store or data, subject, split, writes)
    opened = open_sessions(chosen, space, console, opener_of(space, writes))
    space = decided(space, opened)
    if warning := space.check(seed=space.search.seed).warning:
        say(console, f"note: {warning}")
    asked, given = share_gpus(space, opened, resources, given, console)
    found = None
    # Of a list of architectures none is left out: that would be another question.
    asked_trials = space.search.trials
    fits = fits and space.search.repeats == 1 and (space.size or math.inf) > asked_trials
    if given is not None:
        space, found = tell_time(console, space, opened, schedule_of(space), given, fits)
    earlier = [
        trial for run in map(local_path, warm_start) for trial in learn(space, run, chosen, console)
    ]
    trial_data = opened.data.moved(store) if store else opened.data
    start = start_of(space)
    return Plan(
        space=space,
        opened=opened,
        data=trial_data,
        asked=asked,
        resources=given,
        address=address,
        parent=results[0],
        place=results[1],
        facts=_facts(space, chosen, trial_data, store, synthetic=data is None)
        | _recordings(chosen, store, known=writes and data is not None)
        | people_facts(opened.users, space.search.rank_by),
        written=space.resolved(),
        earlier=earlier,
        # Without writing, sessions of a synthetic typist may not be there to be read.
        split=split_text(chosen, store.info_of if store else read_info) if writes else "",
        start=start,
        seconds=found.search if found else None,
        in_time=space.search.time_budget if fits else None,
        asked_trials=asked_trials if space.search.trials < asked_trials else None,
    )


def plan_rest(
    folder: RunFolder,
    console: Console,
    *,
    data: str | Path | None,
    add_trials: int,
    budget: str | float | None,
    asked: tuple[float | None, float | str | None],
    address: str | None,
    writes: bool,
) -> Plan:
    """Decide how a search goes on; options as those of ``search.run.resume``."""
    path = folder.path / "space.yaml"
    more = []
    if add_trials:
        more = [f"search.trials={load_space(path).search.trials + add_trials}"]
    space = load_space(path, overrides=[*more, *given_options({"search.time_budget": budget})])
    facts = folder.read_environment()
    trial_data, split = sessions_again(folder.path, facts, data, space, writes)
    opened = open_again(trial_data, opener_of(space, writes))
    space = space.within(limits_of(opened.train, opened.val))
    wanted = resources_asked(facts, asked[0], gpus_of_trial(asked[1]))
    given = resolve_resources(*wanted, address)
    wanted, given = share_gpus(space, opened, wanted, given, console)
    return Plan(
        space=space,
        opened=opened,
        data=trial_data,
        asked=wanted,
        resources=given,
        address=address,
        place=folder.mirror.place if folder.mirror else None,
        facts=facts | {"split": split},
        start=start_of(space),
        written=load_space(path, overrides=more).resolved() if more else None,
    )


def start_of(space: Space) -> Start | None:
    """Return the checkpoint that a space starts from, with its weights."""
    return None if space.start is None else read_start(space.start.path, space.start.weights)


def given_options(options: Mapping[str, object]) -> list[str]:
    """Return the options that were given, as ``path.to.key=value``."""
    return [f"{path}={value}" for path, value in options.items() if value is not None]


def resolve_resources(
    cpus: float | None, gpus: float | str | None, address: str | None
) -> Resources | None:
    """Return what each trial is given on this machine; None: a cluster decides.

    Raises:
        ValueError: this machine does not have it.
    """
    gpus = gpus_of_trial(gpus)
    if address is None or gpus == AUTO:
        return choose_resources(cpus, gpus, cluster=address is not None)
    return None


def share_gpus(
    space: Space,
    opened: Opened,
    asked: tuple[float | None, float | str | None],
    given: Resources | None,
    console: Console,
) -> tuple[tuple[float | None, float | None], Resources | None]:
    """Return what to ask for and what is given, with ``auto`` replaced by the part that fits."""
    cpus, gpus = asked[0], gpus_of_trial(asked[1])
    if not isinstance(gpus, str):
        return (cpus, gpus), given
    needed = trial_bytes(space, [*opened.train, *opened.val])
    count = torch.cuda.device_count()
    gpu = min(torch.cuda.get_device_properties(index).total_memory for index in range(count))
    share = gpu_share(needed, gpu, (os.cpu_count() or 1) / count)
    say(
        console,
        f"A trial needs {needed / 2**20:,.0f} MB of {gpu / 2**20:,.0f} MB of a GPU at most, by an "
        f"estimate: each is given {share:g} of one.",
    )
    return (cpus, share), choose_resources(cpus, share, cluster=False)


def _check(space: Space, source: Path) -> None:
    """Raise ValueError for all that a space lacks, before anything is written."""
    mistakes: list[str] = []
    for what, check in (
        (f"{source}: search.scheduler: ", lambda: schedule_of(space)),
        ("", lambda: OptunaSampler(space)),
        ("", lambda: check_log_to(space.search.log_to)),
        ("", lambda: _check_weights(space)),
        ("", lambda: space.check(seed=space.search.seed)),
    ):
        try:
            check()
        except ValueError as error:
            for line in str(error).splitlines():
                told = line if line.startswith(f"{space.file}:") else f"{what}{line}"
                mistakes += [told] if told not in mistakes else []
    if mistakes:
        raise ValueError("\n".join(mistakes))


def _check_weights(space: Space) -> None:
    for stage in space.pretrained(seed=space.search.seed):
        check_weights(stage)


def _facts(
    space: Space, split: Split, data: TrialData, store: SessionStore | None, synthetic: bool
) -> dict[str, Any]:
    """Return what ``environment.json`` says of a search beside the machine."""
    lists = {name: found for name, found in asdict(data).items() if name != "minutes"}
    tested = [store.uri_of(path) if store else os.path.abspath(path) for path in split.test]
    return {
        "seed": space.search.seed,
        "code": space.own.hashes(),
        "subject": split.subject,
        "synthetic": synthetic,
        "split": {"origin": split.origin, **lists, "test": tested},
        **({} if space.start is None else {"start_from": _start_facts(space.start)}),
    }


def _recordings(split: Split, store: SessionStore | None, known: bool) -> dict[str, Any]:
    """Return by what recordings are known again; a demo's are written anew, so nothing of them."""
    # Of an object store, sessions for testing stay where they are.
    subsets = ("train", "val") if store else SETS
    return {"recordings": recordings_of({s: getattr(split, s) for s in subsets})} if known else {}


def _start_facts(start: SpaceStart) -> dict[str, str]:
    """Return what is noted of the checkpoint: the run folder's copy has these weights too."""
    return {
        "weights": start.weights,
        "from": os.path.abspath(start.path),
        "architecture": notation(start.model),
    }
