"""Searches a space of architectures on session files and prints a ranking.

python -m search.run spaces/deep.yaml                          a demo on a synthetic typist
python -m search.run spaces/deep.yaml --data DIR               on emg2qwerty's session files
python -m search.run spaces/deep.yaml --data DIR --trials 200 --set training.batch_size=16
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import typer
from optuna.trial import FrozenTrial
from ray.tune.schedulers import TrialScheduler
from rich.console import Console
from rich.progress import Progress as Bars

from emgmodels.config import SAMPLE_RATE, TrainingConfig
from emgmodels.factory import notation
from emgmodels.pretrained import check_weights
from emgmodels.sessions import Split, find_split
from emgmodels.synthetic import VERSION, write_subject
from emgmodels.windows import Recording, cache_folder, open_split
from search import seeds
from search.confirm import check_options, confirm_winners, refuse_confirmation
from search.console import Progress, trials_table
from search.engine import Resources, choose_resources, engine, resume_trials, run_trials
from search.failures import SearchFailedError
from search.lock import running
from search.preflight import check_cluster
from search.recorder import Recorder
from search.results import CUT_OFF, STOPPED, RunFolder, read_trials
from search.sampler import OptunaSampler, earlier_trials
from search.schedule import make_scheduler
from search.space import Space, TypistConfig, load_space
from search.storage import Place, fetch, fetch_sessions, is_uri, redact
from search.tensorboard import TrialBoards
from search.trial import TrialData, recordings


def search(
    space: str | Path,
    *,
    data: str | Path | None = None,
    subject: str | None = None,
    split: str | Path | None = None,
    trials: int | None = None,
    time_budget: str | float | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    repeats: int | None = None,
    confirm: int | None = None,
    out: str | Path = "runs",
    storage: str | Path | None = None,
    cpus_per_trial: float | None = None,
    gpus_per_trial: float | None = None,
    address: str | None = None,
    warm_start: Sequence[str | Path] = (),
    overrides: Sequence[str] = (),
    quiet: bool = False,
    verbose: bool = False,
) -> pa.Table:
    """Search a space and return its trials as a table, best first.

    Everything that the table holds, and more, is in the run folder that the last line printed
    names; ``search.results.read_trials`` reads it again.

    Args:
        space: the space file.
        data: folder with session files, or its URI in an object store; None searches on a
            synthetic typist, under the space's ``demo`` section.
        subject: whose sessions; may be left out where the folder has one subject.
        split: emg2qwerty's split file.
        trials: architectures to train, instead of the space's ``search.trials``.
        time_budget: seconds, or a duration such as ``8m``, instead of ``search.time_budget``.
        epochs: epochs of a whole training, instead of ``training.epochs``.
        seed: seed of every random choice, instead of ``search.seed``.
        repeats: trainings of each suggestion, instead of ``search.repeats``; with ``confirm``, of
            each winner.
        confirm: how many winners to train again when the search is over; see ``search.confirm``.
        out: where run folders are made.
        storage: where results go when a cluster searches: a folder that all nodes share, instead of
            ``out``, or an object store's URI (``s3://``, ``gs://``), to which the run folder is
            copied as it grows.
        cpus_per_trial: cores of a trial; one, or a share of the machine for each GPU.
        gpus_per_trial: GPUs of a trial, or a fraction; one, where there is one.
        address: a running Ray cluster's address.
        warm_start: folders of earlier searches that the sampler learns from; their trials that the
            space contains are not trained again.
        overrides: ``path.to.key=value``, applied last.
        quiet: print nothing.
        verbose: also print a line for each epoch, and what Ray and the trials' processes say.

    Returns:
        One row a trial: rank, architecture, val_cer (%), epochs, state, parameters, every setting.

    Raises:
        ValueError: the space, the data or an option is wrong; nothing has started then.
        SearchFailedError: every trial failed, or the disk is full.
    """
    console = Console(quiet=quiet)
    place, parent = _storage(storage, out)
    if confirm is not None:
        check_options(confirm, repeats)
    loaded = load_space(
        space,
        demo=data is None,
        overrides=[
            *_option("search.trials", trials),
            *_option("search.time_budget", time_budget),
            *_option("training.epochs", epochs),
            *_option("search.seed", seed),
            *_option("search.repeats", repeats if confirm is None else None),
            *overrides,
        ],
    )
    scheduler_of(loaded)  # these two refuse what they lack before anything is written
    OptunaSampler(loaded)
    for stage in loaded.pretrained(seed=loaded.search.seed):
        check_weights(stage)
    warning = loaded.check(seed=loaded.search.seed).warning
    if address is None:
        choose_resources(cpus_per_trial, gpus_per_trial, cluster=False)
    if data is None:
        _say(console, _DEMO.format(space=space))
    uri = str(data).rstrip("/") if data is not None and is_uri(data) else None
    sessions = data if uri is None else fetch_sessions(uri)
    chosen = _choose_sessions(loaded, sessions, subject, split)
    trial_data, shortest = _open(chosen, loaded, [warning] if warning else [], console)
    loaded = loaded.within(shortest)
    loaded.check(seed=loaded.search.seed)
    learnt = [trial for run in warm_start for trial in _learn(loaded, run, chosen, console)]
    if uri is not None and sessions is not None:
        trial_data = trial_data.moved(Path(sessions), Place(uri))
    with engine(address, cpus_per_trial, verbose):
        resources = choose_resources(cpus_per_trial, gpus_per_trial, cluster=address is not None)
        if address is not None:
            _check_cluster(trial_data, resources, place or parent, console)
        folder = RunFolder.create(parent, loaded.name, place)
        folder.write_space(loaded.resolved())
        kept = folder.mirror.place.uri if folder.mirror else None
        facts = _facts(loaded, chosen, trial_data, resources, data is None)
        folder.write_environment({**facts, "storage": kept})
        folder.send()
        _say(console, f"Searching {loaded.name} into {folder.path}; Ctrl-C ends it with a ranking.")
        sampler = OptunaSampler(loaded, folder.path / _JOURNAL, learnt)
        with running(folder.path):
            _conduct(run_trials, folder, sampler, trial_data, resources, console, verbose)
    if confirm is not None and not folder.is_interrupted:
        confirm_winners(
            folder.path,
            top=confirm,
            repeats=repeats,
            address=address,
            quiet=quiet,
        )
        folder.send()
    return read_trials(folder.path)


def resume(
    run: str | Path,
    *,
    add_trials: int = 0,
    time_budget: str | float | None = None,
    out: str | Path = "runs",
    address: str | None = None,
    quiet: bool = False,
    verbose: bool = False,
) -> pa.Table:
    """Go on with a search that Ctrl-C, a killed process or a reboot ended early, or make it longer.

    Ended trials stay, paused ones stay paused, and those that were running go on from their last
    checkpoint, under the space, the sessions and the resources of the run folder.

    Args:
        run: the run folder, or its URI in storage.
        add_trials: architectures to train beyond those that the search was to train.
        time_budget: how long to go on; without it, as long as the search was given at first.
        out: where a run folder from storage is fetched to.
        address: a running Ray cluster's address.
        quiet: print nothing.
        verbose: also print a line for each epoch, and what Ray and the trials' processes say.

    Returns:
        As ``search``.

    Raises:
        ValueError: it is not a run folder, or its session files are gone.
    """
    console = Console(quiet=quiet)
    folder = _reopen(run, Path(out))
    more = []
    if add_trials:
        known = load_space(folder.path / "space.yaml").search.trials
        more = [f"search.trials={known + add_trials}"]
    budget = _option("search.time_budget", time_budget)
    space = load_space(folder.path / "space.yaml", overrides=[*more, *budget])
    facts = folder.read_environment()
    refuse_confirmation(folder.path, facts)
    split = facts["split"]
    trial_data = TrialData(train=tuple(split["train"]), val=tuple(split["val"]))
    recordings(trial_data)
    resources = Resources(**facts["resources_per_trial"])
    with engine(address, resources.cpus, verbose):
        choose_resources(resources.cpus, resources.gpus, cluster=address is not None)
        if address is not None:
            storage = folder.mirror.place if folder.mirror else folder.path
            _check_cluster(trial_data, resources, storage, console)
        _say(console, f"Going on with {folder.path}; Ctrl-C ends it with a ranking.")
        with running(folder.path):
            if more:
                lasting = load_space(folder.path / "space.yaml", overrides=more)
                folder.write_space(lasting.resolved())
            sampler = OptunaSampler(space, folder.path / _JOURNAL)
            _conduct(resume_trials, folder, sampler, trial_data, resources, console, verbose)
    return read_trials(folder.path)


app = typer.Typer(add_completion=False)


@app.command()
def command(
    space: Annotated[
        Path | None,
        typer.Argument(help="Space file, such as spaces/deep.yaml; with --confirm also a run."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Folder with session files, or its URI; without it, a synthetic typist."),
    ] = None,
    subject: Annotated[str | None, typer.Option(help="Whose sessions.")] = None,
    split: Annotated[Path | None, typer.Option(help="emg2qwerty's split file.")] = None,
    trials: Annotated[int | None, typer.Option(help="Architectures to train.")] = None,
    time_budget: Annotated[
        str | None, typer.Option(help="When to end: seconds, or 8m, 1h30m.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of a whole training.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every random choice.")] = None,
    confirm: Annotated[
        int | None,
        typer.Option(
            metavar="K", help="Train the best K again, with --repeats seeds, and compare."
        ),
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(help="Seeds of each suggestion, or of each of --confirm (there 5)."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where run folders are made.")] = Path("runs"),
    storage: Annotated[
        str | None,
        typer.Option(help="Where a cluster's results go: a shared folder, s3:// or gs://."),
    ] = None,
    cpus_per_trial: Annotated[float | None, typer.Option(help="Cores of a trial.")] = None,
    gpus_per_trial: Annotated[
        float | None, typer.Option(help="GPUs of a trial, or a fraction.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="A running Ray cluster, or auto.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Another value for a key of the space."),
    ] = None,
    warm_start: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="Learn from the trials of an earlier search; repeatable."),
    ] = None,
    resumed: Annotated[
        str | None,
        typer.Option(
            "--resume", metavar="RUN", help="Go on with the search of a run folder, or its URI."
        ),
    ] = None,
    add_trials: Annotated[
        int, typer.Option(min=0, help="With --resume: architectures to train beyond the first.")
    ] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Also print epochs, and what Ray and workers say.")
    ] = False,
) -> None:
    """Search a space of architectures and rank them by validation character error rate.

    \b
    Examples:
      python -m search.run spaces/deep.yaml
      python -m search.run spaces/deep.yaml --data DIR --subject 89335547 --trials 200
      python -m search.run spaces/deep.yaml --data DIR --set "model.electrodes={choice: [4, 8]}"
      python -m search.run spaces/deep.yaml --data DIR --warm-start runs/deep-001
      python -m search.run --resume runs/deep-001
      python -m search.run --resume runs/deep-001 --add-trials 32
      python -m search.run spaces/deep.yaml --data DIR --address auto --storage s3://bucket/runs
      python -m search.run runs/deep-001 --confirm 3 --repeats 5
    """
    try:
        if resumed is not None:
            if space is not None:
                raise ValueError(f"--resume {resumed} goes on as it began: leave out {space}")
            resume(
                resumed,
                add_trials=add_trials,
                time_budget=time_budget,
                out=out,
                address=address,
                quiet=quiet,
                verbose=verbose,
            )
            run = out / Place(resumed).name if is_uri(resumed) else Path(resumed)
            if confirm is not None and not RunFolder.open(run).is_interrupted:
                _confirm(run, confirm, repeats, address, quiet)
            return
        if add_trials:
            raise ValueError("--add-trials continues an earlier search: name it with --resume RUN")
        if space is None:
            raise ValueError("name a space file, such as spaces/deep.yaml, or --resume RUN")
        if space.is_dir():
            _refuse(space, data=data, subject=subject, split=split, trials=trials, epochs=epochs)
            _refuse(space, seed=seed, set=overrides, time_budget=time_budget, storage=storage)
            _refuse(space, cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial)
            _confirm(space, confirm, repeats, address, quiet)
            return
        search(
            space,
            data=data,
            subject=subject,
            split=split,
            trials=trials,
            time_budget=time_budget,
            epochs=epochs,
            seed=seed,
            repeats=repeats,
            confirm=confirm,
            out=out,
            storage=storage,
            cpus_per_trial=cpus_per_trial,
            gpus_per_trial=gpus_per_trial,
            address=address,
            warm_start=warm_start or (),
            overrides=overrides or (),
            quiet=quiet,
            verbose=verbose,
        )
    except (ValueError, OSError) as error:
        typer.echo(f"error: {redact(str(error))}", err=True)
        raise typer.Exit(2) from None
    except SearchFailedError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


_DEMO = """\
No --data: this is a demo, on a synthetic typist. Its error rates say nothing about people.
For session files of emg2qwerty or your own: python -m search.run {space} --data DIR"""
_SHOWN = 15
_JOURNAL = "study.journal"


def _confirm(
    run: Path, top: int | None, repeats: int | None, address: str | None, quiet: bool
) -> None:
    if top is None:
        raise ValueError(
            f"{run}: is a folder: name a space file, or train the best of a run again with "
            f"--confirm K"
        )
    confirm_winners(
        run,
        top=top,
        repeats=repeats,
        address=address,
        quiet=quiet,
    )


def _refuse(run: Path, **options: object) -> None:
    """Raise ValueError for options that a run folder has answered already."""
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if given:
        raise ValueError(
            f"{run}: its winners are trained as they were in its search: leave out "
            f"{', '.join(given)}"
        )


def _option(path: str, value: object) -> list[str]:
    return [] if value is None else [f"{path}={value}"]


def _storage(storage: str | Path | None, out: str | Path) -> tuple[Place | None, Path]:
    """Return the object store, if that is where results go, and the folder for run folders."""
    if storage is None:
        return None, Path(out)
    if is_uri(storage):
        return Place(str(storage).rstrip("/")), Path(out)
    return None, Path(str(storage).removeprefix("file://"))


def _reopen(run: str | Path, out: Path) -> RunFolder:
    """Open a run folder of this machine, or fetch one from storage to ``out``."""
    if not is_uri(run):
        folder = RunFolder.open(Path(run))
        storage = folder.read_environment().get("storage")
        return RunFolder.open(Path(run), Place(storage)) if storage else folder
    place = Place(str(run).rstrip("/"))
    path = out / place.name
    if path.is_dir() and RunFolder.open(path).read_environment().get("storage") != place.uri:
        raise ValueError(
            f"{path}: is another search than {place.uri}: give --out a folder to fetch it to"
        )
    return RunFolder.open(fetch(place, path), place)


def _check_cluster(
    data: TrialData, resources: Resources, storage: Place | Path, console: Console
) -> None:
    if isinstance(storage, Path):
        storage = storage.absolute()
        storage.mkdir(parents=True, exist_ok=True)
    nodes = check_cluster(
        data, resources.cpus, resources.gpus, storage, lambda text: _say(console, text)
    )
    fit = sum(node.trains for node in nodes)
    _say(console, f"The cluster is ready: trials run on {fit} of its {len(nodes)} nodes.")


def scheduler_of(space: Space) -> TrialScheduler:
    """Return the scheduler that a space asks for; its rungs follow from how its trials start."""
    training = space.training.plain()
    epochs = training.get("epochs", TrainingConfig().epochs)
    if not isinstance(epochs, int):
        raise ValueError(
            f"{space.name}: training.epochs: {epochs} varies: fix it, since trials are stopped on "
            f"the way to it"
        )
    aligned = training.get("aligned_start")
    return make_scheduler(
        space.search.scheduler.name,
        max_epochs=epochs,
        grace=space.search.scheduler.grace,
        eta=space.search.scheduler.eta,
        rank_by=space.search.scheduler.rank_by,
        aligned=isinstance(aligned, dict) and "choice" not in aligned,
        seed=space.search.seed,
    )


def _choose_sessions(
    space: Space, data: str | Path | None, subject: str | None, split: str | Path | None
) -> Split:
    if data is not None:
        return find_split(data, subject, split, seed=space.search.seed)
    if subject is not None or split is not None:
        raise ValueError("--subject and --split choose from session files: give --data DIR too")
    typist = space.typist or TypistConfig()
    return find_split(_typist_folder(typist), seed=typist.seed)


def _typist_folder(typist: TypistConfig) -> Path:
    """Return the folder of a synthetic typist's sessions, written once for each typist."""
    name = f"{typist.subject}-{typist.sessions}x{typist.minutes:g}m-seed{typist.seed}-v{VERSION}"
    folder = cache_folder().parent / "typist" / name
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder.parent) as scratch:
            sessions = Path(scratch) / name
            write_subject(sessions, typist.sessions, typist.minutes, typist.subject, typist.seed)
            with contextlib.suppress(OSError):  # another search was first, with the same bytes
                sessions.rename(folder)
    return folder


