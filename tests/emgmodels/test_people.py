"""Splits of people: who is held out, and what is refused."""

import zlib

import pytest
from helpers.splits import recorded, write_split
from typer.testing import CliRunner

from emgmodels.sessions import Keystroke, find_split, read_people
from emgmodels.sessions.__main__ import app
from emgmodels.sessions.people import People, draw_people
from emgmodels.sessions.session import ON_KEYBOARD, SessionInfo

TYPED = (Keystroke("a", 1.6e9 + 0.1, 1.6e9 + 0.2),)


def write_users(folder, *users, sessions=1):
    for user in users:
        for i in range(sessions):
            seed = zlib.crc32(f"{user} {i}".encode())
            (folder / user).mkdir(parents=True, exist_ok=True)
            recorded(folder / user / f"{user}-{i}.hdf5", seed, user=user, keystrokes=TYPED)


def users_of(split):
    return tuple(
        sorted({path.parent.name for path in getattr(split, subset)})
        for subset in ("train", "val", "test")
    )


def drawn(names, people, seed=0):
    """Return the role of each of some users whose files nobody opens."""

    def info(path):
        return SessionInfo(path, path, ON_KEYBOARD, 0.0, 1.0, 2000, 1, 0)

    files = {name: [_Stem(name)] for name in names}
    found = draw_people("data", read_people(people), files, seed, info)
    return {path: role for role, paths in found.items() for path in paths}


class _Stem(str):
    @property
    def stem(self):
        return str(self)


def test_whole_users_are_held_out(tmp_path):
    users = [f"u{i}" for i in range(8)]
    write_users(tmp_path, *users, sessions=2)
    split = find_split(tmp_path, people=read_people("val=2,test=1"))
    train, val, test = users_of(split)
    assert (len(train), len(val), len(test)) == (5, 2, 1)
    assert sorted(train + val + test) == users
    assert len(split.val) == 4
    assert split.subject == "8 people"
    assert "val=2,test=1" in split.origin


@pytest.mark.parametrize(
    ("text", "sizes"),
    [("val=2,test=2", (16, 2, 2)), ("val=0.1,test=0.25", (13, 2, 5)), ("val=1", (19, 1, 0))],
)
def test_how_many_are_held_out(text, sizes):
    roles = list(drawn([f"u{i}" for i in range(20)], text).values())
    assert tuple(map(roles.count, ("train", "val", "test"))) == sizes


@pytest.mark.parametrize("seed", range(5))
def test_a_user_who_joins_changes_the_role_of_one_other_at_most(seed):
    names = [f"u{i}" for i in range(12)]
    before = drawn(names, "val=2,test=3", seed)
    for newcomer in ("ada", "ben", "eve"):
        after = drawn([*names, newcomer], "val=2,test=3", seed)
        moved = [name for name in names if before[name] != after[name]]
        assert len(moved) <= 1
        assert all(after[name] == "train" for name in moved)
    held_out = [drawn(names, "val=2", other) for other in range(8)]
    assert len({tuple(map(roles.get, names)) for roles in held_out}) > 1


def test_users_are_held_out_by_name(tmp_path):
    write_users(tmp_path, "anna", "bob", "carl", "1234567")
    split = find_split(tmp_path, people=read_people("val=1234567,test=anna,bob"))
    assert users_of(split) == (["carl"], ["1234567"], ["anna", "bob"])
    named = find_split(tmp_path, people=read_people({"val": ["bob"], "test": 1}))
    assert users_of(named)[1] == ["bob"]


