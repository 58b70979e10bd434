"""Run folders that were copied, renamed and moved: what goes on with them stays inside them."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
import yaml

from search import run
from search.results.folder import RunFolder
from search.results.reading import read_curves, read_trials
from search.run.confirm import confirm_winners

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


def assert_went_on(folder: Path, trials: int) -> None:
    rows = read_trials(folder).to_pylist()
    assert sorted(row["trial"] for row in rows) == list(range(trials))
    assert {row["state"] for row in rows} == {"complete"}
    epochs = [(row["trial"], row["epoch"]) for row in read_curves(folder).to_pylist()]
    assert epochs == [(trial, epoch) for trial in range(trials) for epoch in (1, 2)]


def test_copies_go_on_where_they_lie_and_leave_the_original_alone(original, tmp_path, monkeypatch):
    """Named in every way: beside the original, with odd letters, relative, and by a link."""
    before = hashes(original)
    odd = tmp_path / "Läufe von Anna" / "tiny #1? 50%"
    beside = original.with_name("tiny-copy")
    for copied in (odd, beside):
        shutil.copytree(original, copied)
    monkeypatch.chdir(tmp_path)
    run.resume(odd.relative_to(tmp_path), add_trials=1, quiet=True)
    link = tmp_path / "link"
    link.symlink_to(beside)
    run.resume(link, add_trials=1, quiet=True)
    assert hashes(original) == before
    for copied in (odd, beside):
        assert_went_on(copied, 3)
        assert (copied / ".ray" / "0002").is_dir(), "Ray's own files are there as well"


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


def test_old_and_odd_facts_of_a_run_are_named_with_their_file(original, tmp_path, session_paths):
    folder = tmp_path / "tiny-001"
    shutil.copytree(original, folder)
    opened = RunFolder.open(folder)
    facts = opened.read_environment()
    lacking = {key: facts[key] for key in facts.keys() - {"split"}}
    for odd, said in (
        (lacking, "environment.json: split.train: is missing, so it does not say which sessions"),
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
    opened.write_environment(lacking)
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
