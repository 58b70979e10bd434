"""Bad input to every command: one message that names it, exit code 2, and nothing left behind."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from conftest import bound_by_permissions, give_away
from helpers.bad_input import CASES, ENDINGS, SHUT, write_inputs
from typer.testing import CliRunner

from emgmodels.checkpoints.loading import load
from search.__main__ import COMMANDS, app
from search.results.folder import RunFolder
from search.space.reference import BEGIN, END

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """Good and broken files of every kind that a command reads."""
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder)
    return folder


def everything(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize(("arguments", "named"), CASES, ids=lambda case: " ".join(case)[:70])
def test_bad_input_is_one_message_and_leaves_nothing(inputs, monkeypatch, arguments, named):
    monkeypatch.chdir(inputs)
    before = everything(inputs)
    done = CliRunner().invoke(app, list(arguments))
    said = done.stderr.strip()
    assert done.exit_code == 2, (said, done.stdout)
    assert said.startswith("error: "), said
    assert "\nerror: " not in said
    assert named in said
    for odd in ("Traceback", "fault of the program", "Errno", "SECRET", "│"):
        assert odd not in said
    assert everything(inputs) == before


def test_every_command_is_given_bad_input():
    given = Counter(arguments[0] for arguments, _ in CASES)
    assert given.total() >= 60
    assert given.keys() >= COMMANDS.keys()


ALL_AT_ONCE = """
import json, sys
from typer.testing import CliRunner
from search.__main__ import app

answers = []
for arguments in json.load(sys.stdin):
    done = CliRunner().invoke(app, arguments)
    answers.append((done.exit_code, done.stderr.strip()))
json.dump(answers, sys.stdout)
"""


@pytest.fixture(scope="module")
def shut(inputs, tmp_path_factory) -> Path:
    """The good files beside some that this user may not read, and others' that stay as they are."""
    place = tmp_path_factory.mktemp("shut") / "place"
    shutil.copytree(inputs, place)
    shutil.copytree(place / "data", place / "some-shut")
    split = {"train": ["data/s0.hdf5"], "val": ["data/s1.hdf5"], "test": ["data/s2.hdf5"]}
    RunFolder(place / "run-001").write_environment({"split": split, "subject": "anna"})
    shutil.copytree(place / "run-001", place / "read-only" / "run-001")
    (place / "read-only" / "page.md").write_text(f"{BEGIN}\n{END}\n")
    (place / "shut").mkdir()
    (place / "mine").mkdir()
    give_away(place / "read-only")
    for path in (place / f"shut.{kind}" for kind in ENDINGS):
        path.write_text("secret")
        path.chmod(0)
    for path in (place / "shut", place / "some-shut" / "s1.hdf5"):
        path.chmod(0)
    return place


@pytest.fixture(scope="module")
def answers(shut) -> dict[tuple[str, ...], tuple[int, str]]:
    """What each command says, in one process, since privileges are given up for good."""
    cases = [arguments for arguments, _ in SHUT]
    before = everything(shut)
    done = subprocess.run(
        [*bound_by_permissions(), sys.executable, "-c", ALL_AT_ONCE],
        input=json.dumps(cases),
        env={**os.environ, "EMGSEARCH_CACHE": str(shut / "mine/cache"), "PYTHONPATH": str(ROOT)},
        cwd=shut,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    new = everything(shut).keys() - before.keys()
    assert [path for path in new if not path.startswith(str(shut / "mine/cache"))] == []
    said = json.loads(done.stdout)
    return {case: tuple(answer) for case, answer in zip(cases, said, strict=True)}


@pytest.mark.parametrize(("arguments", "named"), SHUT, ids=lambda case: " ".join(case)[:70])
def test_what_may_not_be_read_or_written_is_one_message(answers, arguments, named):
    code, said = answers[arguments]
    assert code == 2, said
    assert said.startswith("error: "), said
    assert "\nerror: " not in said
    assert named in said
    for odd in ("Traceback", "fault of the program", "Errno", "damaged", "│"):
        assert odd not in said


def test_a_fault_of_the_program_is_one_line_and_a_private_log(inputs, monkeypatch, tmp_path):
    def broken(*_: object) -> None:
        raise KeyError("s3://KEY:SECRET@bucket")

    monkeypatch.setattr("emgmodels.notation.parse_notation", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done = CliRunner().invoke(app, ["factory", "conv:1"])
    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) == 1
    [log] = tmp_path.iterdir()
    assert str(log) in done.stderr
    assert log.stat().st_mode & 0o077 == 0
    text = log.read_text()
    assert "Traceback" in text
    assert "KeyError" in text
    assert "SECRET" not in text + done.stderr


def test_ctrl_c_ends_with_130_and_a_word(monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("emgmodels.notation.parse_notation", interrupted)
    done = CliRunner().invoke(app, ["factory", "conv:1"])
    assert (done.exit_code, done.stderr) == (130, "interrupted\n")


def test_an_ascii_terminal_shows_what_it_can(inputs):
    words = [sys.executable, "-m", "emgmodels.sessions", "inspect", str(inputs / "s0.hdf5")]
    surroundings = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, capture_output=True, text=True, env=surroundings)
    assert done.returncode == 0, done.stderr
    assert "s0" in done.stdout


def test_a_closed_pipe_is_quiet(inputs):
    line = f"{sys.executable} -m emgmodels.sessions inspect {inputs / 's0.hdf5'} | true"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr == ""


def test_a_file_uri_is_a_path(inputs):
    uri = (inputs / "s0.hdf5").as_uri().replace("s0", "%730")
    assert CliRunner().invoke(app, ["sessions", "inspect", uri]).exit_code == 0


def test_loading_raises_what_is_documented(inputs):
    for name in ("cut.pt", "foreign.pt", "unequal.pt", "nowhere.pt", "card.pt", "half.pt"):
        with pytest.raises(ValueError, match=name):
            load(inputs / name)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_speaks_of_this_command_and_shows_flags_without_a_type(name):
    shown = CliRunner().invoke(app, [name, "--help"])
    assert shown.exit_code == 0
    assert "<bool>" not in shown.stdout
    assert f"python -m {importlib.import_module(COMMANDS[name][0]).__name__}" not in shown.stdout
