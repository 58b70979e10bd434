"""Data and results in an object store, on one machine; the server is real."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import make_session
from objects import SECRET, s3_server

from emgmodels.sessions import write_session
from search.results.growing_tables import curves_of
from search.results.reading import read_trials
from search.run.sessions import choose_sessions
from search.space import load_space
from search.storage import APPENDED, Mirror, Place, SessionStore, fetch

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

SPACES = Path(__file__).parents[2] / "spaces"
SPACE = """
name: stored
model:
  features: {hop: 64, bins: 6}
  norm: bin
  electrodes: {choice: [4, 8]}
  mlp_features: 8
  encoder: {order: [recurrent], recurrent: {layers: 1, hidden: {choice: [6, 8]}}}
training: {epochs: 3, batch_size: 4}
search: {trials: 3, sampler: random, seed: 1, scheduler: {name: asha, grace: 1, eta: 2}}
"""


@pytest.fixture(scope="module")
def environment():
    with s3_server("127.0.0.1") as found:
        yield {**os.environ, **found}


@pytest.fixture(scope="module")
def searched(environment, tmp_path_factory):
    """A folder in which a search ran with data and results in the store."""
    folder = tmp_path_factory.mktemp("objects")
    (folder / "data").mkdir()
    (folder / "stored.yaml").write_text(SPACE)
    for i in range(3):
        write_session(folder / f"data/s{i}.hdf5", make_session(9, seed=i, name=f"s{i}"))
    upload = (
        "import boto3, pathlib\n"
        "for p in pathlib.Path('data').glob('*'):\n"
        "    boto3.client('s3').upload_file(str(p), 'emg', f'sessions/a/{p.name}')"
    )
    subprocess.run([sys.executable, "-c", upload], env=environment, cwd=folder, check=True)
    for path in (folder / "data").glob("*"):
        path.unlink()
    done = command(
        environment, folder, "search.run", "stored.yaml", "--data", "s3://emg/sessions",
        "--storage", "s3://emg/runs",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def command(environment, folder, module: str, *arguments: str):
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
        timeout=240,
        check=False,
    )


def test_the_run_folder_is_whole_in_storage(environment, searched):
    done = command(environment, searched, "search.storage", "list", "s3://emg/runs")
    assert done.stdout.split() == ["s3://emg/runs/stored-001"]
    done = command(
        environment, searched, "search.storage", "fetch", "s3://emg/runs/stored-001", "--to", "here"
    )
    assert done.returncode == 0, done.stderr
    here, there = searched / "here", searched / "runs/stored-001"
    for path in there.rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            assert (here / path.relative_to(there)).read_bytes() == path.read_bytes(), path
    assert all(cer is not None for cer in read_trials(here)["val_cer"].to_pylist())
    assert list((here / "checkpoints").glob("*.pt"))


def test_storage_keeps_no_checkpoint_that_no_trial_can_go_on_from(
    environment, searched, monkeypatch
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    names = [name for name in Place("s3://emg/runs/stored-001").files() if name.startswith(".ray/")]
    assert any("experiment_state" in name for name in names)
    assert not any("/checkpoint_" in name for name in names)


def test_a_report_is_made_from_the_uri(environment, searched):
    done = command(
        environment, searched, "search.report", "s3://emg/runs/stored-001", "--out", "report"
    )
    assert done.returncode == 0, done.stderr
    assert "stored-001" in (searched / "report/report.html").read_text()


def test_tensorboard_reads_the_uri(environment, searched):
    """With boto3, its own Python reader does; the address of the test's server is its own too."""
    read = (
        "from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer\n"
        "runs = EventMultiplexer().AddRunsFromDirectory('s3://emg/runs/stored-001/tensorboard')\n"
        "runs.Reload()\n"
        "print(sum('cer/validation' in runs.Runs()[run]['scalars'] for run in runs.Runs()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", read],
        env={**environment, "S3_ENDPOINT": environment["AWS_ENDPOINT_URL"]},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "3"


