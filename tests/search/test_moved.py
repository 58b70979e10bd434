"""Run folders that were copied, renamed and moved: what goes on with them stays inside them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, bound_by_permissions, give_away

from emgmodels.sessions import read_session, write_session
from search import run
from search.evaluate.evaluating import evaluate
from search.results.folder import RunFolder
from search.results.reading import read_curves, read_trials
from search.run.confirm import confirm_winners

README = ROOT / "README.md"
pytestmark = pytest.mark.timeout(600)

SPACE = """
name: tiny
model:
  features: {hop: 64, bins: 6}
  norm: bin
  electrodes: 4
  mlp_features: {choice: [8, 10, 12]}
  encoder: {order: [conv], conv: {layers: {choice: [0, 1]}, channels: 4, kernel: 4}}
training: {epochs: 2, batch_size: 4, learning_rate: 0.01, warmup_steps: 3}
search: {trials: 2, sampler: random, seed: 3, scheduler: none}
"""


@pytest.fixture(scope="module")
def original(engine, session_paths, tmp_path_factory) -> Path:
    """A search of two trials, which every test copies."""
    out = tmp_path_factory.mktemp("original")
    space = out / "tiny.yaml"
    space.write_text(SPACE)
    run.search(space, data=session_paths[0].parent, out=out, quiet=True)
    return out / "tiny-001"


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def by_hard_links(source: Path, target: Path) -> None:
    """Copy as ``cp -al`` does: both folders' files are the same, and one appends to some."""
    shutil.copytree(source, target, copy_function=os.link)


def by_a_store(source: Path, target: Path) -> None:
    """Copy as an object store's tools do there and back: files only, all with another time."""
    files = [path for path in source.rglob("*") if path.is_file()]
    for age, path in enumerate(sorted(files, key=lambda path: path.name[::-1])):
        copied = target / path.relative_to(source)
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.write_bytes(path.read_bytes())
        os.utime(copied, (1.7e9 - age, 1.7e9 - age))


def assert_went_on(folder: Path, trials: int) -> None:
    rows = read_trials(folder).to_pylist()
    assert sorted(row["trial"] for row in rows) == list(range(trials))
    assert {row["state"] for row in rows} == {"complete"}
    epochs = [(row["trial"], row["epoch"]) for row in read_curves(folder).to_pylist()]
    assert epochs == [(trial, epoch) for trial in range(trials) for epoch in (1, 2)]


@pytest.mark.parametrize(
    ("name", "copy", "named"),
    [
        ("L\u00e4ufe von Anna/tiny #1? 50%", shutil.copytree, "by a link"),
        pytest.param("links/tiny", by_hard_links, "by its path", marks=pytest.mark.slow),
        pytest.param("stored/renamed", by_a_store, "by its path", marks=pytest.mark.slow),
    ],
)
def test_copies_go_on_where_they_lie_and_leave_the_original_alone(
    name, copy, named, original, tmp_path, monkeypatch
):
    """Copied in every way, named in every way: with odd letters, relative, and by a link."""
    before = hashes(original)
    copied, link = tmp_path / name, tmp_path / "link"
    copy(original, copied)
    link.symlink_to(copied)
    lock = copied / "study.journal.lock"  # of a process that was killed as it wrote
    lock.symlink_to(tmp_path / "nowhere")
    monkeypatch.chdir(tmp_path)
    run.resume(link if named == "by a link" else Path(name), add_trials=1, quiet=True)
    assert_went_on(copied, 3)
    assert (copied / ".ray" / "0002").is_dir(), "Ray's own files are there as well"
    assert not lock.is_symlink()
    assert hashes(original) == before


@pytest.mark.slow
def test_a_run_that_was_moved_goes_on_again_and_is_confirmed(original, tmp_path):
    first, second = tmp_path / "first" / "a", tmp_path / "second" / "b"
    shutil.copytree(original, first)
    run.resume(first, add_trials=1, quiet=True)
    second.parent.mkdir()
    first.rename(second)
    run.resume(second, add_trials=1, quiet=True)
    assert_went_on(second, 4)
    assert str(first) not in (second / "best.yaml").read_text()
    confirm_winners(second, top=1, repeats=2, quiet=True)
    third = tmp_path / "third"
    second.rename(third)
    confirm_winners(third, top=1, repeats=3, quiet=True)
    assert read_trials(third / "confirm").num_rows == 3
    assert not first.exists()
    assert not second.exists()
    with pytest.raises(ValueError, match=f"search.run {third} --confirm"):
        run.resume(third / "confirm", quiet=True)


