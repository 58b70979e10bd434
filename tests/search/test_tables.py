"""Tables that grow: what a reader sees, whatever became of the writer; and how much is written."""

from __future__ import annotations

import itertools
import json
import math
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from emgmodels.config import Config
from search.results.folder import RunFolder
from search.results.growing_tables import CURVE_METRICS, curves_of, read_parquet, trials_of
from search.results.reading import read_curves, read_trials
from search.results.record import COMPLETE, RUNNING, TrialRecord
from search.space.objectives import on_front


def epoch_of(epoch: int, cer: float) -> dict[str, float]:
    return dict.fromkeys(CURVE_METRICS, 1.0) | {"epoch": epoch, "val_cer": cer}


def curve_row(trial: int, epoch: int, cer: float) -> dict[str, float]:
    return {"trial": trial, **epoch_of(epoch, cer)}


def cers(folder: Path) -> dict[tuple[int, int], float]:
    return {(r["trial"], r["epoch"]): r["val_cer"] for r in read_curves(folder).to_pylist()}


def test_appended_rows_are_read_before_and_after_they_are_brought_in(tmp_path):
    table = curves_of(tmp_path)
    table.append([curve_row(1, 1, 9.0), curve_row(0, 1, math.nan)])
    table.append([curve_row(1, 2, math.inf)])
    before = cers(tmp_path)
    assert list(before) == [(0, 1), (1, 1), (1, 2)]
    assert math.isnan(before[0, 1])
    assert before[1, 2] == math.inf
    table.bring_in()
    assert not table.rows_path.exists()
    after = cers(tmp_path)
    assert list(after) == list(before)
    assert after[1, 1] == 9.0


