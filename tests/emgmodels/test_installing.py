"""Commands that add a package run as they are pasted, with this Python and from this folder."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from emgmodels import installing
from emgmodels.installing import how_to_install, python_here

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("place", [".", "docs", "/"])
def test_an_extra_is_installed_from_the_checkout_wherever_one_stands(monkeypatch, place):
    monkeypatch.chdir(ROOT / place)
    python, *words = shlex.split(how_to_install("lm"))
    assert python == shlex.split(python_here())[0]
    assert words[:4] == ["-m", "pip", "install", "-c"]
    pins, option, project = words[4:]
    assert Path(pins).samefile(ROOT / "constraints.txt")
    assert option == "-e"
    assert Path(project.removesuffix("[lm]")).samefile(ROOT)


def test_in_the_project_it_is_the_command_of_the_documentation(monkeypatch):
    monkeypatch.chdir(ROOT)
    words = how_to_install("onnx").removeprefix(python_here())
    assert words == " -m pip install -c constraints.txt -e '.[onnx]'"
    assert words in (ROOT / "docs" / "using-a-model.md").read_text()


def test_what_is_no_checkout_is_named_as_it_is_installed(monkeypatch, tmp_path):
    monkeypatch.setattr(installing, "_PROJECT", tmp_path)
    assert how_to_install("lm").endswith(" -m pip install 'emgsearch[lm]'")


@pytest.mark.parametrize("module", ["search.runs", "search.run", "emgmodels.training"])
def test_a_python_without_the_packages_is_told_how_to_have_them(module):
    """Somebody who did not activate the environment meets this first."""
    command = [sys.executable, "-S", "-m", module]  # without what is installed
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {sys.executable} lacks packages that this needs: ")
    assert done.stderr.endswith("source .venv/bin/activate\n")
