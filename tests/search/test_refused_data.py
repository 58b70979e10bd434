"""Sessions that a search cannot train on: each is refused by its name, and nothing is written."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import make_session
from helpers.searches import refused

from emgmodels.sessions import write_session


def edited(path: Path, change) -> Path:
    with h5py.File(path, "r+") as file:
        change(file["emg2qwerty"])
    return path


def with_nan(group):
    rows = group["timeseries"][:]
    rows["emg_left"][1234, 3] = np.nan
    group["timeseries"][:] = rows


def backwards(group):
    rows = group["timeseries"][:]
    rows["time"][500] -= 1
    group["timeseries"][:] = rows


def broken_json(group):
    group.attrs["keystrokes"] = '[{"key": "a", '


def no_keys(group):
    group.attrs["keystrokes"] = "[]"


def without_field(group):
    rows = group["timeseries"][:]
    del group["timeseries"]
    group["timeseries"] = rows[["time", "emg_left"]]


SESSION_DAMAGE = {
    "nan": (with_nan, "NaN|finite"),
    "backwards": (backwards, "backwards|decreas"),
    "json": (broken_json, "JSON"),
    "field": (without_field, "emg_right"),
    "no keys": (no_keys, "no keys"),
}


@pytest.mark.parametrize("damage", SESSION_DAMAGE)
def test_a_damaged_session_is_named(damage, tiny_space, two_sessions, tmp_path):
    change, message = SESSION_DAMAGE[damage]
    for path in two_sessions.glob("*.hdf5"):
        edited(path, change)
    error = refused(tiny_space, "--data", two_sessions, tmp_path=tmp_path)
    assert re.search(message, error)


def test_a_file_that_is_not_hdf5_is_named(tiny_space, two_sessions, tmp_path):
    (two_sessions / "s0.hdf5").write_text("no HDF5")
    assert "s0.hdf5" in refused(tiny_space, "--data", two_sessions, tmp_path=tmp_path)


def test_a_truncated_file_is_named(tiny_space, two_sessions, tmp_path):
    path = two_sessions / "s0.hdf5"
    path.write_bytes(path.read_bytes()[:100_000])
    assert "s0.hdf5" in refused(tiny_space, "--data", two_sessions, tmp_path=tmp_path)


def test_folders_and_subjects_that_are_not_there(tiny_space, two_sessions, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no session files" in refused(
        tiny_space, "--data", tmp_path / "empty", tmp_path=tmp_path
    )
    assert "does not exist" in refused(tiny_space, "--data", tmp_path / "none", tmp_path=tmp_path)
    error = refused(tiny_space, "--data", two_sessions, "--subject", "999", tmp_path=tmp_path)
    assert "999" in error
    assert "12345678" in error
    assert "give --data" in refused(tiny_space, "--subject", "1", tmp_path=tmp_path)


def test_sessions_that_are_all_too_short(tiny_space, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(2):
        write_session(folder / f"s{i}.hdf5", make_session(seconds=2, seed=i, name=f"s{i}"))
    assert "window of 4 s" in refused(tiny_space, "--data", folder, tmp_path=tmp_path)
