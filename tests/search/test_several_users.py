"""Searches over several users: who is held out, what ranks, and what is told of each user."""

from __future__ import annotations

import io
import json
import os
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from conftest import make_session
from helpers.searches import ONE_AT_ONCE, killed, results, search_command, wait_for_epochs
from pyarrow.fs import LocalFileSystem
from rich.console import Console
from typer.testing import CliRunner

from emgmodels.config import Config
from emgmodels.notation import parse_notation
from emgmodels.scoring import RANKINGS, Scoring
from emgmodels.sessions import write_session
from search import run
from search.evaluate.evaluating import evaluate
from search.people.output import check_files, title_of, write_files
from search.people.results import Found, write_found
from search.report.files import write_report
from search.report.run import read_run
from search.results.folder import RunFolder
from search.results.growing_tables import CURVE_METRICS, USER_RATES, curves_of, read_parquet
from search.results.intervals import Windows
from search.results.own_files import check_own
from search.results.people import by_user, people_facts
from search.results.reading import read_curves, read_trials
from search.results.record import COMPLETE, TrialRecord
from search.run.command import app
from search.run.confirm import confirm_winners
from search.run.ranking import print_ranking
from search.space import load_space
from search.storage import Mirror, Place
from search.storage.mirror import fetch

USERS = ("anna", "bob", "carl", "dora", "eve")
SPACE = """
name: tiny
data: {people: {val: 2, test: [eve]}}
model:
  features: {hop: 64, bins: 6}
  norm: bin
  mlp_features: 12
  encoder: {order: [recurrent], recurrent: {layers: 1, hidden: {choice: [8, 10, 12]}}}
training: {epochs: 5, batch_size: 4, learning_rate: 5e-3, warmup_steps: 3, balance: users, aligned_start: {epochs: 5}}
search: {trials: 3, sampler: random, rank_by: worst_user, scheduler: {name: asha, grace: 2, eta: 2}}
"""  # noqa: E501


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Five users of whom each has a session of the same name, in a folder of its own."""
    folder = tmp_path_factory.mktemp("people")
    for place, user in enumerate(USERS):
        session = make_session(seconds=16 + 4 * place, seed=place, name="monday", user=user)
        (folder / user).mkdir()
        write_session(folder / user / "monday.hdf5", session)
    return folder


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    path = tmp_path_factory.mktemp("space") / "tiny.yaml"
    path.write_text(SPACE)
    return path


def made_up(tmp_path, users, seed=0):
    """Return a run folder of two trials that were validated on as many windows of each user."""
    rng = np.random.default_rng(seed)
    folder = RunFolder.create(tmp_path, "made-up")
    folder.write_space(load_space_of(tmp_path).resolved())
    whose = [user for user in users for _ in range(5)]
    folder.write_environment({"subject": f"{len(users)} people", **people_facts(whose, None)})
    scoring, characters = Scoring.of(whose), rng.integers(10, 30, len(whose))
    for number in range(2):
        edits = rng.binomial(characters, np.repeat(rng.uniform(0.1, 0.6, len(users)), 5))
        rates = scoring.rates(edits, characters)
        named = {f"val_cer_{name}": float(getattr(rates, name)) for name in (*RANKINGS, "sd_user")}
        cer = float(rates.mean_user)
        values = dict.fromkeys(CURVE_METRICS, 1.0) | named | {"val_cer": cer, "best_val_cer": cer}
        windows = np.stack([edits, characters], axis=1)
        config = Config(model=parse_notation(f"gru:1(hidden={8 + number}) mlp:8 hop:64 @16ch"))
        trial = folder.trials[number] = TrialRecord(number, config, COMPLETE)
        trial.add({"epoch": 1, "best_epoch": 1, "best_windows": windows, **values})
    folder.flush()
    return folder


def load_space_of(folder):
    (folder / "tiny.yaml").write_text(SPACE)
    return load_space(folder / "tiny.yaml")


def test_tables_have_figures_over_users_and_a_row_for_each(tmp_path):
    folder = made_up(tmp_path, USERS)
    users = read_parquet(folder.path / "users.parquet").to_pylist()
    assert len(users) == 2 * len(USERS)
    for row in read_trials(folder.path).to_pylist():
        cers = [each["cer"] for each in users if each["trial"] == row["trial"]]
        assert row["val_cer"] == row["val_cer_mean_user"] == pytest.approx(np.mean(cers))
        assert row["val_cer_sd_user"] == pytest.approx(np.std(cers, ddof=1))
        assert row["val_cer_worst_user"] == pytest.approx(max(cers))
        assert row["val_cer_low"] < row["val_cer"] < row["val_cer_high"]
    again = RunFolder.open(folder.path)
    assert [trial.interval for trial in again.ranking()] == [t.interval for t in folder.ranking()]


def test_a_row_for_each_trial_and_user_is_as_the_plain_way_counts_it():
    """Windows in any order, a user without characters, and a trial of other windows."""
    rng, whose = np.random.default_rng(5), "abacbcad"
    scoring = Scoring.of(whose)
    characters = np.array([0 if user == "d" else 9 for user in whose], np.uint16)
    windows = {
        trial: Windows(trial + 3, rng.integers(0, 60_000, 8).astype(np.uint16), characters)
        for trial in (4, 2, 7)
    }
    windows[5] = Windows(1, np.zeros(3, np.uint16), np.ones(3, np.uint16))
    plain = []
    for trial in (4, 2, 7):
        for user in "abcd":
            own = [place for place, name in enumerate(whose) if name == user]
            edits = sum(int(windows[trial].edits[place]) for place in own)
            typed = sum(int(characters[place]) for place in own)
            row = {"trial": trial, "epoch": trial + 3, "user": user, "windows": len(own)}
            cer = 100.0 * edits / typed if typed else None
            plain.append({**row, "edits": edits, "characters": typed, "cer": cer})
    assert by_user(windows, scoring).to_pylist() == plain
    assert by_user({}, scoring).num_rows == 0


def test_a_run_that_an_older_version_began_goes_on_and_is_opened_again(tmp_path):
    """Its epochs have no figures over users, and those that follow have."""
    path = made_up(tmp_path, ["anna"]).path
    pa.parquet.write_table(
        read_parquet(path / "curves.parquet").drop_columns(list(USER_RATES)),
        path / "curves.parquet",
    )
    folder = RunFolder.open(path)
    trial = folder.trials[0]
    trial.add({**trial.curve[0], "epoch": 2, "val_cer_pooled": 7.0})
    folder.append_epochs(trial)
    for _ in range(2):  # with the new epoch appended to the file, then in it
        known = RunFolder.open(path)
        curve = known.trials[0].curve
        assert [row["epoch"] for row in curve] == [1, 2]
        assert "val_cer_pooled" not in curve[0]
        assert curve[1]["val_cer_pooled"] == 7.0
        known.flush()
    assert len(read_run(path).trials) == 2


@pytest.mark.parametrize(("count", "is_folded"), [(5, False), (100, True)])
def test_the_report_has_a_row_for_each_user_and_folds_many(tmp_path, count, is_folded):
    users = [f"u{place:02d}" for place in range(count)]
    folder = made_up(tmp_path, users)
    write_report(read_run(folder.path), tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    markdown = (tmp_path / "report" / "leaderboard.md").read_text()
    best = read_trials(folder.path).to_pylist()[0]
    spread = f"{best['val_cer_mean_user']:.2f} ± {best['val_cer_sd_user']:.2f}"
    for text in (page, markdown):
        assert "ranked by the mean over users" in text
        assert spread in text
        assert all(f"{user}<" in text or f"| {user} |" in text for user in users)
        assert (f"all of {len(users)} users" in text) == is_folded
    assert (f"<summary>all of {len(users)} users</summary>" in markdown) == is_folded


@pytest.mark.parametrize("count", [5, 100])
def test_a_search_ends_with_a_row_for_each_user_and_of_many_with_the_worst(tmp_path, count):
    folder = made_up(tmp_path, [f"u{place:02d}" for place in range(count)])
    console = Console(file=io.StringIO(), width=100)
    print_ranking(console, folder, synthetic=False)
    text = console.file.getvalue()
    best = folder.ranking()[0].number
    users = read_parquet(folder.path / "users.parquet").to_pylist()
    cers = sorted(
        ((row["cer"], row["user"]) for row in users if row["trial"] == best), reverse=True
    )
    shown = re.findall(r"(u\d+) +│ +[\d,]+ │ +([\d.]+) │", text)
    assert [cer for _, cer in shown] == [f"{cer:.2f}" for cer, _ in cers[:12]]
    assert {user for user, _ in shown} <= {user for _, user in cers}
    assert (f"... and {count - 12} more in {folder.path / 'users.parquet'}" in text) == (count > 12)


def test_a_run_of_one_user_has_nothing_of_users(tmp_path):
    folder = made_up(tmp_path, ["anna"])
    console = Console(file=io.StringIO(), width=100)
    print_ranking(console, folder, synthetic=False)
    assert "users" not in console.file.getvalue()
    assert not (folder.path / "users.parquet").exists()
    write_report(read_run(folder.path), tmp_path / "report")
    assert "## Users" not in (tmp_path / "report" / "leaderboard.md").read_text()


def compared(folder):
    """Write what a comparison over people leaves in a run folder."""
    row = Found("eve", "zero-shot", 0.0, False, 9.0, 8.0, 10.0, 99, "ab", 0, "monday")
    run = folder.path / "people"
    run.mkdir()
    write_found(run, [row])
    write_files(run, [row, replace(row, way="fine-tuned", minutes=2.0)], title_of("it"), "data")
    return run


@pytest.mark.parametrize("part", ["", "people"])
def test_a_stored_run_is_fetched_again_after_any_of_its_files_changed(tmp_path, monkeypatch, part):
    """All that a search over people and a comparison write is known as the search's own."""
    store = LocalFileSystem(), str(tmp_path / "store")
    monkeypatch.setattr(Place, "open", lambda self: store)
    folder = made_up(tmp_path, USERS)
    compared(folder)
    (folder.path / "people" / "start.pt").write_bytes(b"weights")
    place, copy = Place("s3://bucket/run"), tmp_path / "copy"
    mirror = Mirror(folder.path, place)
    (tmp_path / "store" / "people").mkdir(parents=True)
    table = curves_of(folder.path / part)
    table.append([{"trial": 0, "epoch": 1}])
    mirror.push()
    fetch(place, copy)
    files = [each for each in folder.path.rglob("*") if each.is_file()]
    assert {each.name for each in files} > {"users.parquet", "people.pdf", "windows.parquet"}
    for each in files:
        if each.name not in ("environment.json", ".curves.rows"):
            each.write_bytes(each.read_bytes() + b" ")
    mirror.push()
    fetch(place, copy)
    assert (copy / "users.parquet").read_bytes() == (folder.path / "users.parquet").read_bytes()
    rows = copy / part / ".curves.rows"
    assert rows.is_file()
    os.utime(rows, (0, 0))
    (folder.path / part / ".curves.rows").unlink()
    (folder.path / part / "curves.parquet").write_bytes(b"brought in")
    mirror.push()
    fetch(place, copy)
    assert not rows.exists()


