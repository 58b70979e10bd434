"""Intervals of trials, and the table of windows they come from."""

from __future__ import annotations

import numpy as np
import pytest

from emgmodels.bootstrap import cer_interval
from emgmodels.config import Config
from emgmodels.metrics import EditCounts
from search.results.folder import RunFolder
from search.results.growing_tables import CURVE_METRICS, trials_of
from search.results.intervals import Windows, add_intervals, from_table, to_table
from search.results.record import TrialRecord


def windows(epoch: int, edits: list[int], characters: int = 20) -> Windows:
    return Windows.of(epoch, np.array([[count, characters] for count in edits]))


def test_the_table_gives_back_what_it_was_given():
    found = {4: windows(7, [0, 300, 2]), 1: windows(2, [5, 1, 2]), 9: windows(1, [3] * 5)}
    again = from_table(to_table(found))
    assert list(again) == [4, 1, 9]
    for number, each in again.items():
        assert each.epoch == found[number].epoch
        assert each.edits.tolist() == found[number].edits.tolist()
        assert each.characters.tolist() == found[number].characters.tolist()


def test_intervals_are_computed_once_and_are_the_same_again():
    known = [windows(1, [1, 2, 3, 4, 5, 6]), windows(3, [2, 2, 2, 2, 2, 2]), windows(1, [0, 9], 10)]
    assert add_intervals(known)
    assert known[0].interval[0] < 17.5 < known[0].interval[1]
    assert known[1].interval == pytest.approx((10, 10))
    assert known[2].interval == pytest.approx((0, 90))
    first = [each.interval for each in known]
    assert not add_intervals(known)
    known[0].interval = None
    assert add_intervals(known)
    assert [each.interval for each in known] == first


def test_ranking_and_evaluation_give_the_same_windows_the_same_interval():
    edits = [1, 0, 7, 2, 3, 3, 0, 4]
    known = windows(1, edits)
    add_intervals([known])
    read = [EditCounts(substitutions=count, target=20) for count in edits]
    assert cer_interval(read) == known.interval


def test_windows_of_a_copy_may_be_newer_than_its_rows(tmp_path):
    """Storage holds files of different moments where the machine that sent them was lost."""
    folder = RunFolder.create(tmp_path, "lost")
    folder.write_space({"name": "lost"})
    record = TrialRecord(0, Config())
    record.add(dict.fromkeys(CURVE_METRICS, 1.0) | {"epoch": 1})
    record.windows = windows(1, [1, 2, 3])
    folder.trials[0] = record
    folder.append_epochs(record)
    folder.append(record)
    folder.flush()
    trials_of(folder.path).append([{**record.row(), "val_cer_low": None, "val_cer_high": None}])
    again = RunFolder.open(folder.path)
    assert again.trials[0].best_windows is not None
    assert again.trials[0].interval is None
    again.flush()
    assert again.trials[0].interval == record.interval
