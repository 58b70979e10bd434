"""Searches that are killed, go on, grow, and fail: real processes, real signals."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
import yaml
from typer.testing import CliRunner

import search.engine.ray_session
import search.engine.tuning
from search import run
from search.engine.failures import SearchFailedError
from search.halving.ending import Ending, Why
from search.results.folder import RunFolder
from search.results.listing import list_runs
from search.results.reading import read_curves, read_trials
from search.results.record import CUT_OFF
from search.run import conduct, searching
from search.space import Sessions

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SPACE = """
name: tiny
model:
  features: {hop: 64, bins: 6}
  norm: bin
  electrodes: 4
  mlp_features: {choice: [8, 10, 12]}
  encoder:
    order: {permutation: [recurrent, conv]}
    recurrent: {layers: 1, hidden: {choice: [8, 10, 12]}}
    conv: {layers: {choice: [0, 1]}, channels: 4, kernel: 4}
training: {epochs: 5, batch_size: 4, learning_rate: 0.01, warmup_steps: 3}
search: {trials: 5, sampler: random, seed: 3, scheduler: none}
"""


@pytest.fixture(scope="module")
def data(session_paths) -> Path:
    return session_paths[0].parent


@pytest.fixture(scope="module")
def space(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("space") / "tiny.yaml"
    path.write_text(SPACE)
    return path


def results(folder: Path) -> dict[int, tuple]:
    """Return what a search came to: of each trial its config, and CER and loss of every epoch."""
    curves: dict[int, list] = {}
    for row in read_curves(folder).to_pylist():
        curves.setdefault(row["trial"], []).append((row["epoch"], row["val_cer"], row["val_loss"]))
    return {
        row["trial"]: (row["config"], row["state"], curves.get(row["trial"], []))
        for row in read_trials(folder).to_pylist()
    }


@pytest.fixture(scope="module")
def engine():
    """Ray, started once for the searches that run in this process."""
    with search.engine.ray_session.engine(None, None):
        yield


@pytest.fixture(scope="module")
def whole_folder(engine, space, data, tmp_path_factory) -> Path:
    """An uninterrupted search in which every trial is trained to the end."""
    out = tmp_path_factory.mktemp("whole")
    run.search(space, data=data, out=out, quiet=True)
    return out / "tiny-001"


@pytest.fixture(scope="module")
def whole(whole_folder) -> dict[int, tuple]:
    found = results(whole_folder)
    assert {state for _, state, _ in found.values()} == {"complete"}
    return found


def checkpoints_of_ray(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.glob(".ray/*/checkpoint_*"))


def study(folder: Path) -> optuna.Study:
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
    return optuna.load_study(study_name="tiny", storage=optuna.storages.JournalStorage(backend))


def epochs_so_far(folder: Path) -> int:
    """Return how many epochs a running search has reported."""
    try:
        return sum(trial.epoch for trial in RunFolder.open(folder).trials.values())
    except ValueError:
        return 0


@contextlib.contextmanager
def killed(start: list[str]) -> Iterator[subprocess.Popen]:
    """Run a command, and kill it with all that it started."""
    process = subprocess.Popen(start, start_new_session=True)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_epochs(folder: Path, epochs: int) -> None:
    deadline = time.monotonic() + 300
    while epochs_so_far(folder) < epochs:
        assert time.monotonic() < deadline, f"less than {epochs} epochs within 5 minutes"
        time.sleep(0.05)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "search.run", *map(str, arguments), "--quiet"]


@pytest.mark.timeout(600)
def test_a_search_killed_at_any_moment_comes_to_what_an_uninterrupted_one_does(
    data, space, whole, tmp_path
):
    """The same trials, under the same numbers, with the same CER of every epoch."""
    folder = tmp_path / "tiny-001"
    start = command(space, "--data", data, "--out", tmp_path)
    for epochs in (1, 14):  # before the first snapshot, and with trials that ended since the last
        with killed(start):
            wait_for_epochs(folder, epochs)
        start = command("--resume", folder)
    run.resume(folder, quiet=True)
    assert results(folder) == whole
    assert checkpoints_of_ray(folder) == []


def test_checkpoints_that_are_deleted_on_the_way_are_never_missed(
    data, space, whole, tmp_path, monkeypatch
):
    """With a checkpoint at each epoch, and snapshots at each step that make them needless."""
    monkeypatch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "0.1")
    folder = tmp_path / "tiny-001"
    start = command(space, "--data", data, "--out", tmp_path, "--set", "search.save_every=0.001")
    for epochs in (8, 17):
        with killed(start):
            wait_for_epochs(folder, epochs)
            assert len(checkpoints_of_ray(folder)) < epochs, "some were deleted on the way"
        start = command("--resume", folder)
    run.resume(folder, quiet=True)
    assert results(folder) == whole
    assert checkpoints_of_ray(folder) == []
    assert len(list((folder / "checkpoints").iterdir())) == 3


HALVED = ("--trials", 8, "--set", "search.scheduler={name: asha, grace: 1, eta: 2}")


def killed_at_random(folder: Path, options: tuple, lasts: float) -> None:
    """Begin a search, and kill it at any moment after trials were compared and paused."""
    moment = random.Random(time.time_ns()).uniform(0, lasts)
    with killed(command(*options, "--out", folder.parent)):
        wait_for_epochs(folder, 4)
        time.sleep(moment)
    print(f"killed {moment:.2f} s after its fourth epoch, at {epochs_so_far(folder)} epochs")


def halving_of_resumed(folder: Path, monkeypatch):
    """Go on with a search; return the decisions that its scheduler has taken in."""
    made = []
    known = conduct.scheduler_of
    monkeypatch.setattr(
        conduct, "scheduler_of", lambda space: made.append(known(space)) or made[-1]
    )
    run.resume(folder, quiet=True)
    return made[-1].halving


def assert_ended_once(folder: Path, halving) -> None:
    """Assert that each trial ended, with every epoch once, and that its rungs know all trials."""
    trials = read_trials(folder).to_pylist()
    assert {row["state"] for row in trials} == {"complete", "stopped"}
    for number, (_, _, curve) in results(folder).items():
        epochs = next(row["epochs"] for row in trials if row["trial"] == number)
        assert [epoch for epoch, *_ in curve] == list(range(1, epochs + 1))
    for index, (rung, epoch) in enumerate(zip(halving._rungs, halving.rungs, strict=True)):
        entered = [entry.trial_id for entry in rung.entries]
        assert len(set(entered)) == len(entered)
        # What was trained since the last snapshot may not be trained again.
        assert len(entered) <= sum(row["epochs"] >= epoch for row in trials)
        assert index or len(entered) == len(trials)
    assert checkpoints_of_ray(folder) == []


def test_a_halving_search_on_two_slots_killed_at_any_moment_loses_nothing(
    engine, data, space, tmp_path, monkeypatch
):
    """The trials of an uninterrupted search, and the same CER of each epoch that both trained."""
    options = (space, "--data", data, *HALVED, "--cpus-per-trial", os.cpu_count() / 2)
    overrides = ["search.trials=8", HALVED[-1]]
    run.search(space, data=data, out=tmp_path / "whole", overrides=overrides, quiet=True)
    whole = results(tmp_path / "whole" / "tiny-001")
    arrived = read_curves(tmp_path / "whole" / "tiny-001")["arrived"].to_pylist()
    folder = tmp_path / "tiny-001"
    killed_at_random(folder, options, max(arrived) - sorted(arrived)[3])
    halving = halving_of_resumed(folder, monkeypatch)
    found = results(folder)
    assert sorted(found) == sorted(whole)
    for number, (config, _, curve) in found.items():
        assert config == whole[number][0]
        assert all(mine == its for mine, its in zip(curve, whole[number][2], strict=False))
    assert_ended_once(folder, halving)


def test_a_learning_search_killed_at_any_moment_agrees_with_its_study(
    engine, data, space, tmp_path, monkeypatch
):
    """What is suggested afterwards may differ; nothing is missing, and nothing there twice."""
    options = (space, "--data", data, *HALVED, "--cpus-per-trial", os.cpu_count())
    folder = tmp_path / "tiny-001"
    killed_at_random(folder, (*options, "--set", "search.sampler=tpe"), lasts=12)
    halving = halving_of_resumed(folder, monkeypatch)
    assert_ended_once(folder, halving)
    rows = {row["trial"]: row for row in read_trials(folder).to_pylist()}
    assert len(rows) == 8
    assert len({row["config"].split('"model":')[1] for row in rows.values()}) == 8
    told = {t.number: t for t in study(folder).trials if "skipped" not in t.user_attrs}
    assert sorted(told) == sorted(rows)
    for number, (_, state, curve) in results(folder).items():
        ended = optuna.trial.TrialState.COMPLETE if state == "complete" else None
        assert told[number].state == (ended or optuna.trial.TrialState.PRUNED)
        assert told[number].intermediate_values == {epoch: cer for epoch, cer, _ in curve}


@pytest.mark.parametrize(
    ("budget", "was_up", "given", "goes_on"),
    [(4.0, False, None, 3.0), (0.5, False, None, 0.5), (4.0, True, None, 4.0), (4.0, False, 9, 9)],
    ids=["what is left", "again where it is used up", "again where it was up", "as it is told"],
)
def test_a_resumed_search_goes_on_for_what_is_left_of_its_time_budget(
    budget, was_up, given, goes_on, whole_folder, tmp_path, monkeypatch
):
    """Times are in durations of the search so far."""
    folder = tmp_path / "tiny-001"
    shutil.copytree(whole_folder, folder)
    opened = RunFolder.open(folder)
    lasted = max(read_curves(folder)["arrived"].to_pylist())
    resolved = yaml.safe_load((folder / "space.yaml").read_text())
    resolved["search"]["time_budget"] = budget * lasted
    opened.write_space(resolved)
    if was_up:
        opened.trials[0].state = CUT_OFF
        opened.trials[0].ending = Ending(Why.TIME_BUDGET).cut("running", 1)
        opened.flush()
    asked = []

    def note(plan, console, opened, **_):
        asked.append(plan.space.search.time_budget)
        return opened

    monkeypatch.setattr(searching, "conduct", note)
    run.resume(folder, time_budget=given and given * lasted, quiet=True)
    assert asked == [pytest.approx(goes_on * lasted, rel=0.05)]


def test_a_dry_run_of_a_resume_says_what_is_left_and_writes_nothing(whole_folder, capsys):
    before = {path: path.stat().st_mtime_ns for path in whole_folder.rglob("*")}
    run.resume(whole_folder, add_trials=2, dry_run=True)
    printed = capsys.readouterr().out
    assert "7, suggested by random from" in printed
    assert "5 have ended already" in printed
    assert "10 in all at most; expected 10" in printed
    assert {path: path.stat().st_mtime_ns for path in whole_folder.rglob("*")} == before


def test_trials_added_later_are_those_of_a_longer_search(data, space, whole, tmp_path):
    run.search(space, data=data, out=tmp_path, trials=2, quiet=True)
    run.resume(tmp_path / "tiny-001", add_trials=1, quiet=True)
    run.resume(tmp_path / "tiny-001", add_trials=2, quiet=True)
    assert results(tmp_path / "tiny-001") == whole


def test_a_search_goes_on_with_sessions_elsewhere_and_other_cores(data, space, whole, tmp_path):
    here, there, folder = tmp_path / "here", tmp_path / "there", tmp_path / "tiny-001"
    shutil.copytree(data, here)
    run.search(space, data=here, out=tmp_path, trials=2, quiet=True)
    here.rename(there)
    with pytest.raises(ValueError, match="training sessions are missing; say with --data DIR"):
        run.resume(folder, add_trials=3, quiet=True)
    run.resume(folder, data=there, add_trials=3, cpus_per_trial=1.5, quiet=True)
    assert results(folder) == whole
    facts = RunFolder.open(folder).read_environment()
    assert facts["resources_per_trial"] == {"cpus": 1.5, "gpus": 0.0}
    files = [path for subset in ("train", "val", "test") for path in facts["split"][subset]]
    assert {Path(path).parent for path in files} == {there}
    with pytest.raises(ValueError, match="--cpus-per-trial 999: this machine has"):
        run.resume(folder, data=there, cpus_per_trial=999, quiet=True)


def test_a_search_learns_from_an_earlier_one_and_trains_none_of_its_trials(
    data, space, tmp_path, capsys
):
    options = {"data": data, "out": tmp_path, "epochs": 1, "trials": 2}
    small = ["search.sampler=grid", "model.encoder.recurrent.hidden=8", "model.mlp_features=8"]
    first = run.search(space, overrides=small, quiet=True, **options)
    second = run.search(space, overrides=small, warm_start=[tmp_path / "tiny-001"], **options)
    printed = capsys.readouterr().out
    assert f"{tmp_path / 'tiny-001'}: 2 of its 2 trials fit this space; 2 are not" in printed
    assert "grid learns nothing" in printed
    assert second.num_rows == 1, "two of the three configurations were trained before"
    assert second["architecture"][0] not in first["architecture"]


def test_a_search_whose_time_was_up_goes_on(data, space, whole, whole_folder, tmp_path):
    needed = max(read_curves(whole_folder)["arrived"].to_pylist())
    run.search(space, data=data, out=tmp_path, time_budget=needed / 5, quiet=True)
    first = read_trials(tmp_path / "tiny-001").to_pylist()
    assert len(first) < len(whole) or any(row["state"] == "cut off" for row in first)
    assert all(row["ending"] == Why.TIME_BUDGET for row in first if row["state"] == "cut off")
    run.resume(tmp_path / "tiny-001", time_budget=100 * needed, quiet=True)
    assert results(tmp_path / "tiny-001") == whole


def test_a_search_that_ended_before_its_first_trial_is_read_by_all_and_goes_on(
    data, space, whole, tmp_path, capsys
):
    table = run.search(space, data=data, out=tmp_path, time_budget=1e-6)
    folder = tmp_path / "tiny-001"
    assert table.num_rows == 0
    printed = capsys.readouterr().out
    assert "ended before its first trial" in printed
    assert f"--resume {folder}" in printed
    for reader, says in {
        "search.report.__main__": "its search has begun no trial yet",
        "search.evaluate.__main__": "holds no checkpoint",
        "search.simulate.__main__": "holds no learning curve",
    }.items():
        done = CliRunner().invoke(importlib.import_module(reader).app, [str(folder)])
        assert done.exit_code == 2
        assert says in done.stderr
    [listed] = list_runs(tmp_path)
    assert (listed.state, listed.trials, listed.val_cer) == ("interrupted", 0, None)
    run.resume(folder, time_budget=600, quiet=True)
    assert results(folder) == whole


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


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
def test_a_trial_whose_process_is_killed_or_hangs_is_started_again(
    how, data, space, whole, tmp_path
):
    Saboteur(tmp_path / "tiny-001", functools.partial(signal_a_trial, how))
    run.search(space, data=data, out=tmp_path, overrides=["search.hang_after=20"], quiet=True)
    [noted] = (tmp_path / "tiny-001" / "failures").iterdir()
    assert "died" in noted.read_text()
    assert results(tmp_path / "tiny-001") == whole


def test_a_trial_whose_process_can_have_no_more_memory_is_started_again(
    data, space, whole, tmp_path
):
    Saboteur(tmp_path / "tiny-001", starve_a_trial)
    run.search(space, data=data, out=tmp_path, quiet=True)
    assert len(list((tmp_path / "tiny-001" / "failures").iterdir())) == 1
    assert results(tmp_path / "tiny-001") == whole


def test_trials_that_ray_ends_for_want_of_memory_are_failed_and_the_search_goes_on(
    data, space, whole, tmp_path
):
    """A threshold that the machine is always above: no trial can be trained."""
    folder = tmp_path / "tiny-001"
    short = {"RAY_memory_usage_threshold": "0.001", "RAY_memory_monitor_refresh_ms": "100"}
    done = subprocess.run(
        command(space, "--data", data, "--out", tmp_path, "--trials", 2),
        capture_output=True,
        text=True,
        env={**os.environ, **short},
        check=False,
    )
    reason = "out of memory: Ray ended its process before the machine ran out, 3 times"
    assert done.returncode == 1
    assert f"none of 2 trials could be trained; 2 of them: {reason}" in done.stderr
    assert [row["reason"] for row in read_trials(folder).to_pylist()] == [reason] * 2
    run.resume(folder, add_trials=3, quiet=True)
    found = results(folder)
    assert [found[number][1] for number in range(2)] == ["failed"] * 2
    assert {number: found[number] for number in range(2, 5)} == {
        number: whole[number] for number in range(2, 5)
    }


def test_trials_without_memory_or_without_numbers_are_recorded_and_the_search_goes_on(
    data, space, tmp_path
):
    table = run.search(
        space,
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
    data, space, tmp_path, monkeypatch
):
    monkeypatch.setattr(Sessions, "objection", lambda *given: None)  # else it is refused before
    with pytest.raises(SearchFailedError, match=r"none of \d trials could be trained; .* 40 s"):
        run.search(
            space,
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


def test_a_full_disk_ends_the_search_and_with_space_it_goes_on(data, space, whole, small_disk):
    filler = small_disk / "filler"

    def fill() -> None:
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(2**16))

    folder = small_disk / "tiny-001"
    Saboteur(folder, fill)
    with pytest.raises(SearchFailedError, match="the disk is full"):
        run.search(space, data=data, out=small_disk, quiet=True)
    assert any(state == "cut off" for _, state, _ in results(folder).values())
    filler.unlink()
    run.resume(folder, quiet=True)
    assert results(folder) == whole
