"""What tests of searches share: commands, waiting for epochs, and what a run folder holds."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import torch
from typer.testing import CliRunner

from emgmodels.checkpoints.loading import load
from emgmodels.checkpoints.weights import weights_hash
from search.results.folder import RunFolder
from search.results.reading import read_curves, read_trials

ONE_AT_ONCE = ("--cpus-per-trial", max(1.0, (os.cpu_count() or 1) / 2 + 0.5))
"""One trial at once on two cores, with one thread: each further one starts a process."""


def search_command(*arguments: object) -> list[str]:
    """Return the words of ``python -m search.run`` with these arguments."""
    return [sys.executable, "-m", "search.run", *map(str, arguments)]


def run_search(*arguments: object, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run the command to its end (at most so many seconds)."""
    return subprocess.run(
        search_command(*arguments), capture_output=True, text=True, timeout=timeout, check=False
    )


@contextlib.contextmanager
def killed(start: list[str], environment: dict[str, str] | None = None) -> Iterator[None]:
    """Run a command meanwhile, and kill it with all that it started."""
    process = subprocess.Popen(start, start_new_session=True, env=environment)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def epochs_so_far(folder: Path) -> int:
    """Return how many epochs a search has reported; none if it has no folder yet."""
    try:
        return sum(trial.epoch for trial in RunFolder.open(folder).trials.values())
    except ValueError:
        return 0


def wait_for_epochs(
    folder: Path, epochs: int, process: subprocess.Popen[str] | None = None, seconds: float = 300
) -> None:
    """Wait until a running search has reported that many epochs.

    Raises:
        AssertionError: it takes longer than that many seconds, or the process ended.
    """

    def seen() -> bool:
        assert process is None or process.poll() is None, "the search ended by itself"
        return epochs_so_far(folder) >= epochs

    wait_until(seen, f"{epochs} epochs", seconds)


def wait_until(seen: Callable[[], object], what: str, seconds: float = 300) -> None:
    """Wait until something is seen; what takes longer fails the test."""
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)


def results(folder: Path) -> dict[int, tuple]:
    """Return what a search came to: of each trial its config, state, and epochs' CER and loss."""
    curves: dict[int, list] = {}
    for row in read_curves(folder).to_pylist():
        curves.setdefault(row["trial"], []).append((row["epoch"], row["val_cer"], row["val_loss"]))
    return {
        row["trial"]: (row["config"], row["state"], curves.get(row["trial"], []))
        for row in read_trials(folder).to_pylist()
    }


def checkpoints_of_ray(folder: Path) -> list[str]:
    """Return the checkpoints that trials could go on from."""
    return sorted(str(path.relative_to(folder)) for path in folder.glob(".ray/*/checkpoint_*"))


def assert_ranked_by_what_is_kept(folder: Path, count: int = 2) -> None:
    """The best trials' checkpoints have the weights, epoch and CER of their rows, best.pt too."""
    rows = [row for row in read_trials(folder).to_pylist() if row["val_cer"] is not None][:count]
    assert rows
    trials = RunFolder.open(folder).trials
    files = {path.name for path in (folder / "checkpoints").iterdir()}
    assert files == {f"{trials[row['trial']].slug}.pt" for row in rows} | {"best.pt"}
    for row in rows:
        path = folder / "checkpoints" / f"{trials[row['trial']].slug}.pt"
        state = torch.load(path, weights_only=True)
        assert (state["best_epoch"], state["best_cer"]) == (row["best_epoch"], row["val_cer"])
        assert (row["kept_epoch"], row["kept_cer"]) == (row["best_epoch"], row["val_cer"])
        assert weights_hash(load(path).model.state_dict()) == row["weights"]
    best = load(folder)
    assert weights_hash(best.model.state_dict()) == rows[0]["weights"]
    assert best.origin.val_cer == rows[0]["val_cer"]


def refused(space: Path, *arguments: object, tmp_path: Path) -> str:
    """Run a search in this process; return its one error. Nothing may have been written."""
    from search.run.command import app  # which loads Ray

    out = tmp_path / "runs"
    done = CliRunner().invoke(app, [str(a) for a in (space, *arguments, "--out", out)])
    assert done.exit_code == 2, done.output
    assert not out.exists()
    assert "Traceback" not in done.output
    return done.stderr


def study(folder: Path, name: str = "tiny") -> optuna.Study:
    """Return the study in a search's journal."""
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
    return optuna.load_study(study_name=name, storage=optuna.storages.JournalStorage(backend))


def told(folder: Path, name: str = "tiny") -> dict[int, optuna.trial.FrozenTrial]:
    """Return the trials of the study that a search trained, by number."""
    trials = study(folder, name).trials
    return {trial.number: trial for trial in trials if "skipped" not in trial.user_attrs}