TOOLS = """
import boto3, pathlib, sys
s3 = boto3.client("s3")

def listed(prefix):
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="emg", Prefix=prefix)
    return [each for page in pages for each in page.get("Contents", ())]

what, source, target = sys.argv[1:]
for each in listed(source):
    name = each["Key"].removeprefix(source)
    if not name or name.endswith("/"):  # stands for a folder
        continue
    if what == "copy":
        s3.copy_object(Bucket="emg", Key=target + name, CopySource="emg/" + each["Key"])
    elif what == "download":
        path = pathlib.Path(target + name)
        path.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file("emg", each["Key"], str(path))
    else:
        print(each["Key"], each["ETag"], each["LastModified"])
"""
"""What ``aws s3`` does: copy in the store, copy from there, list."""


def test_a_run_that_a_stores_tools_copied_goes_on_there_and_is_read_back(
    environment, searched, tmp_path
):
    """Under another name, from a machine that has nothing of it; the original stays as it is."""

    def tools(*words: str) -> str:
        line = [sys.executable, "-c", TOOLS, *words]
        return subprocess.run(
            line, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout

    before = tools("list", "runs/", "")
    tools("copy", "runs/stored-001/", "elsewhere/renamed/")
    cache = {**environment, "EMGSEARCH_CACHE": str(tmp_path / "cache")}
    uri = "s3://emg/elsewhere/renamed"
    done = command(cache, tmp_path, "search.run", "--resume", uri, "--add-trials", "1")
    assert done.returncode == 0, done.stderr
    tools("download", "elsewhere/renamed/", "back/")
    assert read_trials(tmp_path / "back").num_rows == 4
    for words in (("search.report", "back"), ("search.evaluate", "back", "--device", "cpu")):
        done = command(cache, tmp_path, *words)
        assert done.returncode == 0, done.stderr
    assert tools("list", "runs/", "") == before


def test_what_is_not_there_is_named(environment, searched):
    asked = (
        ("search.report", "s3://emg/runs/none"),
        ("search.run", "--resume", "s3://emg/none"),
        ("search.run", "stored.yaml", "--data", "s3://emg/none"),
    )
    with ThreadPoolExecutor() as pool:  # most of the time Python starts
        answers = list(pool.map(lambda words: command(environment, searched, *words), asked))
    for arguments, done in zip(asked, answers, strict=True):
        assert done.returncode == 2, arguments
        assert "s3://emg/" in done.stderr
        assert "Traceback" not in done.stderr


def test_no_credential_is_written(searched):
    files = [path for path in Path(searched).rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


@pytest.fixture
def place(environment, monkeypatch):
    """A folder in the store, used from this process."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Place(f"s3://emg/places/{secrets.token_hex(4)}")


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "space.yaml").write_text("name: run")
    return folder


def test_appended_rows_are_sent_until_they_are_brought_in(place, run):
    table = curves_of(run)
    table.append([{"trial": 0, "epoch": 1}])
    Mirror(run, place).push("study.journal", *APPENDED)
    assert ".curves.rows" in place.files()
    table.bring_in()
    Mirror(run, place).push()  # another process, which did not send the rows itself
    assert ".curves.rows" not in place.files()
    assert "curves.parquet" in place.files()


def test_odd_names_hide_no_run_of_a_list(environment, place, tmp_path):
    """In the order of their names, each once; what is no run folder is left out."""
    for name in ("b-001", "Läufe-001", "a b-001", "odd?x=1", "odd#2"):
        for file in ("space.yaml", "trials.parquet", "confirm/space.yaml"):
            place.write(f"{name}/{file}", b"x")
    place.write("notes/deeper/space.yaml", b"x")
    place.write("space.yaml", b"x")
    done = command(environment, tmp_path, "search.storage", "list", f"{place.uri}/")
    assert done.returncode == 0, done.stderr
    names = ("Läufe-001", "a b-001", "b-001")
    assert done.stdout.splitlines() == [f"{place.uri}/{name}" for name in names]
    assert [line.split("'")[1] for line in done.stderr.splitlines()] == ["odd#2", "odd?x=1"]


def test_fetching_keeps_what_was_not_sent_yet(place, run):
    (run / "environment.json").write_text(json.dumps({"storage": place.uri}))  # as a search does
    Mirror(run, place).push()
    (run / "best.yaml").write_text("old")
    Mirror(run, place).push()
    (run / "best.yaml").write_text("not sent")
    os.utime(run / "best.yaml", ns=(time.time_ns() + 10**10,) * 2)
    fetch(place, run)
    assert (run / "best.yaml").read_text() == "not sent"
    os.utime(run / "best.yaml", (0, 0))
    fetch(place, run)
    assert (run / "best.yaml").read_text() == "old"


def test_resuming_a_search_that_runs_leaves_its_folder_alone(place, run):
    from search.results.lock import running
    from search.run.searching import _reopen

    place = place / run.name
    (run / "environment.json").write_text(json.dumps({"storage": place.uri}))
    Mirror(run, place).push()
    os.utime(run / "space.yaml", (0, 0))
    with running(run), pytest.raises(ValueError, match="running already"):
        _reopen(place.uri, run.parent)
    assert (run / "space.yaml").stat().st_mtime == 0


def test_rows_that_another_machine_has_brought_in_are_not_read_again(place, run, tmp_path):
    (run / "environment.json").write_text(json.dumps({"storage": place.uri}))  # as a search does
    curves_of(run).append([{"trial": 0, "epoch": 1}])
    os.utime(run / ".curves.rows", (0, 0))
    shutil.copytree(run, tmp_path / "elsewhere")
    table = curves_of(tmp_path / "elsewhere")
    table.append([{"trial": 0, "epoch": 2}])
    table.bring_in()
    Mirror(tmp_path / "elsewhere", place).push()
    assert curves_of(fetch(place, run)).read()["epoch"].to_pylist() == [1, 2]


def test_what_is_gone_from_the_store_already_is_no_failure(place, run):
    (run / "notes.txt").write_text("x")
    mirror = Mirror(run, place)
    mirror.push()
    place.delete(["notes.txt"])
    (run / "notes.txt").unlink()
    mirror.push()
    mirror.push()


def test_what_only_ray_needs_is_left_in_the_folder_of_a_confirmation_too(place, run):
    (run / "confirm/.ray").mkdir(parents=True)
    (run / "confirm/.ray/state").write_text("x")
    Mirror(run, place).push()
    assert list(place.files()) == ["space.yaml"]


def test_only_sessions_of_the_split_are_fetched(place, monkeypatch, tmp_path):
    """Whose session a file is stands in its header; the test session's stays where it is."""
    monkeypatch.setenv("EMGSEARCH_CACHE", str(tmp_path / "cache"))
    for i, user in enumerate(("mine", "mine", "mine", "other")):
        path = tmp_path / f"s{i}.hdf5"
        write_session(path, make_session(9, seed=i, name=path.stem, user=user))
        place.write(f"{user}/{path.name}", path.read_bytes())
    store = SessionStore(place.uri)
    split = choose_sessions(load_space(SPACES / "deep.yaml"), store, "mine", None)
    (left,) = split.test
    here = {path.name for path in (tmp_path / "cache").rglob("*.hdf5")}
    assert here == {"s0.hdf5", "s1.hdf5", "s2.hdf5"} - {left.name}
    assert store.uri_of(left) == f"{place.uri}/mine/{left.name}"
    place.delete([f"mine/{split.val[0].name}"])
    with pytest.raises(ValueError, match="subject other has 1 session"):
        choose_sessions(load_space(SPACES / "deep.yaml"), store, "other", None)
    assert split.val[0] not in store.paths()


def test_sessions_in_storage_are_found_by_the_evaluation(place, run, monkeypatch, tmp_path):
    from search.results.session_files import session_files
    from search.storage import local_file

    monkeypatch.setenv("EMGSEARCH_CACHE", str(tmp_path))
    place.write("a.hdf5", b"x")
    facts = {"split": {"val": [f"{place.uri}/a.hdf5"]}}
    [source] = session_files(run, facts, "val")
    assert local_file(source).read_bytes() == b"x"
    [again] = session_files(run, {"split": {"val": ["/elsewhere/a.hdf5"]}}, "val", place.uri)
    assert again == source
