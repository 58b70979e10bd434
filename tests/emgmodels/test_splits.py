import dataclasses
import string

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from emgmodels.sessions import (
    Session,
    SessionError,
    find_session_files,
    find_split,
    split_text,
    write_session,
)


def add(folder, *names, user="u"):
    for name in names:
        session = Session(
            name=name,
            user=user,
            condition="on_keyboard",
            duration_mins=0.0,
            time=1.6e9 + np.arange(4) / 2000,
            emg=np.zeros((4, 2, 16), np.float32),
            keystrokes=(),
            prompts=(),
        )
        write_session(folder / f"{name}.hdf5", session)


def write_split(path, train, val, test=(), user="u"):
    dataset = {
        subset: [{"user": owner, "session": name} for owner, name in entries]
        for subset, entries in (("train", train), ("val", val), ("test", test))
    }
    path.write_text(yaml.safe_dump({"user": user, "dataset": dataset}))
    return path


def stems(paths):
    return [path.stem for path in paths]


@pytest.mark.parametrize(
    ("sessions", "sizes"),
    [(2, (1, 1, 0)), (3, (1, 1, 1)), (10, (8, 1, 1)), (20, (16, 2, 2)), (26, (20, 3, 3))],
)
def test_a_folder_is_split_by_session(tmp_path, sessions, sizes):
    names = list(string.ascii_lowercase[:sessions])
    add(tmp_path, *names)
    split = find_split(tmp_path)
    subsets = (split.train, split.val, split.test)
    assert split.subject == "u"
    assert split.origin == "drawn by session with seed 0"
    assert tuple(map(len, subsets)) == sizes
    assert sorted(stem for subset in subsets for stem in stems(subset)) == names


def test_a_drawn_split_follows_from_names_and_seed(tmp_path):
    names = list(string.ascii_lowercase[:20])
    for folder, order in (("here", names), ("there/deep", names[::-1])):
        add(tmp_path / folder, *order)
    here = find_split(tmp_path / "here")
    there = find_split(tmp_path / "there")
    for subset in ("train", "val", "test"):
        assert stems(getattr(here, subset)) == stems(getattr(there, subset))
    held_out = {tuple(stems(find_split(tmp_path / "here", seed=seed).test)) for seed in range(5)}
    assert len(held_out) > 1


def test_a_session_added_later_moves_few_others(tmp_path):
    names = list(string.ascii_lowercase[:8])
    add(tmp_path, *names)
    before = find_split(tmp_path)
    add(tmp_path, "z")
    after = find_split(tmp_path)
    kept = set(stems(before.val + before.test)) & set(stems(after.val + after.test))
    assert len(kept) >= 1
    assert len(set(stems(before.train)) - set(stems(after.train))) <= 1


def test_one_session_is_too_few(tmp_path):
    add(tmp_path, "only")
    with pytest.raises(ValueError, match="subject u has 1 session: training and validation need"):
        find_split(tmp_path)


def test_one_of_several_subjects_must_be_chosen(tmp_path):
    add(tmp_path / "x", "a", "b", "c", user="x")
    add(tmp_path / "y", "d", "e", user="y")
    split = find_split(tmp_path, subject="x")
    assert split.subject == "x"
    assert sorted(stems(split.train + split.val + split.test)) == ["a", "b", "c"]
    listing = "choose with --subject one of\n  x: 3 sessions\n  y: 2 sessions"
    with pytest.raises(ValueError, match=f"which subject. {listing}"):
        find_split(tmp_path)
    with pytest.raises(ValueError, match=f"subject z has no sessions: {listing}"):
        find_split(tmp_path, subject="z")


def test_a_folder_with_a_broken_session_names_it(tmp_path):
    add(tmp_path, "a", "b")
    (tmp_path / "c.hdf5").write_text("nothing")
    with pytest.raises(SessionError, match=r"c\.hdf5: is not HDF5"):
        find_split(tmp_path)


def test_sessions_are_found_in_all_folders_once(tmp_path):
    for folder, name in (("", "a"), ("x", "b"), ("x/y", "c"), ("x/y/z/w", "d"), (".x", "hidden")):
        add(tmp_path / folder, name)
    (tmp_path / "._a.hdf5").write_text("what a file manager leaves")
    (tmp_path / "x" / "up").symlink_to(tmp_path)
    assert list(find_session_files(tmp_path)) == ["a", "b", "c", "d"]


def test_a_session_may_be_there_once(tmp_path):
    add(tmp_path, "a")
    add(tmp_path / "copy", "a")
    with pytest.raises(ValueError, match=r"session a is there twice: .*a\.hdf5 and .*copy"):
        find_session_files(tmp_path)


