"""What a search prints: in a terminal of any width, in a pipe, in a notebook."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from rich.console import Console

from emgmodels.config import Config
from search.report.display.console import Progress, trials_table
from search.results.growing_tables import CURVE_METRICS
from search.results.intervals import Windows
from search.results.record import COMPLETE, RUNNING, TrialRecord


def trial(number: int, cer: float, state: str) -> TrialRecord:
    model = {"encoder": {"order": ["recurrent", "conv"]}}
    record = TrialRecord(number, Config.model_validate({"model": model}), state)
    record.add(dict.fromkeys(CURVE_METRICS, 1.0) | {"epoch": 3, "val_cer": cer})
    record.windows = Windows(3, np.array([5]), np.array([40]), interval=(cer - 0.5, cer + 0.5))
    record.node = "10.0.0.7"
    return record


RANKING = [trial(4, 12.5, COMPLETE), trial(0, 47.25, RUNNING)]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_table_fits_and_names_rank_cer_and_state_at_any_width(width):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(trials_table(RANKING, console.width).rich("Ranking"))
    shown = console.file.getvalue()
    assert all(len(line) <= width for line in shown.splitlines())
    for text in ("12.50", "47.25", "3/50", "complete", "004"):
        assert text in shown
    assert ("1.000" in shown) == (width >= 96)
    assert ("12.0 to 13.0" in shown) == (width >= 72)


def printed(verbose: bool = False, **options) -> str:
    console = Console(file=io.StringIO(), width=60, **options)
    with Progress(console, 2, verbose=verbose) as progress:
        progress._drawn = -1000.0  # long ago: it is time to draw
        progress.update(lambda: RANKING)
        for record in RANKING:
            progress.reported(record)
        progress.ended(RANKING[0])
    return console.file.getvalue()


def test_terminal_shows_one_table_in_its_place_and_removes_it():
    shown = printed(force_terminal=True, color_system=None)
    assert "1 of 2 trials ended, 1 running; best CER 12.50 %" in shown
    assert re.search(r"\x1b\[\d*A|\x1b\[2K", shown)  # the cursor goes back over it


def test_pipe_has_a_line_an_event_and_no_control_characters():
    lines = printed(force_terminal=False).splitlines()
    assert lines == [
        "0s; 1 of 2 trials ended, 1 running; best CER 12.50 % at epoch 3",
        "004 gru:4 conv:4 @16ch: best CER 12.50 % at epoch 3; ",
    ]


def test_trainings_of_a_list_are_called_by_their_names_too():
    console = Console(file=io.StringIO(), width=80)
    with Progress(console, 2) as progress:
        progress.called = {4: "anna-2-min-fine-tuned"}
        progress.ended(RANKING[0])
    assert "004 gru:4 conv:4 @16ch (anna-2-min-fine-tuned): best CER" in console.file.getvalue()


def test_verbose_adds_a_line_an_epoch():
    shown = printed(verbose=True, force_terminal=False)
    assert (
        "004 gru:4 conv:4 @16ch: epoch 3/50, CER 12.50 %, loss 1.000 in training and 1.000 in "
        "validation, 1s on 10.0.0.7\n"
    ) in shown


def test_quiet_prints_nothing():
    assert printed(quiet=True, verbose=True) == ""


def test_notebook_draws_one_output_anew(monkeypatch):
    display = pytest.importorskip("IPython.display", reason="IPython is not installed")
    drawn = []

    class Handle:
        update = drawn.append

    monkeypatch.setattr(display, "display", lambda page, display_id: Handle)
    assert printed(force_jupyter=True) == ""
    table, cleared = drawn
    assert "12.50" in table.data
    assert "gru:4" in table.data
    assert "12.50" not in cleared.data
