"""The list of runs, over folders in every state that a search can be left in."""

from __future__ import annotations

import os

import pyarrow as pa
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from emgmodels.config import Config
from search.halving.ending import ending_of
from search.results.folder import RunFolder
from search.results.listing import list_runs
from search.results.lock import running
from search.results.record import COMPLETE, CUT_OFF, FAILED, RUNNING, TrialRecord
from search.runs import app

ENDS = {
    "finished": [(COMPLETE, ""), (FAILED, "out of memory")],
    "finished-in-time": [
        (COMPLETE, "trained all 1 epochs"),
        (CUT_OFF, "paused at epoch 2 when the time budget was spent"),
    ],
    "interrupted": [
        (COMPLETE, ""),
        (CUT_OFF, "the search was interrupted"),
        (CUT_OFF, "paused at epoch 2 when the time budget was spent"),
    ],
    "error-that-says-so": [(COMPLETE, ""), (FAILED, "ValueError: the time budget was spent")],
    "killed": [(COMPLETE, ""), (RUNNING, "")],
    "failed": [(FAILED, "out of memory"), (FAILED, "out of memory")],
    "empty": [],
}


def make_run(parent, name, ends) -> RunFolder:
    folder = RunFolder.create(parent, name)
    folder.write_space({"name": name})
    for number, (state, reason) in enumerate(ends):
        ending = ending_of(reason)
        trial = TrialRecord(number, Config.model_validate({"name": name}), state, ending)
        if state == COMPLETE:
            trial.add({"epoch": 1, "val_cer": 12.5, "seconds": 1.0})
        folder.trials[number] = trial
    if ends:
        folder.flush()
    return folder


def without_words(table: pa.Table) -> pa.Table:
    place = table.column_names.index("reason")
    return table.set_column(place, "reason", pa.array(["in other words"] * table.num_rows))


@pytest.mark.parametrize(
    "written",
    [without_words, lambda table: table.drop_columns(["ending", "ending_facts"])],
    ids=["now", "by an older version"],
)
@pytest.mark.parametrize(("name", "ends"), ENDS.items())
def test_state_follows_from_the_files(name, ends, written, tmp_path):
    run = make_run(tmp_path, name, ends).path
    if ends:
        table = pa.parquet.read_table(run / "trials.parquet")
        pa.parquet.write_table(written(table), run / "trials.parquet")
    [found] = list_runs(tmp_path)
    expected = {"finished-in-time": "out of time", "killed": "interrupted", "empty": "interrupted"}
    expected["error-that-says-so"] = "finished"
    assert found.state == expected.get(name, name)
    assert found.val_cer == (12.5 if COMPLETE in dict(ends) else None)
    assert found.trials == len(ends)
    assert found.size == sum(p.stat().st_size for p in found.path.rglob("*") if p.is_file())


def test_a_search_runs_as_long_as_its_process_holds_the_folder(tmp_path):
    folder = make_run(tmp_path, "deep", ENDS["killed"])
    with running(folder.path):
        assert list_runs(tmp_path)[0].state == "running"
        with pytest.raises(ValueError, match="deep-001: its search is running already"):
            running(folder.path).__enter__()
    assert list_runs(tmp_path)[0].state == "interrupted"


def test_a_search_runs_where_the_file_system_knows_no_locks(tmp_path, monkeypatch):
    import fcntl

    def refuse(file, how):
        raise OSError(95, "Operation not supported")

    folder = make_run(tmp_path, "deep", ENDS["killed"])
    monkeypatch.setattr(fcntl, "flock", refuse)
    with running(folder.path):
        assert list_runs(tmp_path)[0].state == "interrupted"


def test_command_shows_each_run_also_where_a_terminal_is_narrow(tmp_path):
    for name, ends in ENDS.items():
        make_run(tmp_path, name, ends)
    shown = CliRunner().invoke(app, [str(tmp_path)])
    assert shown.exit_code == 0
    for name in ENDS:
        assert f"{name}-001" in shown.stdout
    assert "12.50" in shown.stdout


def test_command_says_where_runs_are_when_there_are_none(tmp_path, monkeypatch):
    missing = CliRunner().invoke(app, [str(tmp_path / "nope")])
    assert missing.exit_code == 2
    assert "nope: is no folder" in missing.stderr
    for words in ([str(tmp_path)], [], ["runs"]):
        monkeypatch.chdir(tmp_path)
        first = CliRunner().invoke(app, words)
        assert first.exit_code == 0, "nobody has searched yet"
        assert "holds no run folder yet" in first.stdout
        assert "-m search.run spaces/deep.yaml" in first.stdout


def test_odd_names_are_shown_and_the_newest_stands_first(tmp_path):
    names = ("[red]a", "b c", "Läufe", "\x1b[31mred", "-x", "'q'")
    for age, name in enumerate(names):
        path = make_run(tmp_path, name, ENDS["finished"]).path
        os.utime(path / "trials.parquet", (1e9 - age, 1e9 - age))
    (tmp_path / "again").symlink_to(path)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    found = list_runs(tmp_path)
    assert [run.path.name for run in found if run.path.name != "again"] == [
        f"{name}-001" for name in names
    ]
    shown = CliRunner().invoke(app, [str(tmp_path)]).stdout
    assert "\x1b[31m" not in shown
    for name in ("[red]a-001", "b c-001", "Läufe-001", "-x-001", "'q'-001"):
        assert name in shown


def unknown_architecture(run):
    table = pa.parquet.read_table(run / "trials.parquet")
    index = table.column_names.index("architecture")
    odd = pa.array(["warp:3 @16ch"] * table.num_rows)
    pa.parquet.write_table(table.set_column(index, "architecture", odd), run / "trials.parquet")


def no_reason(run):
    table = pa.parquet.read_table(run / "trials.parquet")
    pa.parquet.write_table(table.drop_columns("reason"), run / "trials.parquet")


def cut_short(run):
    path = run / "trials.parquet"
    path.write_bytes(path.read_bytes()[:-20])


def folder_in_place_of_space(run):
    (run / "space.yaml").unlink()
    (run / "space.yaml").mkdir()


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (unknown_architecture, "warp"),
        (no_reason, "has no column reason"),
        (cut_short, "trials.parquet: is no Parquet file"),
        (lambda run: (run / "space.yaml").unlink(), "no space.yaml"),
        (folder_in_place_of_space, "no space.yaml"),
        (lambda run: (run / ".trials.rows").write_text("nonsense\n"), ""),
    ],
    ids=["architecture", "column", "parquet", "space", "folder", "rows"],
)
def test_a_run_that_cannot_be_read_hides_no_other(damage, why, tmp_path):
    odd = make_run(tmp_path, "odd", ENDS["finished"]).path
    good = make_run(tmp_path, "good", ENDS["finished"]).path
    damage(odd)
    found = {run.path: run for run in list_runs(tmp_path)}
    assert found[good].state == "finished"
    assert found[odd].state == "unreadable"
    assert why in found[odd].why
    shown = CliRunner().invoke(app, [str(tmp_path)])
    assert shown.exit_code == 0
    assert "good-001" in shown.stdout
    assert "unreadable" in shown.stdout
