"""The installed command: a name for each python -m command, and shell completion."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
import typer
from conftest import ROOT
from typer.testing import CliRunner

from search.__main__ import COMMANDS, NAMES, app

COMPLETE = """
import os, sys
os.environ |= {"COMP_WORDS": sys.argv[1], "COMP_CWORD": "%d"}
os.environ["_EMGSEARCH_COMPLETE"] = "complete_bash"
sys.argv = ["emgsearch"]
from search.__main__ import app
try:
    app(prog_name="emgsearch")
finally:
    print(bool({"torch", "ray", "numpy", "rich"} & sys.modules.keys()), file=sys.stderr)
"""


def completed(words: str, position: int) -> tuple[list[str], bool]:
    """Return what bash is offered after these words, and whether anything slow was imported."""
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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("simulate curves.csv --repeats 0", "--repeats 0 is not allowed: must be greater than"),
        ("run space.yaml --trials x", "--trials x is not allowed: must be a valid integer ("),
        ("export a.pt --to gguf", "--to: 'gguf' is not one of 'torch', 'onnx', "),
    ],
)
def test_a_value_that_an_option_does_not_take_is_refused_as_in_a_space_file(words, said):
    refused = CliRunner().invoke(app, words.split())
    assert refused.exit_code == 2
    assert refused.stderr.startswith(f"error: {said}")


def test_every_runnable_module_is_a_command_of_it():
    """``python -m`` runs a package with a ``__main__`` and a module that ends with an app."""
    packages = {
        path.parent
        for root in ("search", "emgmodels")
        for path in ROOT.glob(f"{root}/*/__main__.py")
    }
    modules = [path for root in ("search", "emgmodels") for path in ROOT.glob(f"{root}/*.py")]
    runnable = {path.with_suffix("") for path in modules if "if __name__" in path.read_text()}
    typed = {".".join(path.relative_to(ROOT).parts) for path in packages | runnable}
    assert typed - {"search.__main__"} <= set(NAMES), "has no name in emgsearch"
    assert set(NAMES.values()) == set(COMMANDS)


def helps(command, path=()) -> list[tuple[str, ...]]:
    below = getattr(command, "commands", {})
    return [path, *(each for name, own in below.items() for each in helps(own, (*path, name)))]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_its_own_name_and_no_other(name):
    command = typer.main.get_command(importlib.import_module(COMMANDS[name][0]).app)
    for path in helps(command, (name,)):
        shown = CliRunner().invoke(app, [*path, "--help"], prog_name="emgsearch").stdout
        assert f"emgsearch {' '.join(path)}" in " ".join(shown.split())
        assert "python -m" not in shown
        assert "<bool>" not in shown


def test_help_lists_the_commands():
    shown = CliRunner().invoke(app, ["--help"]).stdout
    assert all(name in shown for name in COMMANDS)


def test_completion_offers_commands_without_importing_them_and_options_of_one():
    names, heavy = completed("emgsearch ru", 1)
    assert names == ["run", "runs"]
    assert not heavy
    options, heavy = completed("emgsearch simulate --sch", 2)
    assert options == ["--scheduler"]
    assert not heavy


HELP = """
import importlib, sys
from typer.testing import CliRunner
from search.__main__ import COMMANDS

for module, _ in COMMANDS.values():
    shown = CliRunner().invoke(importlib.import_module(module).app, ["--help"])
    assert shown.exit_code == 0, module
large = {"torch", "ray", "numpy", "matplotlib", "optuna", "pyarrow", "pydantic", "h5py"}
print(sorted(large & set(sys.modules)))
"""


def test_the_help_of_no_command_loads_a_large_library():
    """It is read more often than anything else, and shells wait for it."""
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