def test_folders_without_sessions_say_what_was_looked_for(tmp_path):
    (tmp_path / "file").touch()
    for folder, message in {
        tmp_path / "absent": "does not exist: expected a folder with session files",
        tmp_path / "file": "is a file: expected a folder",
        tmp_path: r"looked for \*\.hdf5 there and in all subfolders",
    }.items():
        with pytest.raises(ValueError, match=message):
            find_split(folder)


def test_a_split_file_is_taken_as_it_is(tmp_path):
    add(tmp_path / "data" / "sub", *"abcd", user="1")
    path = write_split(
        tmp_path / "s.yaml", train=[(1, "c"), (1, "a")], val=[(1, "d")], test=[(1, "b")], user=1
    )
    split = find_split(tmp_path / "data", split_file=path)
    assert (split.subject, split.origin) == ("1", str(path))
    assert (stems(split.train), stems(split.val), stems(split.test)) == (["c", "a"], ["d"], ["b"])


def test_a_split_of_several_subjects_gives_all_or_one(tmp_path):
    add(tmp_path, "a", "c", user="x")
    add(tmp_path, "b", "d", user="y")
    path = write_split(
        tmp_path / "generic.yaml",
        train=[("x", "a"), ("y", "b")],
        val=[("x", "c"), ("y", "d")],
        user="generic",
    )
    everyone = find_split(tmp_path, split_file=path)
    assert (everyone.subject, stems(everyone.train)) == ("generic", ["a", "b"])
    one = find_split(tmp_path, subject="y", split_file=path)
    assert (one.subject, stems(one.train), stems(one.val)) == ("y", ["b"], ["d"])
    with pytest.raises(ValueError, match=r"dataset.train has no session of subject z"):
        find_split(tmp_path, subject="z", split_file=path)


def test_every_missing_session_is_named_at_once(tmp_path):
    add(tmp_path, "a")
    path = write_split(tmp_path / "s.yaml", train=[("u", "a"), ("u", "b")], val=[("u", "c")])
    message = r"2 of the 3 sessions in .*s\.yaml are missing:\n  b\.hdf5\n  c\.hdf5$"
    with pytest.raises(ValueError, match=message):
        find_split(tmp_path, split_file=path)


def test_a_session_in_two_subsets_is_refused(tmp_path):
    add(tmp_path, *"ab")
    path = write_split(tmp_path / "s.yaml", train=[("u", "a"), ("u", "b")], val=[("u", "a")])
    with pytest.raises(ValueError, match=r"a session may stand in one subset, once: a$"):
        find_split(tmp_path, split_file=path)


def recorded(path, seed=0, **changes):
    """Write a session whose EMG follows from a seed."""
    rng = np.random.default_rng(seed)
    session = Session(
        name=path.stem,
        user="anna",
        condition="on_keyboard",
        duration_mins=0.0,
        time=1.6e9 + np.arange(2000) / 2000,
        emg=rng.standard_normal((2000, 2, 16), dtype=np.float32),
        keystrokes=(),
        prompts=(),
    )
    write_session(path, dataclasses.replace(session, **changes))
    return path


TWO = {"train": [("anna", "a")], "val": [("anna", "b")]}


