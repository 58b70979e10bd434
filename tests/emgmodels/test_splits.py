import dataclasses
import string

import pytest
from helpers.splits import PUBLISHED, add, recorded, write_split
from hypothesis import given, settings
from hypothesis import strategies as st

from emgmodels.sessions import (
    SessionError,
    find_session_files,
    find_split,
    split_text,
)


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
    listing = "or hold some out with --people:\n  x: 3 sessions\n  y: 2 sessions"
    with pytest.raises(ValueError, match=f"which subject.*{listing}"):
        find_split(tmp_path)
    with pytest.raises(ValueError, match=f"subject z has no sessions: .*{listing}"):
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


def test_endings_in_capitals_are_session_files_too(tmp_path):
    add(tmp_path, "a")
    (tmp_path / "a.hdf5").rename(tmp_path / "a.HDF5")
    add(tmp_path, "b")
    assert list(find_session_files(tmp_path)) == ["a", "b"]


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


TWO = {"train": [("anna", "a")], "val": [("anna", "b")]}


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
        (
            "user: u\ndataset: {train: [], val: [], tset: []}",
            "dataset.tset: unknown key; did you mean 'test'",
        ),
        (
            "user: u\ndataset: {train: [{usr: u, session: a}], val: []}",
            "unknown key; did you mean 'user'",
        ),
        (
            "dataset: {train: [{user: u, session: a.hdf5}], val: [{user: u, session: a}]}",
            r"  a.hdf5\na split file names sessions without .hdf5",
        ),
    ],
)
def test_a_wrong_split_file_is_refused_with_path_and_place(tmp_path, text, message):
    add(tmp_path, "a")
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        find_split(tmp_path, split_file=path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("nothing", ["", "null", "~"])
def test_a_split_file_may_say_that_nothing_is_for_the_test(tmp_path, nothing):
    add(tmp_path, "a")
    add(tmp_path, "b")
    path = tmp_path / "s.yaml"
    path.write_text(
        f"dataset:\n  train: [{{user: u, session: a}}]\n  val: [{{user: u, session: b}}]\n"
        f"  test: {nothing}\n"
    )
    assert find_split(tmp_path, split_file=path).test == ()


def test_an_absent_split_file_is_refused(tmp_path):
    add(tmp_path, "a")
    with pytest.raises(ValueError, match=r"none\.yaml: split file cannot be read: No such file"):
        find_split(tmp_path, split_file=tmp_path / "none.yaml")


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
