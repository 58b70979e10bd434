"""A ranking says the same of a trial while it is in memory and when it is read from disk."""

from __future__ import annotations

import csv
import io

import pytest

from emgmodels.config import Config
from emgmodels.notation import parse_notation
from search.halving.ending import Ending, Why
from search.report.display.ranking import About, View, ranking
from search.report.display.tensorboard import leaderboard
from search.report.files import CSV_MARK
from search.results.folder import RunFolder
from search.results.growing_tables import CURVE_METRICS
from search.results.reading import read_trials
from search.results.record import COMPLETE, CUT_OFF, RUNNING, STOPPED, TrialRecord
from search.results.trial_row import TrialRow, facts_of, rows_of

HEADERS = {
    View.LIVE: "#|trial|architecture|epoch|loss|CER %|95 %|front|state",
    View.BOARD: "#|trial|CER %|epochs|how it ended",
    View.PAGE: "rank|trial|architecture|val CER %|95 % interval|test CER %|epochs|parameters|"
    "MMAC/s|look-ahead|electrodes|front|time|how it ended",
    View.TOP: "rank|trial|architecture|val CER %|test CER %|parameters|epochs",
    View.BRIEF: "rank|trial|architecture|val CER %|95 % interval|test CER %|epochs|parameters|"
    "MMAC/s|look-ahead|electrodes|front|state",
    View.FILE: "rank|trial|architecture|val_cer|val_cer_low|val_cer_high|test_cer|best_epoch|"
    "kept_epoch|epochs|max_epochs|state|reason|parameters|macs_per_second|lookahead_ms|"
    "electrodes|seconds|front",
}
"""Every column that a view can have."""
FEWEST = {
    View.LIVE: "#|trial|architecture|epoch|CER %|state",
    View.BOARD: HEADERS[View.BOARD],
    View.PAGE: "rank|trial|architecture|val CER %|epochs|parameters|look-ahead|time|how it ended",
    View.TOP: "rank|trial|architecture|val CER %|parameters|epochs",
    View.BRIEF: "rank|trial|architecture|val CER %|epochs|parameters|look-ahead|state",
    View.FILE: HEADERS[View.FILE].removesuffix("|front"),
}
"""Those of a narrow terminal, one objective, and no test CER or interval that is known."""


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    """Two trials that trained, of which one was stopped, and one that never did."""
    folder = RunFolder.create(tmp_path, "tiny")
    folder.write_space({"name": "tiny"})
    ends = (
        ("conv:1(channels=2,kernel=5) hop:64 mlp:8 @4ch", COMPLETE, Ending(Why.WHOLE, epoch=2)),
        ("gru:1 hop:64 mlp:8", STOPPED, Ending(Why.OUTRANKED, rung=1, rank=3, reached=4)),
        ("none hop:64 mlp:8", CUT_OFF, Ending(Why.TIME_BUDGET).cut("waiting", 0)),
    )
    for number, (text, state, ending) in enumerate(ends):
        config = Config.model_validate({"training": {"epochs": 2}})
        config = config.model_copy(update={"model": parse_notation(text)})
        trial = folder.trials[number] = TrialRecord(number, config, state, ending)
        for epoch in range(1, 3 - number):
            row = dict.fromkeys(CURVE_METRICS, 1.5) | {"epoch": epoch, "val_cer": 20.0 - epoch}
            trial.add(row | {"best_epoch": epoch, "best_windows": [[1, 5], [2, 5]]})
    folder.flush()
    return folder


@pytest.mark.parametrize("view", View)
def test_a_view_has_its_columns(folder, view):
    rows = rows_of(folder.ranking(), front=[0])
    objectives = ("val_cer", "macs", "electrodes")
    whole = About(view, rows, objectives, is_evaluated=True, has_front=True, width=96)
    assert ranking(whole).headers == HEADERS[view].split("|")
    assert ranking(About(view, rows[-1:], width=60)).headers == FEWEST[view].split("|")
    assert HEADERS[View.FILE].replace("|", ",").startswith(CSV_MARK)


@pytest.mark.parametrize("view", [view for view in View if view is not View.LIVE])
def test_a_row_is_the_same_in_memory_and_on_disk(folder, view):
    live = rows_of(folder.ranking())
    read = [TrialRow(**facts_of(row)) for row in read_trials(folder.path).to_pylist()]
    tables = [ranking(About(view, rows)) for rows in (live, read)]
    assert tables[0].csv() == tables[1].csv()


def test_an_interval_that_is_not_computed_yet_is_told(folder):
    """Tables are written less often than epochs end."""
    row = dict.fromkeys(CURVE_METRICS, 1.5) | {"epoch": 3, "val_cer": 17.0}
    folder.trials[0].state = RUNNING
    folder.trials[0].add(row | {"best_epoch": 3, "best_windows": [[1, 5], [2, 5]]})
    table = ranking(About(View.LIVE, rows_of(folder.ranking()), width=96))
    shown = [cells[table.headers.index("95 %")] for cells in table.rows]
    assert shown == ["not yet", "20.0 to 40.0", ""]


def test_every_way_of_writing_has_the_same_cells(folder):
    rows = rows_of(folder.ranking())
    page = ranking(About(View.PAGE, rows))
    cells = ["2", "001", "gru:1 mlp:8 hop:64 @16ch", "19.00"]
    assert list(page.rows[1])[:4] == cells
    assert "".join(f"| {cell} " for cell in cells) in page.markdown()
    assert "".join(f">{cell}</td><td" for cell in cells[:1]) in page.html()
    written = ranking(About(View.FILE, rows)).csv()
    found = list(csv.DictReader(io.StringIO(written)))
    assert [row["reason"] for row in found][1:] == [
        "stopped at rung 1: rank 3 of 4",
        "waiting at epoch 0 when the time budget was spent",
    ]
    assert (found[0]["val_cer"], found[0]["electrodes"]) == ("18.0", "8")
    board = leaderboard(folder.ranking(), "on made-up data").splitlines()
    assert board[0] == "Ranking by validation CER, on made-up data"
    assert board[-1].startswith("| 3 | 002 none @16ch | – | 0/2 | cut off: waiting at epoch 0")