@pytest.mark.parametrize(
    "changes", [{}, {"user": "anna", "name": "b", "time": 1.7e9 + np.arange(2000) / 2000}]
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


def test_sessions_of_two_users_may_have_the_same_name(tmp_path):
    for seed, user in enumerate(("anna", "bob")):
        for i, name in enumerate("ab"):
            recorded(tmp_path / "in" / user / f"{name}.hdf5", 2 * seed + i, user=user)
    split = find_split(tmp_path, "bob")
    assert {path.parent.name for path in (*split.train, *split.val)} == {"bob"}
    path = write_split(tmp_path / "s.yaml", **TWO, user="anna")
    listed = find_split(tmp_path, split_file=path)
    assert [path.parent.name for path in (*listed.train, *listed.val)] == ["anna", "anna"]
    with pytest.raises(ValueError, match="which subject"):
        find_split(tmp_path)


def test_names_match_however_their_accents_are_spelled(tmp_path):
    composed, apart = "zo\u00eb", "zoe\u0308"
    for seed, name in enumerate((composed, f"{apart}2")):
        recorded(tmp_path / f"{name}.hdf5", seed, user=(composed, apart)[seed])
    assert find_split(tmp_path, apart).subject == find_split(tmp_path, composed).subject
    entries = {"train": [(composed, apart)], "val": [(apart, f"{composed}2")]}
    split = find_split(tmp_path, split_file=write_split(tmp_path / "s.yaml", **entries, user=apart))
    assert len(split.train) == len(split.val) == 1


@pytest.mark.parametrize("user", ["0123", "zo\u00eb", "no", "12:30", "a: b # c"])
def test_a_split_is_written_as_it_is_read(tmp_path, user):
    """Also one that was drawn with another seed than the training command's."""
    names = ("1e5", "true", "a..b", "x y", "[a]", "null", "s'1")
    for seed, name in enumerate(names):
        recorded(tmp_path / f"{name}.hdf5", seed, user=user)
    drawn = find_split(tmp_path, seed=7)
    again = tmp_path / "split.yaml"
    again.write_text(split_text(drawn), encoding="utf-8")
    found = find_split(tmp_path, split_file=again)
    assert (found.subject, found.train, found.val, found.test) == (
        *(drawn.subject, drawn.train),
        *(drawn.val, drawn.test),
    )
    assert find_split(tmp_path).val != drawn.val


@pytest.mark.parametrize("name", ["../a", "/etc/a", "sub/a", "sub\\a", "..", ""])
def test_a_split_file_cannot_leave_the_folder(tmp_path, name):
    add(tmp_path, "a")
    add(tmp_path / "data" / "sub", *"ab")
    path = write_split(tmp_path / "s.yaml", train=[("u", name)], val=[("u", "b")])
    with pytest.raises(ValueError, match=r"dataset.train.0.session: a session is a file name"):
        find_split(tmp_path / "data", split_file=path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user: [", "is not YAML"),
        ("!!python/object/apply:os.getcwd []", "is not YAML: could not determine a constructor"),
        ("", "Input should be a valid dictionary"),
        ("user: u\ndataset: {train: [], val: []}", "dataset.train has no session: it needs"),
        ("user: u\ndataset: {train: [{user: u, session: a}]}", "dataset.val: Field required"),
        ("user: u\ndataset: {train: [a], val: []}", "dataset.train.0: Input should be"),
        ("user: u\ndataset: {train: [], val: [], tset: []}", "dataset.tset: Extra inputs"),
    ],
)
def test_a_wrong_split_file_is_refused_with_path_and_place(tmp_path, text, message):
    add(tmp_path, "a")
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        find_split(tmp_path, split_file=path)
    assert str(path) in str(caught.value)


def test_an_absent_split_file_is_refused(tmp_path):
    add(tmp_path, "a")
    with pytest.raises(ValueError, match=r"none\.yaml: split file cannot be read: No such file"):
        find_split(tmp_path, split_file=tmp_path / "none.yaml")


RECORDED = """
06-02-1622679967 06-02-1622681518 06-02-1622682789 06-03-1622764398 06-03-1622765527
06-03-1622766673
06-04-1622861066 06-04-1622862148 06-04-1622863166 06-05-1622884635 06-05-1622885888
06-05-1622889105
07-21-1626915176 07-21-1626916256 07-21-1626917264 07-22-1627001995 07-22-1627003020
07-22-1627004019
"""
PUBLISHED = [
    f"2021-{recorded}-keystrokes-dca-study@1-0efbe614-9ae6-4131-9192-4398359b4f5f"
    for recorded in RECORDED.split()
]


@pytest.mark.parametrize("subject", [None, "89335547"])
def test_subject_89335547_has_the_published_split(tmp_path, subject):
    add(tmp_path, *PUBLISHED, "one_more", user="89335547")
    split = find_split(tmp_path, subject=subject, seed=7)
    assert split.subject == "89335547"
    assert stems(split.val) == [PUBLISHED[7]]
    assert stems(split.test) == [PUBLISHED[2]]
    assert stems(split.train) == PUBLISHED[:2] + PUBLISHED[3:7] + PUBLISHED[8:]
    assert split.origin.endswith("89335547.yaml")


def test_without_all_of_its_sessions_subject_89335547_is_split_like_any_other(tmp_path):
    add(tmp_path, *PUBLISHED[:6], user="89335547")
    split = find_split(tmp_path)
    assert (len(split.train), len(split.val), len(split.test)) == (4, 1, 1)
    assert split.origin.startswith("drawn by session with seed 0, since 12 sessions of the pub")


def test_who_asks_for_the_published_split_is_told_what_it_lacks(tmp_path):
    """Drawn anew, its test session may land among those to train on."""
    add(tmp_path, *PUBLISHED[:4], *PUBLISHED[5:], user="89335547")
    with pytest.raises(ValueError, match=f"1 of the 18 sessions.*are missing:\n  {PUBLISHED[4]}"):
        find_split(tmp_path, subject="89335547")


@settings(max_examples=25, deadline=None)
@given(
    names=st.sets(st.text(string.ascii_letters + "@-_ ", min_size=1).map("s".__add__), min_size=2),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_session_is_lost_or_in_two_subsets(tmp_path_factory, names, seed):
    by_folded_case = {name.lower(): name for name in names}
    folder = tmp_path_factory.mktemp("data")
    add(folder, "s", *by_folded_case.values())
    split = find_split(folder, seed=seed)
    everything = stems(split.train + split.val + split.test)
    assert sorted(everything) == sorted({"s", *by_folded_case.values()})
    assert split.train
    assert split.val
    assert dataclasses.replace(split) == find_split(folder, seed=seed)
