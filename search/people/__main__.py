"""Fine-tunes the winner of a search to people that it has never seen, and compares.

python -m search.people runs/people-001 --data DIR                    held-out people of its split
python -m search.people runs/people-001 --data DIR --users anna,ben   these people
python -m search.people runs/people-001 --data DIR --dry-run          what would be trained

For each person the winner reads as it is (zero-shot), an equal model is trained on own sessions
alone, and the winner is fine-tuned on them: on the first 2, 5 and 10 minutes, and on all. All are
read on the same test sessions of that person. The trainings have a run folder of their own,
``RUN/people``, with the table and the figure. The same command goes on after an interruption.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emgmodels.command import ALLOW_CODE, CommandLine

app = CommandLine()


@app.command(
    epilog="Examples:\n\npython -m search.people runs/people-001 --data DIR\n\n"
    "python -m search.people runs/people-001 --data DIR --users anna,ben --minutes 2,5\n\n"
    "python -m search.people runs/people-001 --data DIR --training runs/personal-001/best.yaml"
)
def command(
    run: Annotated[Path, typer.Argument(help="Run folder of a search over people.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with the people's session files; default: as the last time."),
    ] = None,
    users: Annotated[
        str | None,
        typer.Option(help="Whose sessions, with commas; default: held-out people of its split."),
    ] = None,
    minutes: Annotated[
        str, typer.Option(help="Minutes of own data, with commas; all comes by itself.")
    ] = "2,5,10",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs of each training, instead of the winner's.")
    ] = None,
    training: Annotated[
        Path | None,
        typer.Option(help="Training's YAML whose training section the fine-tuning takes."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**32 - 1, help="Seed, instead of the search's.")
    ] = None,
    cpus_per_trial: Annotated[float | None, typer.Option(help="Cores of a training.")] = None,
    gpus_per_trial: Annotated[
        float | None, typer.Option(help="GPUs of a training, or a fraction.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="A running Ray cluster, or auto.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done; train and write nothing.")
    ] = False,
    allow_code: Annotated[bool, typer.Option("--allow-code", help=ALLOW_CODE)] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Compare zero-shot, own sessions alone, and fine-tuning, on people the winner has never seen.

    Test sessions are opened when all is trained, and the run folder records when they were.
    """
    # Ray and PyTorch take seconds to load, and whoever asks for help needs neither.
    from search.people.comparing import compare_people
    from search.people.persons import parse_minutes, parse_users

    compare_people(
        run,
        data=data,
        users=parse_users(users),
        minutes=parse_minutes(minutes),
        epochs=epochs,
        training=training,
        seed=seed,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
        address=address,
        dry_run=dry_run,
        allow_code=allow_code,
        quiet=quiet,
    )


if __name__ == "__main__":
    app(prog_name="python -m search.people")
