"""What is shown within an epoch, and how long a running search still takes."""

from __future__ import annotations

import io
import itertools
import shlex
import sys
from pathlib import Path

import pytest
from rich.console import Console

from emgmodels.config import Config
from emgmodels.installing import python_here
from search.engine.resources import Machine, Resources, in_words
from search.halving.rungs import expected_epochs, resolve
from search.report.display.console import Progress
from search.results.growing_tables import CURVE_METRICS
from search.results.pulse import Pulse
from search.results.record import COMPLETE, PAUSED, RUNNING, STOPPED, WAITING, TrialRecord
from search.run.estimate import Estimate, that_fit
from search.run.forecast import TimeLeft
from search.run.searching import _names_trials

SCHEDULE = resolve("asha", 12, 4, grace=4, eta=3.0)


def trial(number: int, state: str, epochs: int, seconds: float = 10.0) -> TrialRecord:
    record = TrialRecord(number, Config(seed=number), state)
    for epoch in range(1, epochs + 1):
        row = dict.fromkeys(CURVE_METRICS, 1.0)
        record.add({**row, "epoch": epoch, "seconds": seconds, "val_cer": 50.0 - epoch})
    return record


def test_a_beat_is_read_as_it_was_noted_and_others_are_silent(tmp_path):
    here, elsewhere = Pulse(tmp_path), Pulse(tmp_path / "of another machine")
    assert here.read(3) is None
    here.beat(3, 5, 0.25)
    assert here.read(3) == (5, 0.25)
    here.beat(3, 5, 0.26)  # a moment later: not worth writing
    assert here.read(3) == (5, 0.25)
    elsewhere.beat(3, 5, 0.25)
    Pulse(None).beat(3, 5, 0.25)
    assert not (tmp_path / "of another machine").exists()
    (tmp_path / "3").write_bytes(b"half")
    assert here.read(3) is None


def test_a_training_tells_of_every_step_of_an_epoch(session_paths):
    from emgmodels.notation import parse_notation
    from emgmodels.training.fit import fit
    from emgmodels.windows.cache import prepare

    model = parse_notation("conv:1(channels=4,kernel=4) norm:bin mlp:8 bins:6 hop:64 @4ch")
    config = Config.model_validate(
        {"model": model.model_dump(), "training": {"epochs": 2, "batch_size": 2}}
    )
    told: list[tuple[int, float]] = []
    recordings = prepare(session_paths[:1])
    silent = list(fit(config, recordings, recordings))
    spoken = list(fit(config, recordings, recordings, tell=lambda *beat: told.append(beat)))
    assert [result.val_loss for result in spoken] == [result.val_loss for result in silent]
    for epoch, shares in itertools.groupby(told, key=lambda beat: beat[0]):
        each = [share for _, share in shares]
        assert each == sorted(each), epoch
        assert each[-1] == 1.0
    assert len({share for _, share in told}) > 2


def test_epochs_that_a_trial_still_trains_by_hand():
    assert expected_epochs(12, [4], 3.0) == pytest.approx(4 + 8 / 3)
    assert expected_epochs(12, [4], 3.0, done=1) == pytest.approx(3 + 8 / 3)
    assert expected_epochs(12, [4], 3.0, done=4, is_compared=True) == pytest.approx(8 / 3)
    assert expected_epochs(12, [4], 3.0, done=4) == 8, "it goes on beyond the rung"
    assert expected_epochs(12, [4], 3.0, done=11) == 1
    assert expected_epochs(12, [4], 3.0, done=12) == 0


def test_time_left_is_what_epochs_took_times_those_to_come(tmp_path):
    pulse = Pulse(tmp_path)
    left = TimeLeft(SCHEDULE, 4, pulse, before=300.0)
    assert left([], 20.0) == 280.0
    assert left([trial(0, RUNNING, 0), trial(1, WAITING, 0)], 400.0) == 0.0
    begun = [trial(0, STOPPED, 4), trial(1, RUNNING, 5), trial(2, RUNNING, 0)]
    to_come = 7 + (4 + 8 / 3) + (4 + 8 / 3)  # of 1, of 2, and of the one that has not begun
    assert left(begun, 100.0) == pytest.approx(10 * to_come / 2)
    pulse.beat(1, 6, 0.5)
    assert left(begun, 100.0) == pytest.approx(10 * (to_come - 0.5) / 2)
    assert TimeLeft(SCHEDULE, 1, pulse)([trial(0, COMPLETE, 12)], 100.0) == 0.0
    # The only trial, and the best of some that are all compared, is trained whole.
    assert TimeLeft(SCHEDULE, 1, pulse)([trial(0, PAUSED, 4)], 9.0) == 80.0
    paused = [trial(0, PAUSED, 4), trial(1, PAUSED, 4), trial(2, PAUSED, 4, 5.0)]
    assert TimeLeft(SCHEDULE, 3, pulse)(paused, 9.0) == pytest.approx((80 + 80 + 40) / 3)
    assert TimeLeft(SCHEDULE, 2, pulse)(paused[:2], 9.0) == 80.0
    assert TimeLeft(SCHEDULE, 2, pulse)([trial(0, COMPLETE, 12), paused[1]], 9.0) == (
        pytest.approx(80 / 3)
    )
    assert TimeLeft(SCHEDULE, 1, pulse)([], 9.0) is None


