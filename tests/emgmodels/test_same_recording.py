"""One recording never trains and validates, and no split takes files of another user."""

import numpy as np
import pytest
from helpers.splits import PUBLISHED, add, recorded, write_split

from emgmodels.sessions import find_split

TWO = {"train": [("anna", "a")], "val": [("anna", "b")]}


@pytest.mark.parametrize(
    "changes",
    [{}, {"user": "anna", "name": "b", "time": 1.7e9 + np.arange(2000) / 2000}, {"scale": 1e-6}],
)
@pytest.mark.parametrize("drawn", [True, False])
def test_a_recording_in_two_subsets_is_refused_whatever_its_file_says(tmp_path, drawn, changes):
    data = tmp_path / "data"
    first, second = recorded(data / "a.hdf5"), data / "b.hdf5"
    if changes:
        recorded(second, **changes)
    else:
        second.write_bytes(first.read_bytes())
    split = None if drawn else write_split(tmp_path / "s.yaml", **TWO, user="anna")
    with pytest.raises(ValueError, match="the same recording is in two subsets") as caught:
        find_split(data, split_file=split)
    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)


def test_a_flat_recording_is_told_from_another_by_its_file(tmp_path):
    add(tmp_path, *"ab")
    assert len(find_split(tmp_path).train) == 1
    (tmp_path / "b.hdf5").write_bytes((tmp_path / "a.hdf5").read_bytes())
    with pytest.raises(ValueError, match="the same recording is in two subsets"):
        find_split(tmp_path)


def test_a_link_is_the_same_recording_too(tmp_path):
    (tmp_path / "a (1).hdf5").symlink_to(recorded(tmp_path / "a.hdf5"))
    with pytest.raises(ValueError, match=r"a \(1\)\.hdf5"):
        find_split(tmp_path)


def test_a_recording_that_is_twice_in_one_subset_is_said(tmp_path):
    for seed, name in enumerate("abc"):
        recorded(tmp_path / f"{name}.hdf5", seed=seed % 2)
    entries = {"train": [("anna", "a"), ("anna", "c")], "val": [("anna", "b")]}
    split = find_split(
        tmp_path, split_file=write_split(tmp_path / "s.yaml", **entries, user="anna")
    )
    (note,) = split.notes
    assert "a.hdf5 and" in note
    assert "c.hdf5 are the same recording" in note


@pytest.mark.parametrize("subject", [None, "bob"])
def test_files_of_another_user_than_the_split_says_are_refused(tmp_path, subject):
    for seed, name in enumerate("ab"):
        recorded(tmp_path / f"{name}.hdf5", seed)
    entries = {"train": [("bob", "a")], "val": [("bob", "b")]}
    path = write_split(tmp_path / "s.yaml", **entries, user="bob")
    with pytest.raises(ValueError, match=r"a: user bob in the split file, user anna in .*a\.hdf5"):
        find_split(tmp_path, subject, path)


@pytest.mark.parametrize("label", ["user: single_user\n", "user: anna\n", ""])
def test_the_name_of_a_split_is_no_person(tmp_path, label):
    """emg2qwerty's own files are named single_user, or of old have no name at all."""
    for seed, name in enumerate("ab"):
        recorded(tmp_path / f"{name}.hdf5", seed)
    path = tmp_path / "s.yaml"
    entry = "- {{user: anna, session: {}}}"
    path.write_text(
        f"{label}dataset:\n  train:\n  {entry.format('a')}\n  val:\n  {entry.format('b')}\n"
    )
    assert find_split(tmp_path, split_file=path).subject == "anna"
    assert find_split(tmp_path, "anna", path).subject == "anna"


def test_the_published_split_is_not_taken_for_files_of_another_user(tmp_path):
    add(tmp_path, *PUBLISHED, user="anna")
    with pytest.raises(ValueError, match="user 89335547 in the split file, user anna in"):
        find_split(tmp_path, "89335547")