def test_what_is_asked_for_is_written_as_the_option_takes_it():
    for text in ("val=2,test=0.1", "val=[anna,bob],test=[carl]", "val=1,test=0"):
        assert str(read_people(text)) == text
        assert read_people(str(read_people(text))) == read_people(text)
    assert read_people("val=anna, bob,test=2") == People(val=("anna", "bob"), test=2)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("val=9,test=9", "holds out 18, and there are 4 users"),
        ("val=0", "holds out 0, and there are 4 users"),
        ("val=2,test=2", "holds out 4, and there are 4"),
        ("val=nobody", "val: nobody unknown: the users are anna, bob, carl, dora"),
        ("val=eve,test=abe", "test: abe unknown, val: eve unknown: the users are anna, bob"),
        ("val=anna,bob,test=bob", "bob in two roles"),
    ],
)
def test_who_cannot_be_held_out(text, told):
    with pytest.raises(ValueError, match=told) as error:
        drawn(["anna", "bob", "carl", "dora"], text)
    assert "data: " in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "val", "val=", "val=-1", "val=1.5", "val=1,val=2", "train=2", "val=a,a"]
)
def test_what_is_no_split_of_people(text):
    with pytest.raises(ValueError, match=r"^--people.*such as|^--people.*val and test"):
        read_people(text)


def test_one_user_is_too_few(tmp_path):
    write_users(tmp_path, "anna", sessions=3)
    with pytest.raises(ValueError, match="all sessions are of one user, anna: leave --people out"):
        find_split(tmp_path, people=read_people("val=1"))


def test_a_user_without_keys_is_refused(tmp_path):
    write_users(tmp_path, "anna", "bob", "carl")
    recorded(tmp_path / "mute.hdf5", 7, user="mute")
    with pytest.raises(ValueError, match="no keys and no prompts in any session of mute: they"):
        find_split(tmp_path, people=read_people("val=1"))


def test_people_and_a_subject_contradict_each_other(tmp_path):
    write_users(tmp_path, "anna", "bob")
    with pytest.raises(ValueError, match="--subject anna says otherwise"):
        find_split(tmp_path, subject="anna", people=read_people("val=1"))


GENERIC = {
    "train": [("anna", "anna-0"), ("bob", "bob-0")],
    "val": [("anna", "anna-1"), ("bob", "bob-1")],
    "test": [("carl", "carl-0"), ("carl", "carl-1")],
}


def test_a_generic_split_file_is_taken_as_it_is(tmp_path):
    write_users(tmp_path, "anna", "bob", "carl", sessions=2)
    path = write_split(tmp_path / "generic.yaml", **GENERIC, user="generic")
    split = find_split(tmp_path, split_file=path)
    assert users_of(split) == (["anna", "bob"], ["anna", "bob"], ["carl"])


def test_a_personal_split_file_is_taken_as_it_is(tmp_path):
    write_users(tmp_path, "anna", "bob", "carl", sessions=3)
    own = [("carl", f"carl-{i}") for i in range(3)]
    path = write_split(tmp_path / "user0.yaml", own[:1], own[1:2], own[2:], user="user0")
    assert users_of(find_split(tmp_path, split_file=path)) == (["carl"], ["carl"], ["carl"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {
                "train": [*GENERIC["train"], ("carl", "carl-1")],
                "test": [("carl", "carl-0"), ("dora", "dora-0")],
            },
            r"dataset.test holds out users \(dora\), and has carl too",
        ),
        (
            {"val": [("anna", "anna-1"), ("dora", "dora-0")]},
            r"dataset.val holds out users \(dora\)",
        ),
        ({"val": [("carl", "carl-0")], "test": [("carl", "carl-1")]}, "both have carl"),
        ({"test": [("carl", "carl-7")]}, "carl-7"),
    ],
)
def test_a_split_file_that_mixes_roles_or_names_absent_sessions(tmp_path, change, told):
    write_users(tmp_path, "anna", "bob", "carl", "dora", sessions=2)
    path = write_split(tmp_path / "generic.yaml", **(GENERIC | change), user="generic")
    with pytest.raises(ValueError, match=told):
        find_split(tmp_path, split_file=path)


def test_inspecting_sums_up_each_user(tmp_path):
    write_users(tmp_path, "anna", sessions=2)
    write_users(tmp_path, "bob")
    done = CliRunner().invoke(app, ["inspect", str(tmp_path)])
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.output.splitlines()]
    assert ["anna", "2", "0.0", "2"] in rows
    assert ["bob", "1", "0.0", "1"] in rows
    assert ["all", "2", "3", "3"] in [row[:3] + row[4:] for row in rows]
