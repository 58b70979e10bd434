"""The command ``python -m search.run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from emgmodels.command import ALLOW_CODE, CommandLine

app = CommandLine()


@app.command()
def command(
    space: Annotated[
        Path | None,
        typer.Argument(help="Space file, such as spaces/deep.yaml; with --confirm also a run."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Folder with session files, or its URI; without it, a synthetic typist. With "
            "--resume or --confirm: where they are now, if they were moved."
        ),
    ] = None,
    small: Annotated[
        bool,
        typer.Option(
            "--small",
            help="With --data: the demo's small models and short trainings, for a first look.",
        ),
    ] = False,
    subject: Annotated[str | None, typer.Option(help="Whose sessions.")] = None,
    split: Annotated[Path | None, typer.Option(help="emg2qwerty's split file.")] = None,
    people: Annotated[
        str | None,
        typer.Option(
            metavar="WHO",
            help="Hold out whole users: val=2,test=2, or val=0.1,test=0.1, or val=anna,test=bob.",
        ),
    ] = None,
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
    out: Annotated[
        Path | None, typer.Option(help="Where run folders are made.", show_default="runs")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="Where a cluster's results go: a shared folder, s3:// or gs://."),
    ] = None,
    cpus_per_trial: Annotated[float | None, typer.Option(help="Cores of a trial.")] = None,
    gpus_per_trial: Annotated[
        str | None, typer.Option(help="GPUs of a trial, a fraction, or auto: what fits.")
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
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print what would be done; train and write nothing."),
    ] = False,
    allow_code: Annotated[bool, typer.Option("--allow-code", help=ALLOW_CODE)] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Also print epochs, and what Ray and workers say.")
    ] = False,
) -> None:
    """Search a space of architectures and rank them by validation character error rate.

    \b
    Examples:
      python -m search.run spaces/deep.yaml
      python -m search.run spaces/deep.yaml --data DIR --small --time-budget 1h
      python -m search.run spaces/deep.yaml --data DIR --dry-run
      python -m search.run spaces/deep.yaml --data DIR --subject 89335547 --trials 200
      python -m search.run spaces/people.yaml --data DIR --people val=2,test=2
      python -m search.run spaces/deep.yaml --data DIR --set "model.electrodes={choice: [4, 8]}"
      python -m search.run spaces/deep.yaml --data DIR --warm-start runs/deep-001
      python -m search.run --resume runs/deep-001
      python -m search.run --resume runs/deep-001 --add-trials 32
      python -m search.run --resume s3://bucket/runs/deep-001 --data DIR --gpus-per-trial 0
      python -m search.run spaces/deep.yaml --data DIR --address auto --storage s3://bucket/runs
      python -m search.run runs/deep-001 --confirm 3 --repeats 5
    """
    # Ray and PyTorch take seconds to load, and whoever asks for help needs neither.
    from rich.console import Console

    from search.results.folder import RunFolder
    from search.run.confirm import tell_confirmation
    from search.run.plan import schedule_of
    from search.run.searching import resume, search
    from search.space import load_space
    from search.storage import Place, is_uri, local_path

    begun: dict[str, Any] = {"small": small or None, "subject": subject, "split": split}
    begun |= {"people": people, "trials": trials, "epochs": epochs, "seed": seed}
    begun |= {"set": overrides, "storage": storage, "warm_start": warm_start}
    given: dict[str, Any] = {"cpus_per_trial": cpus_per_trial, "gpus_per_trial": gpus_per_trial}
    given |= {"address": address, "quiet": quiet, "allow_code": allow_code, "dry_run": dry_run}
    every: dict[str, Any] = {
        "time_budget": time_budget,
        "out": Path("runs") if out is None else out,
    }
    every |= {"verbose": verbose, **given}
    if resumed is not None:
        if space is not None:
            raise ValueError(f"--resume {resumed} goes on as it began: leave out {space}")
        _refuse(resumed, **begun, repeats=repeats if confirm is None else None)
        resume(resumed, data=data, add_trials=add_trials, **every)
        run = every["out"] / Place(resumed).name if is_uri(resumed) else local_path(resumed)
        if confirm is not None and dry_run:
            schedule = schedule_of(load_space(Path(run) / "space.yaml", imports=False))
            tell_confirmation(Console(quiet=quiet), schedule, confirm, repeats)
        elif confirm is not None and not RunFolder.open(run).is_interrupted:
            kept = ("address", "quiet", "allow_code")
            _confirm(run, confirm, repeats, {name: given[name] for name in kept})
    elif add_trials:
        raise ValueError("--add-trials continues an earlier search: name it with --resume RUN")
    elif space is None:
        raise ValueError("name a space file, such as spaces/deep.yaml, or --resume RUN")
    elif space.is_dir():
        begun |= {"time_budget": time_budget, "out": out, "verbose": verbose or None}
        _refuse(space, **begun)
        _confirm(space, confirm, repeats, {"data": data, **given})
    else:
        begun |= {"warm_start": warm_start or (), "overrides": begun.pop("set") or ()}
        begun |= {"small": small}
        search(space, data=data, repeats=repeats, confirm=confirm, **begun, **every)


def _confirm(run: Path, top: int | None, repeats: int | None, given: dict[str, Any]) -> None:
    from search.engine.gpu_share import gpus_of_trial
    from search.run.confirm import confirm_winners

    if top is None:
        raise ValueError(
            f"{run}: is a folder: name a space file, or train the best of a run again with "
            f"--confirm K"
        )
    gpus = gpus_of_trial(given.pop("gpus_per_trial", None))
    if isinstance(gpus, str):
        raise ValueError("--gpus-per-trial auto: --confirm takes a number, such as 0.5")
    confirm_winners(run, top=top, repeats=repeats, gpus_per_trial=gpus, **given)


def _refuse(run: str | Path, **options: object) -> None:
    """Raise ValueError for options that a run folder has answered already."""
    given = [
        f"--{name.replace('_', '-')}"
        for name, value in options.items()
        if value is not None and value != []
    ]
    if given:
        raise ValueError(
            f"{run}: goes on with what its search was given: leave out {', '.join(given)}"
        )