def test_a_file_of_somebody_else_in_the_place_of_one_over_people_is_refused(tmp_path):
    folder = made_up(tmp_path, USERS)
    run = compared(folder)
    check_own(folder.path)
    check_files(run)
    own = {folder.path: ("users.parquet",), run: [each.name for each in run.iterdir()]}
    assert len(own[run]) == 5
    for check, place in ((check_own, folder.path), (check_files, run)):
        for name in own[place]:
            kept = (place / name).read_bytes()
            (place / name).write_bytes(b"years of work")
            with pytest.raises(ValueError, match=f"{place / name}: .*was not written by"):
                check(place)
            (place / name).write_bytes(kept)


def test_a_plan_says_who_is_held_out(data, space, tmp_path):
    words = [str(space), "--data", str(data), "--out", str(tmp_path / "new"), "--dry-run"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "5 people" in done.output
    assert "people held out (val=2,test=[eve])" in " ".join(done.output.split())
    named = CliRunner().invoke(app, [*words, "--people", "val=anna,test=bob,eve"])
    assert "(val=[anna],test=[bob,eve])" in " ".join(named.output.split())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_over_people_that_is_killed_comes_to_the_same(engine, data, space, tmp_path):
    run.search(space, data=data, out=tmp_path / "whole", quiet=True)
    whole = tmp_path / "whole" / "tiny-001"
    folder = tmp_path / "tiny-001"
    start = search_command(space, "--data", data, "--out", tmp_path, "--quiet", *ONE_AT_ONCE)
    with killed(start):
        wait_for_epochs(folder, 4)
    run.resume(folder, cpus_per_trial=1, quiet=True)
    assert results(folder) == results(whole)
    facts = json.loads((folder / "environment.json").read_text())
    assert facts["people"]["rank_by"] == "worst_user"
    assert {user for user, _ in facts["people"]["windows"]} < set(USERS) - {"eve"}
    for row in read_curves(folder).to_pylist():
        assert row["val_cer"] == row["val_cer_worst_user"] >= row["val_cer_mean_user"]
    best = read_trials(folder).to_pylist()[0]
    cers = [
        row["cer"]
        for row in read_parquet(folder / "users.parquet").to_pylist()
        if row["trial"] == best["trial"]
    ]
    assert len(cers) == 2
    assert max(cers) == pytest.approx(best["val_cer"])
    evaluated = evaluate(folder, top=1, quiet=True).to_pylist()
    whole = [row for row in evaluated if row["session"] is None and row["user"] is None]
    [windows] = [row for row in whole if row["way"] == "windows"]
    assert windows["cer_ranked"] == pytest.approx(best["val_cer"], abs=0.5)
    assert {row["user"] for row in evaluated if row["session"] is None} > {None}
    table = confirm_winners(folder, top=1, repeats=2, quiet=True).to_pylist()
    assert table[0]["cer_low"] <= table[0]["mean_cer"] <= table[0]["cer_high"]
