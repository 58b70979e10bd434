"""A cache deletes and overwrites nothing that it did not write, wherever it lies."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from bystanders import hashes
from typer.testing import CliRunner

import emgmodels.windows.__main__ as windows
from emgmodels.windows.cache import prepare
from emgmodels.windows.home import cache_folder, fetched_folder, note_fetched


def mine(place: Path) -> None:
    """Put a user's own files where a cache keeps its own, and beside."""
    names = ("data/alice/s0.hdf5", "runs/deep-001/trials.parquet", "typist/s.hdf5", "notes")
    folders = ("recordings", f"recordings/{'0' * 32}", "recordings/sources", "emgsearch-fetched")
    for name in (*names, *(f"{folder}/mine.txt" for folder in folders)):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    unfinished = place / "recordings/.converting-mine/work.txt"
    unfinished.parent.mkdir(exist_ok=True)
    unfinished.write_text("mine")
    os.utime(unfinished.parent, (1, 1))


@pytest.mark.parametrize("when", ["before the cache", "beside the cache", "in an old cache"])
def test_the_cache_removes_only_what_it_wrote(place, tmp_path, monkeypatch, when):
    cache = tmp_path / "chosen"
    monkeypatch.setenv("EMGSEARCH_CACHE", str(cache))
    monkeypatch.setenv("EMGSEARCH_CACHE_GB", "0")
    if when == "before the cache":
        mine(cache)
    prepare([place / "data/s0.hdf5"])
    if when == "in an old cache":
        (cache / ".emgsearch-cache").unlink()
    mine(cache)
    if when != "before the cache":
        mine(cache_folder().parent)
    fetched = fetched_folder() / "data/s.hdf5"
    fetched.parent.mkdir(parents=True, exist_ok=True)
    fetched.write_text("fetched")
    note_fetched(fetched, fetched.stat())
    changed = fetched.with_name("changed.hdf5")
    changed.write_text("fetched")
    note_fetched(changed, changed.stat())
    changed.write_text("mine, longer")
    prepare([place / "data/s1.hdf5"])
    own = {path: text for path, text in hashes(cache).items() if "mine" in path or "notes" in path}
    done = CliRunner().invoke(windows.app, ["clear"])
    assert done.exit_code == 0, done.output
    assert str(cache) in done.output
    left = hashes(cache)
    assert own.items() <= left.items()
    for kept in ("data/alice/s0.hdf5", "runs/deep-001/trials.parquet", "typist/s.hdf5"):
        assert (cache / kept).read_text() == "mine"
    assert not list(cache.rglob("emg.npy"))
    assert not fetched.exists()
    assert changed.read_text() == "mine, longer"


def test_what_lies_in_a_recordings_place_is_kept_and_named(place, tmp_path, monkeypatch):
    monkeypatch.setenv("EMGSEARCH_CACHE", str(tmp_path / "cache"))
    [recording] = prepare([place / "data/s0.hdf5"])
    del recording
    [folder] = [path.parent for path in cache_folder().glob("*/emg.npy")]
    (folder / "mine.txt").write_text("mine")
    (folder / "labels.npy").unlink()
    with pytest.raises(ValueError, match="did not write"):
        prepare([place / "data/s0.hdf5"])
    CliRunner().invoke(windows.app, ["clear"])
    assert (folder / "mine.txt").read_text() == "mine"
    assert json.loads((folder / "recording.json").read_text())["name"] == "s0"
