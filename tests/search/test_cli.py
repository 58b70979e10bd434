"""The installed command: a name for each python -m command, and shell completion."""

from __future__ import annotations

import importlib
import subprocess
import sys

import typer
from typer.testing import CliRunner

from search.__main__ import COMMANDS, app

COMPLETE = """
import os, sys
os.environ |= {"COMP_WORDS": sys.argv[1], "COMP_CWORD": "%d"}
os.environ["_EMGSEARCH_COMPLETE"] = "complete_bash"
sys.argv = ["emgsearch"]
from search.__main__ import app
try:
    app(prog_name="emgsearch")
finally:
    print("torch" in sys.modules, file=sys.stderr)
"""


def completed(words: str, position: int) -> tuple[list[str], bool]:
    """Return what bash is offered after these words, and whether torch was imported for it."""
    program = COMPLETE % position
    done = subprocess.run(
        [sys.executable, "-c", program, words], capture_output=True, text=True, check=False
    )
    return done.stdout.split(), done.stderr.strip().endswith("True")


def test_every_command_is_one_of_python_m():
    for module, _ in COMMANDS.values():
        assert isinstance(importlib.import_module(module).app, typer.Typer)


def test_a_command_runs_with_its_own_options_and_errors(tmp_path):
    listed = CliRunner().invoke(app, ["runs", str(tmp_path)])
    assert listed.exit_code == 0
    assert "holds no run folder" in listed.stdout
    refused = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert refused.exit_code == 2
    assert "give the folder of a search" in refused.stderr


def test_help_lists_the_commands():
    shown = CliRunner().invoke(app, ["--help"]).stdout
    assert all(name in shown for name in COMMANDS)


def test_completion_offers_commands_without_importing_them_and_options_of_one():
    names, heavy = completed("emgsearch ru", 1)
    assert names == ["run", "runs"]
    assert not heavy
    options, _ = completed("emgsearch simulate --sch", 2)
    assert options == ["--scheduler"]


HELP = """
import importlib, sys
from typer.testing import CliRunner
from search.__main__ import COMMANDS

for module, _ in COMMANDS.values():
    shown = CliRunner().invoke(importlib.import_module(module).app, ["--help"])
    assert shown.exit_code == 0, module
print(sorted({"torch", "ray", "optuna", "pyarrow", "pydantic", "h5py"} & set(sys.modules)))
"""


def test_the_help_of_no_command_loads_a_large_library():
    """It is read more often than anything else, and shells wait for it."""
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
