"""One model trained on one machine: what the training command does."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from emgmodels.checkpoints.start import Start, start_in_words
from emgmodels.compute.allocator import keep_freed_memory
from emgmodels.compute.devices import find_device
from emgmodels.config import Config
from emgmodels.network.network import Network
from emgmodels.network.summary import describe
from emgmodels.notation import notation
from emgmodels.outputs import check_output
from emgmodels.saying import counted, say
from emgmodels.scoring import RankBy
from emgmodels.training.fit import fit
from emgmodels.training.own_sessions import (
    choose_sessions,
    drawn_with,
    facts_beside,
    ranked_by,
    threads_given,
)
from emgmodels.training.result import LEARNT, UNLEARNT, EpochResult
from emgmodels.training.starting import load_training
from emgmodels.training.state import CHECKPOINT_MARK
from emgmodels.windows.cache import open_split
from emgmodels.windows.prompts import prompt_windows
from emgmodels.windows.recording import Recording, lag_notes, users_in

_OF_SEARCHES = ("checkpoints", "confirm", ".ray")
"""Folders of a run folder in which a search keeps its own checkpoints."""


def train_one(
    config: Path,
    data: Path | None,
    subject: str | None,
    split: Path | None,
    people: str | None,
    epochs: int | None,
    seed: int | None,
    out: Path,
    resume: Path | None,
    device: str | None,
    threads: int | None,
    *,
    start_from: Path | None = None,
) -> None:
    """Train a model and print its epochs; the arguments are the command's options.

    Raises:
        ValueError: an option or a file is wrong, or no epoch had a CER.
    """
    console = Console()
    keep_freed_memory()
    facts = facts_beside(config)
    # Before hours of training, not after them.
    _check_out(out, [config, *([split] if split else [])])
    where = find_device(device)
    if threads is None and where.type == "cpu":
        threads = threads_given(facts)
    if threads is not None:
        torch.set_num_threads(threads)
    settings, start = load_training(config, start_from, epochs)
    if start is not None:
        check_output(out, CHECKPOINT_MARK, start.path)
    settings = settings if seed is None else settings.model_copy(update={"seed": seed})
    draw = drawn_with(facts, settings.seed)  # whatever the training's own seed is
    chosen = choose_sessions(config, data, subject, split, people, draw)
    recordings, validation, warnings = open_split(chosen)
    say(
        console,
        f"{notation(settings.model)}: {describe(settings.model).parameters:,} parameters; "
        f"{counted(len(recordings), 'training session')} of {users_in(recordings)} and "
        f"{counted(len(validation), 'validation session')} of {users_in(validation)} "
        f"({chosen.origin})",
    )
    if out.exists() and not (resume and resume.exists() and out.samefile(resume)):
        say(console, f"note: {out} is of an earlier training, and the first epoch replaces it")
    if start is not None:
        say(console, start_in_words(settings, start))
    _say_notes(console, settings, recordings, warnings)
    last = _train(
        console, settings, recordings, validation, out, (resume, start), where, ranked_by(facts)
    )
    if last is not None and not last.best_epoch:
        raise ValueError(
            f"no epoch had a CER: the loss was not finite at epoch {last.epoch}: lower "
            f"training.learning_rate; {out} holds the weights of that epoch"
        )
    if last is None:
        say(
            console,
            f"{resume} has all {counted(settings.training.epochs, 'epoch')} already.",
        )
        return
    say(console, _outcome(last, out))


def _outcome(last: EpochResult, out: Path) -> str:
    """Return what the training came to, and whose weights the checkpoint has."""
    if not last.best_epoch:  # its checkpoint then has none of a best epoch
        return (
            f"no epoch had a validation CER; checkpoint with the weights of epoch {last.epoch}: "
            f"{out}"
        )
    said = (
        f"best validation CER {last.best_val_cer:.2f} % at epoch {last.best_epoch}; checkpoint "
        f"with its weights: {out}"
    )
    return said if last.best_val_cer < LEARNT else f"{said}\nnote: this model {UNLEARNT}"


def _check_out(out: Path, inputs: list[Path]) -> None:
    """Refuse a checkpoint that is not this command's own; what ``--resume`` reads may go on."""
    check_output(out, CHECKPOINT_MARK, inputs)
    for folder in out.absolute().parents:
        inside = out.absolute().relative_to(folder).parts[0]
        if inside in _OF_SEARCHES and out.exists() and (folder / "space.yaml").is_file():
            raise ValueError(f"{out}: belongs to the search in {folder}: name another --out")


def _say_notes(
    console: Console, settings: Config, recordings: list[Recording], warnings: list[str]
) -> None:
    """Print what somebody who reads the losses should know, and the warnings."""
    aligned = settings.training.aligned_start
    if aligned is not None and any(recording.has_key_times for recording in recordings):
        epochs = counted(min(aligned.epochs, settings.training.epochs), "epoch")
        say(
            console,
            f"Aligned start: in the first {epochs} the train loss is CTC's and, with a weight of "
            f"{aligned.weight:g}, that of each frame. After them it is CTC's alone, and so lower.",
        )
    if any(not recording.has_key_times for recording in recordings):
        warnings += _prompt_notes(settings, recordings)
    if aligned is not None and aligned.key_lag_ms == "auto":
        warnings += lag_notes(recordings)
    for warning in warnings:
        say(console, f"note: {warning}")


def _prompt_notes(config: Config, recordings: list[Recording]) -> list[str]:
    """Return what a training does not do with sessions that have no key times."""
    notes = []
    if config.training.aligned_start is not None:
        notes.append("an aligned start needs key times: prompts wait until the model reads them")
    # On the meta device a model has shapes and no memory.
    with torch.device("meta"):
        model = Network(config.model)
    prompts = prompt_windows(recordings)
    lengths = (prompts[:, 2] - prompts[:, 1]).tolist()
    if refused := sum(not model.takes(length, config.training) for length in lengths):
        notes.append(
            f"{refused} of {counted(len(prompts), 'training prompt')} left out: the model takes "
            f"{describe(config.model).longest_ms / 1000:,.1f} s at once, context included"
        )
    return notes


def _train(
    console: Console,
    config: Config,
    recordings: list[Recording],
    validation: list[Recording],
    out: Path,
    begins: tuple[Path | None, Start | None],
    device: torch.device,
    rank_by: RankBy | None,
) -> EpochResult | None:
    last, (resume, start) = None, begins
    columns = (
        TextColumn("epoch"),
        MofNCompleteColumn(),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=config.training.epochs)
        for last in fit(
            config, recordings, validation, resume, device, rank_by=rank_by, start=start
        ):
            # At each epoch, so that a training that is killed has its best weights.
            last.save(out)
            line = (
                f"epoch {last.epoch}: train loss {last.train_loss:.3f}, validation loss "
                f"{last.val_loss:.3f}, CER {last.val_cer:.2f} % ({last.seconds:.1f} s)"
            )
            say(console, line)
            progress.update(task, completed=last.epoch)
    return last
