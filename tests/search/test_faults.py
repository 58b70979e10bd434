"""Faults while a search trains: dead and hung processes, memory, numbers, the disk."""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.searches import results, search_command, study, wait_for_epochs

from search import run
from search.engine.failures import SearchFailedError
from search.results.reading import read_trials
from search.space import Sessions

pytestmark = pytest.mark.timeout(600)


class Saboteur(threading.Thread):
    """Does harm to a search in this process, once it has trained two epochs."""

    def __init__(self, folder: Path, harm: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.folder, self.harm = folder, harm
        self.start()

    def run(self) -> None:
        wait_for_epochs(self.folder, 2)
        self.harm()


def process_of_a_trial() -> int:
    import psutil  # Ray brings its own

    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.name().startswith("ray::") and "Trainable" in process.name():
                return process.pid
    raise AssertionError("no process of a trial was found")


def signal_a_trial(how: signal.Signals) -> None:
    os.kill(process_of_a_trial(), how)


def starve_a_trial() -> None:
    """Let a trial's process have no more memory than it has."""
    resource.prlimit(process_of_a_trial(), resource.RLIMIT_AS, (2**20, resource.RLIM_INFINITY))


@pytest.mark.parametrize(
    "how",
    [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.slow)],  # as in test_engine.py
    ids=["killed", "hung"],
)
def test_a_trial_whose_process_is_killed_or_hangs_is_started_again(
    how, data, tiny_space, whole, tmp_path
):
    Saboteur(tmp_path / "tiny-001", functools.partial(signal_a_trial, how))
    hangs = ["search.hang_after=30"] if how == signal.SIGSTOP else []
    run.search(tiny_space, data=data, out=tmp_path, overrides=hangs, quiet=True)
    noted = list((tmp_path / "tiny-001" / "failures").iterdir())
    assert noted  # on a busy machine one that is slow may be taken for hung
    assert all("died" in file.read_text() for file in noted)
    assert len(noted) == 1 or hangs
    assert results(tmp_path / "tiny-001") == whole


@pytest.mark.slow
def test_a_trial_whose_process_can_have_no_more_memory_is_started_again(
    data, tiny_space, whole, tmp_path
):
    Saboteur(tmp_path / "tiny-001", starve_a_trial)
    run.search(tiny_space, data=data, out=tmp_path, quiet=True)
    assert len(list((tmp_path / "tiny-001" / "failures").iterdir())) == 1
    assert results(tmp_path / "tiny-001") == whole


@pytest.mark.slow
def test_trials_that_ray_ends_for_want_of_memory_are_failed_and_the_search_goes_on(
    data, tiny_space, whole, tmp_path
):
    """A threshold that the machine is always above: no trial can be trained."""
    folder = tmp_path / "tiny-001"
    short = {"RAY_memory_usage_threshold": "0.001", "RAY_memory_monitor_refresh_ms": "100"}
    done = subprocess.run(
        search_command(tiny_space, "--data", data, "--out", tmp_path, "--trials", 1, "--quiet"),
        capture_output=True,
        text=True,
        env={**os.environ, **short},
        check=False,
    )
    reason = "out of memory: Ray ended its process before the machine ran out, 3 times"
    assert done.returncode == 1
    assert f"none of 1 trial could be trained; 1 of them: {reason}" in done.stderr
    assert [row["reason"] for row in read_trials(folder).to_pylist()] == [reason]
    run.resume(folder, add_trials=1, quiet=True)
    found = results(folder)
    assert found[0][1] == "failed"
    assert found[1] == whole[1]


@pytest.mark.slow
def test_trials_without_memory_or_without_numbers_are_recorded_and_the_search_goes_on(
    data, tiny_space, tmp_path
):
    table = run.search(
        tiny_space,
        data=data,
        out=tmp_path,
        quiet=True,
        overrides=[
            "search.sampler=grid",
            "search.trials=4",
            "training.learning_rate={choice: [0.01, 1.0]}",
            "training.gradient_clip=null",
            "model.mlp_features=8",
            "model.encoder.order=[recurrent]",
            "model.encoder.conv=null",
            "model.encoder.recurrent.hidden={choice: [8, 10_000_000]}",
        ],
    )
    rows = {
        (row["model.encoder.recurrent.hidden"], row["training.learning_rate"]): row
        for row in table.to_pylist()
    }
    assert rows[8, 0.01]["rank"] == 1
    assert rows[8, 0.01]["state"] == "complete"
    for rate in (0.01, 1.0):
        assert rows[10_000_000, rate]["state"] == "failed"
        assert rows[10_000_000, rate]["reason"] == "out of memory, 3 times"
    trials = study(tmp_path / "tiny-001").trials
    for row in rows.values():
        infeasible = max(trials[row["trial"]].constraints.values(), default=0) > 0
        assert infeasible == (row["state"] != "complete")
    before = results(tmp_path / "tiny-001")
    run.resume(tmp_path / "tiny-001", quiet=True)
    assert str(results(tmp_path / "tiny-001")) == str(before), "what failed stays failed"


def test_a_search_whose_trials_all_fail_ends_early_with_the_reason(
    data, tiny_space, tmp_path, monkeypatch
):
    monkeypatch.setattr(Sessions, "objection", lambda *given: None)  # else it is refused before
    with pytest.raises(SearchFailedError, match=r"none of \d trials could be trained; .* 40 s"):
        run.search(
            tiny_space,
            data=data,
            out=tmp_path,
            quiet=True,
            overrides=["search.trials=16", "training.window_seconds=40"],
        )
    assert len(list((tmp_path / "tiny-001" / "failures").iterdir())) >= 5


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A disk of 48 MB."""
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounting.returncode:
        pytest.skip(f"no file system can be mounted here: {mounting.stderr.strip()}")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.slow
def test_a_full_disk_ends_the_search_and_with_space_it_goes_on(data, tiny_space, whole, small_disk):
    filler = small_disk / "filler"

    def fill() -> None:
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(2**16))

    folder = small_disk / "tiny-001"
    Saboteur(folder, fill)
    with pytest.raises(SearchFailedError, match="the disk is full"):
        run.search(tiny_space, data=data, out=small_disk, quiet=True)
    assert any(state == "cut off" for _, state, _ in results(folder).values())
    filler.unlink()
    run.resume(folder, quiet=True)
    assert results(folder) == whole