def lacking(facts: dict) -> dict:
    """Return the facts of an old run, which do not say which sessions it had."""
    return {key: facts[key] for key in facts.keys() - {"split"}}


def test_old_and_odd_facts_of_a_run_are_named_with_their_file(original, tmp_path):
    folder = tmp_path / "tiny-001"
    shutil.copytree(original, folder)
    opened = RunFolder.open(folder)
    facts = opened.read_environment()
    for odd, said in (
        (
            lacking(facts),
            "environment.json: split.train: is missing, so it does not say which sessions",
        ),
        ({**facts, "split": ["s0"]}, "environment.json: split: must be an object"),
        ({**facts, "resources_per_trial": 2}, "resources_per_trial: must be an object"),
    ):
        opened.write_environment(odd)
        for act in (run.resume, confirm_winners):
            with pytest.raises(ValueError, match=said):
                act(folder, quiet=True)
    (folder / "environment.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"environment.json: must be a JSON object"):
        confirm_winners(folder, quiet=True)


@pytest.mark.slow
def test_the_sessions_of_an_old_run_are_taken_for_others(original, tmp_path, session_paths):
    folder = tmp_path / "tiny-001"
    shutil.copytree(original, folder)
    opened = RunFolder.open(folder)
    opened.write_environment(lacking(opened.read_environment()))
    earlier = yaml.safe_load(SPACE)["search"] | {"trials": 3}
    space = tmp_path / "tiny.yaml"
    space.write_text(yaml.safe_dump(yaml.safe_load(SPACE) | {"search": earlier}))
    table = run.search(
        space,
        data=session_paths[0].parent,
        out=tmp_path / "new",
        epochs=1,
        trials=1,
        warm_start=[folder],
        quiet=True,
    )
    assert table.num_rows == 1, "its sessions are taken for others"


def test_a_snapshot_that_cannot_be_read_is_told_and_nothing_is_trained_again(original, tmp_path):
    folder = tmp_path / "tiny-001"
    shutil.copytree(original, folder)
    before = read_curves(folder)
    state = max((folder / ".ray").glob("experiment_state-*.json"))
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cannot be resumed: the snapshot of its trials"):
        run.resume(folder, add_trials=1, quiet=True)
    (folder / ".ray" / "tuner.pkl").write_bytes(b"")
    with pytest.raises(ValueError, match="cannot be resumed: the snapshot of its trials"):
        run.resume(folder, add_trials=1, quiet=True)
    assert read_curves(folder).equals(before)


@pytest.mark.slow
def test_a_demo_goes_on_where_its_cache_never_was(engine, tmp_path, monkeypatch):
    """Its typist's sessions are written again, to the same bytes; the first cache is gone."""
    space = tmp_path / "tiny.yaml"
    space.write_text(f"{SPACE}typist: {{sessions: 3, minutes: 0.25, seed: 5}}\n")
    monkeypatch.setenv("EMGSEARCH_CACHE", str(tmp_path / "first"))
    run.search(space, out=tmp_path / "runs", trials=1, quiet=True)
    moved = tmp_path / "moved"
    (tmp_path / "runs" / "tiny-001").rename(moved)
    shutil.rmtree(tmp_path / "first")
    for number, use in enumerate(
        (
            lambda: evaluate(moved, test=True, quiet=True),
            lambda: confirm_winners(moved, top=1, repeats=2, quiet=True),
            lambda: run.resume(moved, add_trials=1, quiet=True),
        )
    ):
        monkeypatch.setenv("EMGSEARCH_CACHE", str(tmp_path / f"cache{number}"))
        assert use().num_rows
    assert_went_on(moved, 2)
    cers = {row["val_cer"] for row in read_trials(moved).to_pylist() if row["trial"] == 0}
    rows = evaluate(moved, quiet=True).to_pylist()
    assert {r["cer"] for r in rows if r["way"] == "windows" and not r["session"]} == cers
    assert not (tmp_path / "first").exists()
    assert not (tmp_path / "runs" / "tiny-001").exists()


@pytest.mark.slow
def test_readmes_python_example_runs_after_a_demo_also_where_its_sessions_are_gone(
    engine, tmp_path, monkeypatch, capsys
):
    space = tmp_path / "deep.yaml"
    text = SPACE.replace("name: tiny", "name: deep")
    space.write_text(f"{text}typist: {{sessions: 3, minutes: 0.25, seed: 6}}\n")
    monkeypatch.setenv("EMGSEARCH_CACHE", str(tmp_path / "first"))
    monkeypatch.chdir(tmp_path)
    run.search(space, trials=1, quiet=True)
    for cache in ("first", "second"):
        monkeypatch.setenv("EMGSEARCH_CACHE", str(tmp_path / cache))
        [example] = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
        capsys.readouterr()
        exec(compile(example, str(README), "exec"), {})
        assert capsys.readouterr().out.endswith("\n")
        shutil.rmtree(tmp_path / cache)


AS_ANOTHER = """
import sys
from pathlib import Path
import shutil
from typer.testing import CliRunner
import search.engine.ray_session
from search import run
from search.__main__ import app
from search.evaluate.evaluating import evaluate
from search.results.reading import read_trials

def typed(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done.output

def main():
    theirs, data, mine = map(Path, sys.argv[1:4])
    assert "finished" in typed("runs", theirs.parent)
    typed("report", theirs, "--out", mine / "report", "--quiet")
    assert "Permission denied" in typed("report", theirs, code=2)
    assert "nothing of this is kept" in typed("evaluate", theirs, "--data", data)
    for words in (["evaluate", theirs, "--test"], ["run", "--resume", theirs]):
        assert "cannot be written by you: copy it" in typed(*words, "--data", data, code=2)
    copied = mine / "copied"
    shutil.copytree(theirs, copied)
    for path in (copied, *copied.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)
    with search.engine.ray_session.engine(None, None):
        options = {"data": data, "quiet": True}
        assert run.resume(copied, add_trials=1, **options).num_rows == 3
        warm = {"warm_start": str(theirs), "out": mine / "new", "trials": 1}
        assert run.search(theirs / "space.yaml", **warm, **options).num_rows == 1

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
def test_another_user_goes_on_with_a_copy_of_what_they_may_only_read(
    original, session_paths, tmp_path
):
    """Reads, reports, evaluates and learns from the original, which stays as it is."""
    shared, mine = tmp_path / "shared", tmp_path / "mine"
    mine.mkdir()
    shutil.copytree(original, shared / "tiny-001")
    shutil.copytree(session_paths[0].parent, shared / "data")
    give_away(shared)
    script = tmp_path / "script.py"
    script.write_text(AS_ANOTHER)
    before = hashes(shared)
    home = {"HOME": str(mine), "EMGSEARCH_CACHE": str(mine / "cache"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [
            *bound_by_permissions(),
            sys.executable,
            script,
            shared / "tiny-001",
            shared / "data",
            mine,
        ],
        env={**os.environ, **home, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert hashes(shared) == before


@pytest.mark.parametrize("other", ["EMG", "keys"])
def test_a_session_that_was_replaced_is_refused(other, original, session_paths, tmp_path):
    """A trial must not go on with, nor be tested on, another recording under the same name."""
    data, folder = tmp_path / "data", tmp_path / "run"
    shutil.copytree(session_paths[0].parent, data)
    shutil.copytree(original, folder)
    assert evaluate(folder, data=data, quiet=True)
    path = data / Path(RunFolder(folder).read_environment()["split"]["val"][0]).name
    session = read_session(path)
    path.unlink()
    if other == "EMG":
        write_session(path, replace(session, emg=session.emg[:, :, ::-1].copy()))
    else:
        write_session(path, replace(session, keystrokes=session.keystrokes[1:]))
    message = rf"1 validation session has other EMG or other keys(?s:.*){path.name}"
    with pytest.raises(ValueError, match=message):
        evaluate(folder, data=data, quiet=True)
    with pytest.raises(ValueError, match=message):
        run.resume(folder, data=data, add_trials=1, quiet=True)
    with pytest.raises(ValueError, match=message):
        confirm_winners(folder, data=data, quiet=True)
