"""A training of a run's ``best.yaml`` takes the run's sessions, unless others are named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import make_session
from typer.testing import CliRunner

from emgmodels.config import Config, dump_config
from emgmodels.notation import parse_notation
from emgmodels.sessions import find_split, read_people, split_text, write_session
from emgmodels.training import single
from emgmodels.training.__main__ import app
from emgmodels.training.own_sessions import choose_sessions


@pytest.fixture
def run(tmp_path) -> Path:
    """A run folder whose split is not the one that would be drawn anew."""
    data, run = tmp_path / "my data", tmp_path / "runs" / "tiny-001"
    run.mkdir(parents=True)
    for i in range(4):
        (data / f"{i % 2}").mkdir(parents=True, exist_ok=True)  # in folders of several
        write_session(data / f"{i % 2}" / f"s{i}.hdf5", make_session(8, seed=i, name=f"s{i}"))
    drawn = (find_split(data, seed=seed) for seed in range(1, 9))
    split = next(each for each in drawn if each.val != find_split(data).val)
    (run / "split.yaml").write_text(split_text(split))
    files = {
        part: [str(path) for path in getattr(split, part)] for part in ("train", "val", "test")
    }
    facts = {"split": files, "subject": split.subject}
    (run / "environment.json").write_text(json.dumps(facts))
    (run / "best.yaml").write_text(
        dump_config(Config(model=parse_notation("conv:1(channels=4,kernel=4) mlp:8 bins:6 hop:64")))
    )
    return run


def sessions(run: Path, *named: Path | str | None) -> tuple[set[str], set[str]]:
    chosen = choose_sessions(run / "best.yaml", *named)
    return {p.stem for p in chosen.train}, {p.stem for p in chosen.val}


def test_its_own_sessions_are_taken_where_none_are_named_and_where_they_moved(run):
    facts = json.loads((run / "environment.json").read_text())["split"]
    own = tuple({Path(file).stem for file in facts[part]} for part in ("train", "val"))
    assert sessions(run, None, None, None) == own
    data = run.parents[1] / "my data"
    moved = data.rename(data.with_name("elsewhere"))
    with pytest.raises(ValueError, match=r"not where they were .*--data"):
        sessions(run, None, None, None)
    assert sessions(run, moved, None, None) == own
    drawn = find_split(moved, "12345678")
    assert sessions(run, moved, "12345678", None)[1] == {p.stem for p in drawn.val}
    next(moved.rglob("s0.hdf5")).unlink()
    assert sessions(run, moved, None, None)[1] == {p.stem for p in find_split(moved).val}


def test_a_file_outside_a_run_needs_data(run, tmp_path):
    alone = shutil.copy(run / "best.yaml", tmp_path)
    with pytest.raises(ValueError, match="--data: name a folder"):
        choose_sessions(Path(alone), None, None, None)
    (run / "environment.json").write_text('{"split": 3}')
    with pytest.raises(ValueError, match="does not say which sessions"):
        sessions(run, None, None, None)


def test_sessions_in_an_object_store_have_to_be_brought(run):
    facts = {"split": {"train": ["s3://b/s0.hdf5"], "val": ["s3://b/s1.hdf5"]}}
    (run / "environment.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="object store"):
        sessions(run, None, None, None)


def test_people_are_drawn_as_the_search_did_and_threads_are_those_of_its_trials(
    run, tmp_path, monkeypatch
):
    """With a trial's own seed others would be drawn, and the test people of the search trained."""
    data = tmp_path / "people"
    data.mkdir()
    for i in range(6):
        session = make_session(8, seed=i, name=f"p{i}", user=f"user{i}")
        write_session(data / f"p{i}.hdf5", session)
    people = read_people("val=1,test=2")
    chosen = find_split(data, seed=5, people=people)
    drawn = {seed: find_split(data, seed=seed, people=people).test for seed in range(9)}
    other = next(seed for seed, test in drawn.items() if test != chosen.test)
    config = Config(seed=other, model=parse_notation("conv:1(channels=4,kernel=4) mlp:8"))
    (run / "best.yaml").write_text(dump_config(config))
    facts = {"seed": 5, "resources_per_trial": {"cpus": 1.5, "gpus": 0}}
    (run / "environment.json").write_text(json.dumps(facts))
    asked = []
    monkeypatch.setattr(single, "open_split", lambda split: asked.append(split) or [][0])
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    words = [str(run / "best.yaml"), "--data", str(data), "--people", "val=1,test=2"]
    words += ["--device", "cpu", "--out", str(tmp_path / "model.pt")]
    for more in ([], ["--seed", str(config.seed), "--threads", "2"]):
        CliRunner().invoke(app, [*words, *more])
    own, mine, given, others = asked
    assert (own, given) == (1, 2)
    assert mine.test == others.test == chosen.test


def test_the_command_trains_without_data(run, tmp_path, monkeypatch):
    monkeypatch.chdir(run)
    words = ["best.yaml", "--epochs", "1", "--threads", "1", "--out", str(tmp_path / "model.pt")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "2 training sessions of 12345678 and 1 validation session of 12345678" in done.output
    assert "(as tiny-001 searched)" in done.output
    assert (tmp_path / "model.pt").is_file()
