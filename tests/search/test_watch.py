"""A page that is kept fresh while its search runs."""

from __future__ import annotations

import dataclasses
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.browser import browser
from helpers.reports import make_run
from helpers.searches import wait_until
from rich.console import Console
from typer.testing import CliRunner

from search.halving.ending import Ending, Why
from search.report import watch as module
from search.report.__main__ import app
from search.report.display.page import Live
from search.report.display.words import duration
from search.report.live import now
from search.report.page import report_page
from search.report.run import Run, read_run
from search.report.watch import watch
from search.results.folder import RunFolder
from search.results.lock import running
from search.results.pulse import Pulse
from search.results.record import FAILED, PAUSED, RUNNING, STOPPED
from search.run.forecast import TimeLeft


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs"), trials=12)


@pytest.fixture
def path(done, tmp_path) -> Path:
    """A search of twelve trials in its midst."""
    path = shutil.copytree(done, tmp_path / "made-up-001")
    folder = RunFolder.open(path)
    trials = [folder.trials[number] for number in range(5)]
    for trial, state in zip(trials, (RUNNING, RUNNING, PAUSED), strict=False):
        trial.state, trial.ending, trial.node = state, None, "10.0.0.7"
    trials[3].state, trials[3].ending = FAILED, Ending(Why.GPU_MEMORY)
    trials[4].state, trials[4].ending = STOPPED, Ending(Why.OUTRANKED, rung=4, rank=3, reached=4)
    folder.flush()
    return path


def with_times(run, seconds: float):
    """Return a run whose epochs arrived one after the other, in so many seconds."""
    count = sum(trial.epochs for trial in run.trials)
    place = 0
    for trial in run.trials:
        trial.curve["arrived"] = seconds * (place + np.arange(1, trial.epochs + 1)) / count
        place += trial.epochs
    return run


def test_it_says_what_runs_where_and_what_was_given_up_and_why(path):
    found = now(read_run(path))
    assert [row[2] for row in found.running.rows] == ["10.0.0.7", "10.0.0.7"]
    reasons = {row[0]: row[2] for row in found.given_up.rows}
    assert "003" in reasons["out of GPU memory"]
    assert "004" in reasons["too many others were better at rung 4"]


def test_the_end_follows_from_the_pace_and_the_budget(path):
    run = with_times(read_run(path), 600.0)
    changed = max(p.stat().st_mtime for p in path.glob("curves.parquet"))
    said = now(run, at=changed).end
    assert "12 of 12 have begun" in said
    assert "Expected to end at about" in said
    search = run.space.search.model_copy(update={"time_budget": 605.0, "trials": 400})
    run = dataclasses.replace(run, space=dataclasses.replace(run.space, search=search))
    assert "in 5s, when its time budget is spent" in now(run, at=changed).end
    assert "in 0s" in now(run, at=changed + 60).end


def test_the_page_and_the_console_say_the_same_time_left(path):
    folder = RunFolder.open(path)
    run = read_run(path)
    for trial in run.trials:
        trial.curve["seconds"] = np.full(trial.epochs, 7.0)
    for trial in folder.trials.values():
        trial.curve = [{**row, "seconds": 7.0} for row in trial.curve]
    for trials in (12, 40):
        console = TimeLeft(run.schedule, trials, Pulse(None))(folder.ranking(), 0.0)
        search = run.space.search.model_copy(update={"trials": trials, "time_budget": None})
        asked = dataclasses.replace(run, space=dataclasses.replace(run.space, search=search))
        changed = max(p.stat().st_mtime for p in path.glob("curves.parquet"))
        said = duration(console) if console < 3600 else duration(60 * round(console / 60))
        assert f"in {said}." in now(asked, at=changed).end


def test_the_pace_before_the_first_epoch_is_not_known(path):
    run = read_run(path)
    empty = [
        dataclasses.replace(trial, curve={name: each[:0] for name, each in trial.curve.items()})
        for trial in run.trials
    ]
    run = dataclasses.replace(run, trials=empty)
    assert "No epoch has ended yet" in now(run).end


def test_a_page_follows_its_search_and_becomes_its_report(path, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_EVERY", 0.05)
    monkeypatch.setattr(module, "_SHARE", 1.0)
    out, console = tmp_path / "out", Console(quiet=True)
    ended = []

    def end(console: Console, run: Run, out: Path) -> None:
        ended.append((run.path, out))

    page = out / "report.html"
    with running(path):
        watching = threading.Thread(target=watch, args=(console, path, out, end))
        watching.start()
        wait_until(page.is_file, "a page", 60)
        assert "data-again" in page.read_text()
        assert '<h2 id="now">' in page.read_text()
        folder = RunFolder.open(path)
        best = folder.trials[0]
        best.add({**best.curve[-1], "epoch": best.epoch + 1, "val_cer": 1.25})
        folder.flush()
        wait_until(lambda: "1.25" in page.read_text(), "the new epoch", 60)
        assert not ended
    watching.join(120)
    assert ended == [(path, out)]


def test_several_runs_or_none_at_hand_cannot_be_watched(path):
    for runs in ([str(path), str(path)], ["s3://bucket/run"]):
        result = CliRunner().invoke(app, [*runs, "--watch"])
        assert result.exit_code == 2
        assert "name one run folder on this machine" in result.output


def test_a_browser_loads_it_again_and_stays_in_its_place(path, tmp_path):
    page = tmp_path / "report.html"

    def write(mark: str) -> None:
        text = report_page(read_run(path), {}, (), Live(1.0, 60.0))
        page.write_text(text.replace("Written 2", f"{mark} 2", 1))

    write("First")
    with browser() as driver:
        driver.open(page.as_uri())
        driver.run(
            "document.querySelectorAll('table.sortable th button')[1].click();"
            "document.querySelector('details').open = true; scrollTo(0, 700)"
        )
        order = "return [...document.querySelectorAll('table.sortable')[0].querySelectorAll('tr')]"
        order += ".map(row => row.textContent)"
        before = driver.run(order)
        write("Second")
        driver.until("return document.body.textContent.includes('Second 2')", "the second page")
        assert driver.run("return Math.round(scrollY)") == 700
        assert driver.run("return document.querySelector('details').open")
        assert driver.run(order) == before
        assert driver.run("return document.querySelector('#age').textContent").startswith("Written")


def test_a_page_that_is_watched_no_longer_says_so(path, tmp_path):
    page = tmp_path / "report.html"
    page.write_text(report_page(read_run(path), {}, (), Live(60.0, 0.5)))
    with browser() as driver:
        driver.open(page.as_uri())
        time.sleep(1)
        said = "return document.querySelector('#age').textContent"
        driver.until(f"{said}.startsWith('Stale')", "the word stale")