def _open(
    split: Split, space: Space, notes: list[str], console: Console
) -> tuple[TrialData, float]:
    """Return what trials train on and its shortest session (ms), all of them found good."""
    paths = [*split.train, *split.val]
    with Bars(console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("Preparing sessions", total=len(paths))
        train, val, warnings = open_split(split, lambda _: bars.advance(task))
    _say(
        console,
        f"Data: {_minutes(train)} of training in {len(train)} sessions, {_minutes(val)} of "
        f"validation in {len(val)}, subject {split.subject}; sessions kept for "
        f"testing and not touched: {len(split.test)}.",
    )
    prompted = sum(not recording.has_key_times for recording in train)
    if prompted and space.training.plain().get("aligned_start") is not None:
        notes.append(
            f"{prompted} training sessions have no key times: their aligned start is skipped"
        )
    for note in [*notes, *warnings]:
        _say(console, f"note: {note}")
    data = TrialData(
        train=tuple(str(path.resolve()) for path in split.train),
        val=tuple(str(path.resolve()) for path in split.val),
    )
    return data, 1000 * min(recording.samples for recording in (*train, *val)) / SAMPLE_RATE


def _facts(
    space: Space, split: Split, data: TrialData, resources: Resources, synthetic: bool
) -> dict[str, Any]:
    """Return what ``environment.json`` says of a search beside the machine."""
    tested = [str(path.resolve()) for path in split.test]
    return {
        "seed": space.search.seed,
        "subject": split.subject,
        "synthetic": synthetic,
        "split": {"origin": split.origin, **asdict(data), "test": tested},
        "resources_per_trial": asdict(resources),
    }


def _data(synthetic: bool, subject: str) -> str:
    return "synthetic data" if synthetic else f"subject {subject}"


def _send(console: Console, folder: RunFolder) -> None:
    """Copy what was written last to storage, and say where everything is."""
    folder.send()
    if folder.mirror is None:
        return
    uri = folder.mirror.place.uri
    if folder.unsent:
        _say(
            console,
            f"note: not all of it could be copied to {uri}: {folder.unsent}: to try again, "
            f"python -m search.run --resume {folder.path}",
        )
    else:
        _say(console, f"... and in {uri}: python -m search.storage fetch {uri}")


def _minutes(recordings: list[Recording]) -> str:
    return f"{sum(r.samples for r in recordings) / SAMPLE_RATE / 60:.0f} minutes"


def _learn(space: Space, run: str | Path, split: Split, console: Console) -> list[FrozenTrial]:
    """Return the trials of an earlier search that fit a space, and say how many do not."""
    found = earlier_trials(space, run)
    total = len(found.trials) + found.left_out.total()
    _say(console, f"Learning from {len(found.trials)} of the {total} trials of {run}")
    for reason, count in found.left_out.most_common(_SHOWN):
        _say(console, f"    {count} left out: {reason}")
    validated = RunFolder.open(Path(run)).read_environment()["split"]["val"]
    if {Path(path).name for path in validated} != {path.name for path in split.val}:
        _say(
            console, f"note: {run} was validated on other sessions; its CERs are taken as they are"
        )
    return found.trials


def _conduct(
    run: Callable[..., None],
    folder: RunFolder,
    sampler: OptunaSampler,
    data: TrialData,
    resources: Resources,
    console: Console,
    verbose: bool,
) -> None:
    """Train a search's trials by ``run_trials`` or ``resume_trials``, and print its ranking."""
    space = sampler.space
    folder.checkpoints = space.search.checkpoints
    scheduler = scheduler_of(space)
    facts = folder.read_environment()
    on = _data(facts["synthetic"], facts["subject"])
    boards = TrialBoards(folder.path / "tensorboard", space.parameters(), on)
    with Progress(console, sampler.trials, space.search.time_budget, verbose) as progress:
        recorder = Recorder(folder, boards, progress, scheduler, space.search)
        run(sampler, scheduler, data, resources, recorder)
    if sampler.exhausted:
        _say(console, f"note: no more trials: {sampler.exhausted}")
    _print_ranking(console, folder, synthetic=facts["synthetic"])
    _send(console, folder)
    if recorder.failure:
        raise SearchFailedError(recorder.failure)


def _print_ranking(console: Console, folder: RunFolder, synthetic: bool) -> None:
    ranking = folder.ranking()
    ended = sum(trial.state == STOPPED for trial in ranking)
    epochs = sum(trial.epoch for trial in ranking)
    whole = sum(trial.config.training.epochs for trial in ranking)
    data = "synthetic data" if synthetic else "this data"
    title = f"Ranking by validation CER, on {data}"
    console.print(trials_table(ranking[:_SHOWN], title, console.width))
    if len(ranking) > _SHOWN:
        _say(console, f"... and {len(ranking) - _SHOWN} more in {folder.path / 'trials.csv'}")
    _say(
        console,
        f"{len(ranking)} trials, {ended} of them ended early; {epochs} epochs of the {whole} that "
        f"training all to the end would have taken.",
    )
    groups = seeds.by_configuration(ranking)
    if len(groups) < len(ranking) and any(len(group.trials) > 1 for group in groups):
        rows = seeds.table(groups[:_SHOWN]).to_pylist()
        seeds.show(console, f"Ranking by mean CER over seeds, on {data}", rows)
    if ranking and ranking[0].best:
        _say(console, f"Best: {notation(ranking[0].config.model)}")
    if cut_off := sum(trial.state == CUT_OFF for trial in ranking):
        _say(
            console,
            f"{cut_off} were cut off by the end of the search; they go on with\n"
            f"    python -m search.run --resume {folder.path}",
        )
    _say(
        console,
        f"Everything is in {folder.path}:\n"
        f"    trials.csv, trials.parquet, curves.parquet    the tables\n"
        f"    best.yaml    python -m emgmodels.training {folder.path}/best.yaml --data DIR\n"
        f"    tensorboard/ tensorboard --logdir {folder.path}/tensorboard",
    )


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    app()
