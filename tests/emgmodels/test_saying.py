"""Sentences on terminals of any width."""

from __future__ import annotations

import ast
import io
import itertools
import re
from pathlib import Path

import pytest
from rich.console import Console

from emgmodels.saying import counted, say, wrapped

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


@pytest.mark.parametrize("width", [40, 80, 100])
def test_an_entry_of_a_list_goes_on_below_its_beginning(width):
    entry = f"  {'examples':14}{TEXT.splitlines()[0]}"
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width, color_system=None)
    say(console, entry, hanging=16)
    first, *others = file.getvalue().splitlines()
    assert first.startswith("  examples      The search")
    assert others
    assert all(line.startswith(" " * 16) and line[16] != " " for line in others)
    assert file.getvalue().split() == entry.split()


def test_what_fits_stays_as_it_is():
    assert wrapped("a  b\n\nc", 10) == "a  b\n\nc"


@pytest.fixture(scope="module")
def sources() -> list[tuple[str, str, list[ast.AST]]]:
    """Every module of the packages: its place, its text, its calls and formatted texts."""
    found = []
    for package in ("emgmodels", "search", "benchmarks"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            kinds = (ast.Call, ast.JoinedStr)
            nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
            found.append((str(path.relative_to(ROOT)), text, nodes))
    return found


def test_sentences_are_printed_by_nothing_else(sources):
    """Other ways break words and paths at a terminal's edge, or take brackets for markup."""
    found = [
        f"{path}:{node.lineno}"
        for path, _, nodes in sources
        for node in nodes
        if path != "emgmodels/saying.py"
        and not path.startswith("benchmarks")
        and isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("print", "echo")
        and node.args
        and isinstance(node.args[0], ast.JoinedStr | ast.Constant)
        and getattr(node.args[0], "value", None) != ""
    ]
    assert found == []


COUNTED = re.findall(
    r"\w+",
    """
    trial session epoch window user prompt key keystroke file core node GPU CPU seed sample frame
    rung machine folder run architecture parameter electrode layer recording character word day
    minute hour point time suggestion configuration search training row column line value
    combination subject stage checkpoint band head channel state weight step batch token
    entry byte curve error winner slot mistake option number filter tensor kernel
    convolution sequence label process feature gap setting order
    """,
)
PLURAL = re.compile(rf"^ (?:[a-z-]+ )?(?:{'|'.join(re.escape(one) for one in COUNTED)})(?:s|es)\b")
NEVER_ONE = {
    *("its", "planes", "inputs", "sorted(kernels)", "features.hop", "features.n_fft", "rate"),
    *("found.frame_rate", "window", "total", "len(text)", "most", "hours", "best.parameters"),
    *("' + '.join(map(str, counts))", "describe(settings.model).parameters", "alone['regret']"),
    "field('times')",
    "CUT.samples",
    "warmup",
    "max(self.channels)",
    "BANDS * model.mlp_features",
    "sizes[2]",
    "width",
    "field('epoch')",
    "field('reached')",
}
"""What stands before plurals and is never one: thousands, or a rate."""
TEXTS = {
    *("name", "subset", "role", "subject", "stored", "out", "SETS[subset]", "schedule.name"),
    *("SETS[evaluation.subset]", "person.user", "data", "keys[0]"),
}
"""What is no number: ``{name} sessions``."""


def test_whatever_is_counted_has_its_singular(sources):
    """'1 sessions' is what a number in front of a plural becomes; ``counted`` says both."""
    found = []
    for path, _, nodes in sources:
        for value, after in itertools.chain.from_iterable(map(pairs, nodes)):
            if not PLURAL.match(after):
                continue
            name = ast.unparse(value)
            known = name in NEVER_ONE | TEXTS or "counted(" in name
            if not known and not re.fullmatch("[A-Z_* ]+", name):
                found.append(f"{path}:{value.lineno}: {name}{after}")
    assert found == []


def pairs(node: ast.AST) -> list[tuple[ast.expr, str]]:
    """Return each value in a formatted text, with the words after it."""
    if not isinstance(node, ast.JoinedStr):
        return []
    return [
        (value.value, after.value)
        for value, after in zip(node.values, node.values[1:], strict=False)
        if isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant)
    ]


def test_no_plural_is_made_by_hand(sources):
    """``'s' * (count != 1)`` and ``trial(s)`` are other ways to the same, and each is its own."""
    by_hand = re.compile(r"""['"]s['"] ?(\*|if|\[:)|[a-z]\(s\)""")
    found = [
        f"{path}: {line.strip()}"
        for path, text, _ in sources
        for line in text.splitlines()
        if by_hand.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 trials"),
        (1, "1 trial"),
        (1.0, "1 trial"),
        (0.5, "0.5 trials"),
        (12345, "12,345 trials"),
    ],
)
def test_a_count_has_the_noun_that_goes_with_it(count, said):
    assert counted(count, "trial") == said