def progress(**options: object) -> tuple[Progress, Console]:
    console = Console(file=io.StringIO(), width=120, **options)
    return Progress(console, 4, time_budget=300.0), console


@pytest.mark.parametrize("options", [{}, {"force_terminal": True, "color_system": None}])
def test_time_left_and_the_share_of_running_epochs_are_shown(options):
    shown, console = progress(**options)
    begun = [trial(0, STOPPED, 4), trial(1, RUNNING, 5), trial(2, RUNNING, 0)]
    with shown:
        shown.pulse.beat(1, 6, 0.5)
        shown.time_left = lambda trials, elapsed: 125.0
        shown._drawn = -1000.0
        shown.update(lambda: begun)
        folder = shown.pulse.folder
    text = console.file.getvalue()
    assert "0s, about 2m 05s left, budget 5m 00s" in text
    assert "1 of 4 trials ended, 2 running; best CER" in text
    assert text.index("1 of 4") < text.index("0s, about") or not console.is_terminal
    assert "001" in text
    assert "epoch 6/50, 50% of it" in text
    assert "002: epoch" not in text, "it said nothing"
    assert not folder.exists()


def test_time_left_is_at_most_what_is_left_of_the_budget():
    shown, console = progress()
    with shown:
        shown.time_left = lambda trials, elapsed: 1e6
        shown._drawn = -1000.0
        shown.update(list)
    assert (
        "about 4m 59s left" in console.file.getvalue() or "5m 00s left" in console.file.getvalue()
    )


def test_a_pipe_gets_a_first_ranking_after_a_minute_and_once():
    shown, console = progress()
    with shown:
        shown._begin -= 61
        shown.update(lambda: [trial(0, RUNNING, 0)])
        assert "Ranking" not in console.file.getvalue()
        for _ in range(2):
            shown.update(lambda: [trial(0, RUNNING, 3)])
    assert console.file.getvalue().count("Ranking after 1m 01s of searching") == 1
    assert "47.00" in console.file.getvalue()


def test_a_demo_trains_what_fits_and_never_fewer_than_a_few():
    found = Estimate(epoch=10.0, low=5.0, high=20.0, search=800.0, slots=2)
    assert that_fit(found, 16, budget=2000.0) == 16
    assert that_fit(found, 16, budget=400.0) == 4
    assert that_fit(found, 16, budget=800.0) == 9
    assert that_fit(found, 16, budget=1.0) == 4
    assert that_fit(found, 3, budget=1.0) == 3
    assert _names_trials(["search.trials=4"])
    assert not _names_trials("search.time_budget=4")


def test_where_a_search_runs_is_said(monkeypatch):
    import search.engine.resources as module

    machines = [Machine(8.0, 0.0)]
    monkeypatch.setattr(module, "_machines", lambda cluster: machines)
    said = in_words(Resources(1, 0), 16, False)
    assert said == "8 trials at once on 8 cores, 1 core each; no GPU was found."
    assert in_words(Resources(4, 0), 1, False).startswith(
        "1 trial at once on 8 cores, 4 cores each"
    )
    monkeypatch.setattr(module.torch.cuda, "get_device_name", lambda index: "NVIDIA H200")
    machines = [Machine(16.0, 2.0)]
    assert in_words(Resources(8, 1), 16, False) == (
        "2 trials at once on 16 cores, 8 cores each and a GPU; 2 GPUs (NVIDIA H200)."
    )
    assert in_words(Resources(1, 0), 3, False).endswith("2 GPUs (NVIDIA H200), not used.")
    machines = [Machine(4.0, 1.0), Machine(4.0, 1.0)]
    assert in_words(Resources(2, 0.5), 16, True) == (
        "4 trials at once on 8 cores of 2 nodes, 2 cores each and 0.5 of a GPU; 2 GPUs."
    )


@pytest.mark.parametrize("place", [".venv/bin", "my place/bin"])
def test_printed_commands_run_with_this_python(tmp_path, monkeypatch, place):
    program = tmp_path / place / "python"
    program.parent.mkdir(parents=True)
    program.symlink_to(sys.executable)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(program))
    assert shlex.split(python_here()) == [str(Path(place) / "python")]
    monkeypatch.setenv("PATH", str(program.parent))
    assert python_here() == "python"
