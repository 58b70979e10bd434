"""Trains one model on one machine, without the search.

python -m emgmodels.training runs/deep-001/best.yaml               on the sessions of its search
python -m emgmodels.training best.yaml --data data/ --subject 89335547 --epochs 100 --out model.pt
python -m emgmodels.training mine.yaml --data mine/ --start-from runs/people-001
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emgmodels.command import ALLOW_CODE, CommandLine
from emgmodels.own_code import code_allowed


def train(
    config: Annotated[Path, typer.Argument(help="A training's YAML, such as a run's best.yaml.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with session files; of a run's best.yaml: else its own."),
    ] = None,
    subject: Annotated[str | None, typer.Option(help="Whose sessions.")] = None,
    split: Annotated[Path | None, typer.Option(help="Split file: user, dataset.")] = None,
    people: Annotated[
        str | None,
        typer.Option(metavar="WHO", help="Hold out whole users, such as val=2,test=2."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs, instead of its own.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**32 - 1, help="Seed, instead of its own.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Checkpoint to write after each epoch.")] = Path(
        "model.pt"
    ),
    resume: Annotated[Path | None, typer.Option(help="Checkpoint to go on from.")] = None,
    start_from: Annotated[
        Path | None,
        typer.Option(help="Checkpoint, run or exported model whose weights a new training takes."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: the GPU.")] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Threads on the CPU; default: of a run's best.yaml those of its trials, else one "
            "a core. On a busy machine fewer are faster.",
            show_default=False,
        ),
    ] = None,
    allow_code: Annotated[bool, typer.Option("--allow-code", help=ALLOW_CODE)] = False,
) -> None:
    """Train one model and print each epoch's validation CER.

    \b
    Examples:
      python -m emgmodels.training best.yaml --data data/ --subject 89335547
      python -m emgmodels.training mine.yaml --data mine/ --start-from runs/people-001
    """
    from emgmodels.training.single import train_one

    with code_allowed(allow_code):
        train_one(
            *(config, data, subject, split, people, epochs, seed, out, resume, device, threads),
            start_from=start_from,
        )


app = CommandLine()
app.command()(train)


if __name__ == "__main__":
    app(prog_name="python -m emgmodels.training")
