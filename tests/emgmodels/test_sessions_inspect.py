import dataclasses

import numpy as np
import pytest
from typer.testing import CliRunner

from emgmodels.sessions import Keystroke, Prompt, Session, write_session
from emgmodels.sessions.__main__ import app

BEGIN = 1.6e9


def make_session(name="first", condition="on_keyboard"):
    emg = np.ones((12_000, 2, 16), np.float32)
    emg[:, 0, ::2] = -3.0
    keys = ["Key.shift_l", "[", "a", "]", "Key.space", "$", "Key.enter"]
    return Session(
        name=name,
        user="u1",
        condition=condition,
        duration_mins=0.1,
        time=BEGIN + np.arange(12_000) / 2000,
        emg=emg,
        keystrokes=tuple(Keystroke(key, BEGIN + i, BEGIN + i + 0.1) for i, key in enumerate(keys)),
        prompts=(Prompt("p", BEGIN, BEGIN + 5, "hi…"), Prompt("p", BEGIN + 5, BEGIN + 6, None)),
    )


@pytest.fixture
def path(tmp_path):
    write_session(tmp_path / "first.hdf5", make_session())
    return tmp_path / "first.hdf5"


def inspect(*arguments, **environment):
    return CliRunner().invoke(app, ["inspect", *map(str, arguments)], env=environment)


def cells(output):
    """Return the table's cells: a dict a session."""
    # Behind it comes the table of users.
    lines = output.replace("rms ", "rms_").partition("\nuser ")[0].splitlines()
    # Below the table stand remarks: a session's name and a colon.
    heads, *rows = (line.split() for line in lines if line and ": " not in line)
    return [dict(zip(heads, row, strict=False)) for row in rows]


def test_a_row_says_what_a_session_is(path):
    result = inspect(path)
    assert result.exit_code == 0, result.output
    (row,) = cells(result.stdout)
    assert row == {
        "session": "first",
        "user": "u1",
        "condition": "on_keyboard",
        "minutes": "0.1",
        "Hz": "2000.0",
        "truth": "keys",
        "keys": "6",
        "keys/s": "1.0",
        "dropped": "1",
        "outside": "1",
        "lag/ms": "unsure",
        "rms_left": "2.24",
        "rms_right": "1",
        "text": "[a]",
    }
    assert "[a] $⏎" in result.stdout


def test_a_folder_gives_a_row_a_session_and_prompts_are_counted_as_text(path):
    write_session(path.parent / "sub" / "second.hdf5", make_session("second", "on_table"))
    first, second = cells(inspect(path.parent).stdout)
    assert (first["session"], second["session"]) == ("first", "second")
    assert (second["truth"], second["keys"], second["dropped"]) == ("prompts", "3", "1")
    assert second["text"] == "hi⏎"


def test_a_broken_file_is_reported_and_the_others_are_shown(path):
    broken = path.with_name("broken.hdf5")
    broken.write_text("nothing")
    result = inspect(broken, path)
    assert result.exit_code == 2
    assert result.stderr == f"error: {broken}: is not HDF5 (7 bytes): expected a session file\n"
    assert [row["session"] for row in cells(result.stdout)] == ["first"]


@pytest.mark.parametrize("ending", ["png", "svg"])
@pytest.mark.parametrize("condition", ["on_keyboard", "on_table"])
def test_a_plot_is_drawn(tmp_path, ending, condition):
    write_session(tmp_path / "s.hdf5", make_session(condition=condition))
    picture = tmp_path / f"picture.{ending}"
    result = inspect(tmp_path / "s.hdf5", "--plot", picture, "--start", 0, "--seconds", 3)
    assert result.exit_code == 0, result.output
    assert picture.read_bytes().startswith(b"\x89PNG" if ending == "png" else b"<?xml")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--start", 7], "first: start 7.0 s: the session lasts from 0 to 6.0 s"),
        (["--start", -1], "start -1.0 s"),
        (["--seconds", 0], "seconds 0.0: a picture shows 0.1 to 60.0 s"),
    ],
)
def test_a_plot_of_nothing_is_refused(path, options, message):
    picture = path.with_name("picture.png")
    result = inspect(path, "--plot", picture, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not picture.exists()


@pytest.mark.parametrize(
    ("picture", "message"), [("a.xyz", "Format 'xyz' is not supported"), ("none/a.png", "none")]
)
def test_a_plot_that_cannot_be_saved_is_refused(path, picture, message):
    result = inspect(path, "--plot", path.parent / picture)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_plot_is_of_one_session(path):
    result = inspect(path, path, "--plot", path.with_name("picture.png"))
    assert result.exit_code == 2
    assert "draws one session, 2 are named: name one" in result.stderr


def test_where_a_plot_went_is_said_and_a_folder_is_no_picture(path):
    result = inspect(path, "--plot", path.with_name("picture"))
    assert result.exit_code == 0, result.output
    assert f"first: drawn to {path.with_name('picture.png')}" in result.stdout
    assert path.with_name("picture.png").is_file()
    before = sorted(path.parent.rglob("*"))
    (path.parent / "folder").mkdir()
    result = inspect(path, "--plot", path.parent / "folder")
    assert result.exit_code == 2
    assert "is a folder: name a file, such as" in result.stderr
    assert sorted(path.parent.rglob("*")) == sorted([*before, path.parent / "folder"])


def test_what_to_know_of_a_session_is_said_below_the_table(tmp_path):
    session = make_session()
    rng = np.random.default_rng(0)
    volts = (rng.normal(size=session.emg.shape) * 2e-5).astype(np.float32)
    late = session.time + np.where(np.arange(12_000) < 6000, 0, 2.5)
    path = tmp_path / "first.hdf5"
    write_session(path, dataclasses.replace(session, emg=volts, time=late))
    out = inspect(path).stdout
    assert "first: emg looks like volts: read as microvolts, x 1e+06\n" in out
    assert "first: 1 gap without samples, 2.5 s in all\n" in out


def test_sessions_of_the_same_name_are_both_shown(path):
    for user in "ab":
        write_session(path.parent / user / "first.hdf5", make_session())
    assert len(cells(inspect(path.parent).stdout)) == 3
