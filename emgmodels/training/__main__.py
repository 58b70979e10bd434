"""Trains one model on one machine, without the search.

python -m emgmodels.training runs/deep-001/best.yaml --data data/
python -m emgmodels.training best.yaml --data data/ --subject 89335547 --epochs 100 --out model.pt
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from emgmodels.config import Config, load_config
from emgmodels.factory import describe, notation
from emgmodels.sessions import find_split
from emgmodels.training.fit import EpochResult, best_device, fit
from emgmodels.training.memory import keep_freed_memory
from emgmodels.windows import Recording, open_split


def train(
    config: Annotated[Path, typer.Argument(help="A training's YAML, such as a run's best.yaml.")],
    data: Annotated[Path, typer.Option(help="Folder with session files.")],
    subject: Annotated[str | None, typer.Option(help="Whose sessions.")] = None,
    split: Annotated[Path | None, typer.Option(help="Split file: user, dataset.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs, instead of its own.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed, instead of its own.")] = None,
    out: Annotated[Path, typer.Option(help="Checkpoint to write after each epoch.")] = Path(
        "model.pt"
    ),
    resume: Annotated[Path | None, typer.Option(help="Checkpoint to go on from.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: the GPU.")] = None,
) -> None:
    """Train one model and print each epoch's validation CER.

    Example: python -m emgmodels.training best.yaml --data data/ --subject 89335547
    """
    console = Console()
    keep_freed_memory()
    try:
        settings = _with_options(load_config(config), epochs, seed)
        chosen = find_split(data, subject, split)
        recordings, validation, warnings = open_split(chosen)
        console.print(
            f"{notation(settings.model)}: {describe(settings.model).parameters:,} parameters; "
            f"{len(recordings)} training and {len(validation)} validation sessions of "
            f"{chosen.subject} ({chosen.origin})",
            highlight=False,
            markup=False,
        )
        prompted = sum(not recording.has_key_times for recording in recordings)
        if prompted and settings.training.aligned_start is not None:
            warnings.append(
                f"{prompted} training sessions have no key times: their aligned start is skipped"
            )
        for warning in warnings:
            console.print(f"note: {warning}", highlight=False, markup=False)
        last = _train(console, settings, recordings, validation, out, resume, device)
    except (ValueError, RuntimeError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    if last is None:
        console.print(f"{resume} has all {settings.training.epochs} epochs already.")
        return
    console.print(_outcome(last, out), highlight=False, markup=False)


def _outcome(last: EpochResult, out: Path) -> str:
    """Return what the training came to, and whose weights the checkpoint has."""
    if not last.best_epoch:  # its checkpoint then has none of a best epoch
        return (
            f"no epoch had a validation CER; checkpoint with the weights of epoch {last.epoch}: "
            f"{out}"
        )
    return (
        f"best validation CER {last.best_val_cer:.2f} % at epoch {last.best_epoch}; checkpoint "
        f"with its weights: {out}"
    )


def _with_options(config: Config, epochs: int | None, seed: int | None) -> Config:
    training = config.training.model_copy(update={} if epochs is None else {"epochs": epochs})
    return config.model_copy(
        update={"training": training, **({} if seed is None else {"seed": seed})}
    )


def _train(
    console: Console,
    config: Config,
    recordings: list[Recording],
    validation: list[Recording],
    out: Path,
    resume: Path | None,
    device: str | None,
) -> EpochResult | None:
    last = None
    columns = (
        TextColumn("epoch"),
        MofNCompleteColumn(),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    where = torch.device(device) if device else best_device()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=config.training.epochs)
        for last in fit(config, recordings, validation, resume=resume, device=where):
            last.save(out)
            line = (
                f"epoch {last.epoch}: train loss {last.train_loss:.3f}, validation loss "
                f"{last.val_loss:.3f}, CER {last.val_cer:.2f} % ({last.seconds:.1f} s)"
            )
            console.print(line, highlight=False, markup=False)
            progress.update(task, completed=last.epoch)
    return last


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(train)


if __name__ == "__main__":
    app(prog_name="python -m emgmodels.training")
