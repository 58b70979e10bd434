"""Sentences on terminals of any width."""

from __future__ import annotations

import ast
import io
from pathlib import Path

import pytest
from rich.console import Console

from emgmodels.saying import say, wrapped

ROOT = Path(__file__).resolve().parents[2]
TEXT = (
    "The search ended: Everything is in /home/somebody/a folder/runs/deep-001/of/many/parts, with "
    "[brackets] and a transformer:2 gru:4 conv:4 @16ch at 12.3 %.\n"
    "    python -m search.run --resume '/home/somebody/a folder/runs/deep-001' --add-trials 32 --q"
)


@pytest.mark.parametrize("width", [20, 80, 100, 140])
def test_no_word_is_broken_at_any_width(width):
    file = io.StringIO()
    say(Console(file=file, force_terminal=True, width=width, color_system=None), TEXT)
    printed = file.getvalue()
    assert printed.split() == TEXT.split()
    lines = printed.splitlines()
    assert all(len(line) <= width or " " not in line.strip() for line in lines[:-1])
    assert lines[-1] == TEXT.splitlines()[-1]  # a command stays one line


def test_a_file_gets_whole_lines():
    file = io.StringIO()
    say(Console(file=file, width=40), TEXT)
    assert file.getvalue() == f"{TEXT}\n"


def test_what_fits_stays_as_it_is():
    assert wrapped("a  b\n\nc", 10) == "a  b\n\nc"


def test_sentences_are_printed_by_nothing_else():
    """Rich's own print breaks paths on a terminal, and takes brackets for its markup."""
    found = []
    for package in ("emgmodels", "search"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            if path.name == "saying.py" or ".print(" not in text:
                continue
            for node in ast.walk(ast.parse(text)):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr == "print"
                    and node.args
                    and isinstance(node.args[0], ast.JoinedStr | ast.Constant)
                ):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found == []