def test_a_full_disk_takes_all_of_a_row_or_nothing(tmp_path):
    """The next row stands on a line of its own, and not behind a part of the one that failed."""
    table = curves_of(tmp_path)
    table.append([curve_row(0, 1, 9.0)])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (table.rows_path.stat().st_size + 10, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            table.append([curve_row(0, 2, 8.0)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    table.append([curve_row(0, 3, 7.0)])
    assert cers(tmp_path) == {(0, 1): 9.0, (0, 3): 7.0}


def test_a_repeated_epoch_replaces_what_came_after_it(tmp_path):
    """A trial that went back to its checkpoint: in the file, among the rows, and in both."""
    table = curves_of(tmp_path)
    table.append([curve_row(0, e, 10.0 + e) for e in (1, 2, 3)] + [curve_row(1, 3, 5.0)])
    table.bring_in()
    table.append([curve_row(0, 2, 20.0), curve_row(0, 3, 30.0), curve_row(0, 3, 31.0)])
    wanted = {(0, 1): 11.0, (0, 2): 20.0, (0, 3): 31.0, (1, 3): 5.0}
    assert cers(tmp_path) == wanted
    rows = table.rows_path.read_bytes()
    table.bring_in()
    table.rows_path.write_bytes(rows)  # killed after the file was replaced: rows are there twice
    assert cers(tmp_path) == wanted


@pytest.mark.parametrize("torn", [b'{"trial": 0, "epo', b'{"trial": 0, "epoch": 3}'])
def test_a_torn_last_line_costs_that_line_only(tmp_path, torn):
    table = curves_of(tmp_path)
    table.append([curve_row(0, 1, 1.0)])
    with table.rows_path.open("ab") as file:
        file.write(torn)
    assert list(cers(tmp_path)) == [(0, 1)]
    curves_of(tmp_path).append([curve_row(0, 2, 2.0)])  # of a search that was resumed
    assert list(cers(tmp_path)) == [(0, 1), (0, 2)]


def test_trials_are_ranked_and_their_newest_row_counts(tmp_path):
    table = trials_of(tmp_path)
    rows = [(3, None), (2, 50.0), (1, 50.0), (0, 70.0)]
    table.append([{"trial": t, "val_cer": c, "state": "running"} for t, c in rows])
    table.bring_in()
    table.append([{"trial": 0, "val_cer": 10.0, "state": "complete", "late": 1}])
    for found in (table.read(), table.bring_in()):
        assert found["trial"].to_pylist() == [0, 1, 2, 3]
        assert found["rank"].to_pylist() == [1, 2, 3, 4]
        assert found["val_cer"].to_pylist() == [10.0, 50.0, 50.0, None]
        assert found["late"].to_pylist() == [1, None, None, None]
        assert "front" not in found.column_names


def test_of_several_objectives_the_front_is_marked_and_follows_the_newest_rows(tmp_path):
    (tmp_path / "space.yaml").write_text("search: {objectives: [macs, val_cer, electrodes]}")
    table = trials_of(tmp_path)
    cers, macs, electrodes = [None, 50.0, 40.0, 30.0, 60.0], [1, 2, 3, 2, 2], [1, 8, 16, 16, 4]
    table.append(
        [
            {"trial": t, "val_cer": cers[t], "macs_per_second": macs[t], "electrodes": e}
            for t, e in enumerate(electrodes)
        ]
    )
    found = table.bring_in()
    assert found["trial"].to_pylist() == [3, 2, 1, 4, 0]
    assert found["front"].to_pylist() == [True, False, True, True, False]
    table.append([{"trial": 4, "val_cer": 50.0, "macs_per_second": 2, "electrodes": 4}])
    for found in (table.read(), table.bring_in()):
        assert found["trial"].to_pylist() == [3, 2, 1, 4, 0]
        assert found["front"].to_pylist() == [True, False, False, True, False]


def test_the_front_is_what_no_other_point_beats():
    points = np.random.default_rng(0).integers(4, size=(200, 3)).astype(float)
    points[:5, 1] = np.inf
    beaten = [
        any((other <= point).all() and (other < point).any() for other in points)
        for point in points
    ]
    assert on_front(points).tolist() == [not each for each in beaten]


@pytest.mark.parametrize("values", [(2, "2 2"), ("2 2", 2), (None, 2.5), (2, 2.5)])
def test_a_setting_may_differ_in_kind_between_file_and_rows(tmp_path, values):
    table = trials_of(tmp_path)
    for trial, value in enumerate(values):
        table.append([{"trial": trial, "val_cer": 1.0, "stride": value}])
        found = table.bring_in()
    text = any(isinstance(value, str) for value in values)
    assert found["stride"].to_pylist() == [str(v) if text else v for v in values]


KILLED = """
import sys
import threading
from pathlib import Path
from emgmodels.config import Config
from search.results.folder import RunFolder
from search.results.growing_tables import CURVE_METRICS
from search.results.record import RUNNING, TrialRecord
folder = RunFolder(Path(sys.argv[1]))
for number in range(10**6):
    record = TrialRecord(number, Config(seed=number), RUNNING)
    folder.trials[number] = record
    folder.append(record)
    for epoch in (1, 2, 3):
        record.add(dict.fromkeys(CURVE_METRICS, 1.0) | {"epoch": epoch})
        folder.append_epochs(record)
    record.state = "complete"
    folder.append(record)
    print(number, flush=True)
    if number % 3 == 0:
        folder.flush()
"""


@pytest.mark.parametrize("after", [0.1, 0.4])
def test_a_kill_at_any_moment_loses_nothing_that_was_reported(tmp_path, after):
    (tmp_path / "space.yaml").write_text("name: killed")
    writer = subprocess.Popen(
        [sys.executable, "-c", KILLED, tmp_path], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    time.sleep(after)
    writer.send_signal(signal.SIGKILL)
    ended = [0, *map(int, writer.stdout.read().split())]
    writer.wait()
    trials = {row["trial"]: row for row in read_trials(tmp_path).to_pylist()}
    epochs = set(cers(tmp_path))
    for number in ended:
        assert trials[number]["state"] == "complete"
        assert {(number, epoch) for epoch in (1, 2, 3)} <= epochs
    assert max(ended) <= max(trials) <= max(ended) + 1
    again = RunFolder.open(tmp_path)
    assert set(again.trials) == set(trials)
    again.flush()
    assert read_trials(tmp_path)["trial"].to_pylist() == sorted(trials)
    assert pyarrow.csv.read_csv(tmp_path / "trials.csv").num_rows == len(trials)


class Clock:
    """Time that passes when it is told to."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def bytes_written(folder: RunFolder, clock: Clock, trials: int, seconds: float) -> int:
    """Run so many trials of two epochs, each of so many seconds; return all bytes written."""
    files: dict[Path, tuple[int, int]] = {}
    written = 0
    for number in range(trials):
        record = TrialRecord(number, Config(seed=number), RUNNING)
        folder.trials[number] = record
        folder.append(record)
        for epoch in (1, 2):
            record.add(epoch_of(epoch, 100.0 - number % 7))
            folder.append_epochs(record)
        record.state = COMPLETE
        folder.append(record)
        clock.now += seconds
        for _ in range(2):
            for path in folder.path.iterdir():
                size, inode = path.stat().st_size, path.stat().st_ino
                before = files.get(path, (0, 0))
                written += size - before[0] if inode == before[1] else size
                files[path] = size, inode
            files = {path: known for path, known in files.items() if path.exists()}
            if not folder.is_due():
                break
            folder.flush()
    return written


def test_bytes_written_a_trial_do_not_grow_with_their_number(tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr("search.results.folder.time", clock)
    each = {}
    for trials in (100, 400):
        folder = RunFolder.create(tmp_path, f"of-{trials}")
        each[trials] = bytes_written(folder, clock, trials, seconds=0.03) / trials
        folder.flush()
    row = len(json.dumps(folder.trials[7].row()))
    assert each[400] < 1.3 * each[100] < 1.3 * (3 * row + 100_000 * 0.03)
    assert read_trials(folder.path).num_rows == 400
    assert pyarrow.parquet.read_table(folder.path / "curves.parquet").num_rows == 800


def test_of_slow_trials_files_are_written_anew_at_a_bounded_rate(tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr("search.results.folder.time", clock)
    monkeypatch.setattr("search.results.folder._WRITTEN_ANEW", 1_000)
    folder = RunFolder.create(tmp_path, "slow")
    row = len(json.dumps(TrialRecord(0, Config()).row()))
    assert bytes_written(folder, clock, 50, seconds=10) < 50 * (3 * row + 1.2 * 1_000 * 10)


def test_a_table_is_read_while_a_search_puts_another_in_its_place(tmp_path):
    path = tmp_path / "t.parquet"
    tables = [pa.table({"x": list(range(n))}) for n in (10, 5000)]
    pa.parquet.write_table(tables[0], path)
    over = threading.Event()

    def replace():
        for table in itertools.cycle(tables):
            pa.parquet.write_table(table, tmp_path / "next")
            os.replace(tmp_path / "next", path)
            if over.is_set():
                return

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        assert {read_parquet(path).num_rows for _ in range(400)} <= {10, 5000}
    finally:
        over.set()
        writer.join()
