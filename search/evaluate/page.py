"""An evaluation as files to keep: a page with all texts and their errors, the keyboard as picture.

The page is one file that opens offline.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path

from emgmodels.atomic import whole
from emgmodels.charset import decode
from emgmodels.metrics import count_confusions
from emgmodels.outputs import check_output
from emgmodels.reading.sessions import STITCHED, align
from emgmodels.saying import counted
from search.evaluate.evaluation import GREEDY, Evaluation, reach
from search.evaluate.keyboard import keyboard
from search.evaluate.output import rates
from search.report.display.page import Page
from search.report.display.plot import MARK
from search.report.display.table import Table
from search.results.record import TrialRecord
from search.results.session_files import SETS

_FOLDED = 12
"""Users above which their rows, and those of their sessions, are behind a line to click on."""
_COLUMNS = 92
"""Characters of a line of text."""
_KINDS = {"S": "another key", "D": "left out", "I": "one too many"}
_PARTS = ("ins %", "del %", "sub %")
_STYLE = """<style>
.text { font: .82rem/1.35 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.text pre { margin: .5rem 0; white-space: pre; overflow-x: auto; }
.S, .D, .I { border-radius: 2px; font-weight: 600; color: #111418; }
.S { background: #f0c35e; } .D { background: #f2a48a; } .I { background: #9ccbee; }
</style>"""


def write_files(folder: Path, evaluation: Evaluation, synthetic: bool) -> list[Path]:
    """Write the page of an evaluation, and its keyboard as PNG and SVG.

    Both show the last of the evaluation's decoders, on whole sessions, stitched.

    Args:
        folder: where; it is made if it isn't there.
        evaluation: what to write.
        synthetic: whether the sessions were written by a synthetic typist.

    Returns:
        The files: page, PNG, SVG.
    """
    search = evaluation.searches[-1]
    found = evaluation.read(STITCHED, search)
    subset = f"{'synthetic ' if synthetic else ''}{SETS[evaluation.subset]}"
    decoder = search.name if search else GREEDY
    sessions = counted(len(found), f"{subset} session")
    data = f"{evaluation.trial.name}, {decoder}, {sessions}"
    counts = count_confusions((decode(x.target), decode(x.predicted)) for _, x in found)
    plot = keyboard(counts, data)
    page = Page(f"{evaluation.trial.name} on {subset} sessions", reach(evaluation))
    if synthetic:
        page.banner("Synthetic data.", "These error rates say nothing about people.")
    for line in (*evaluation.notes, *evaluation.warnings()):
        page.text(line)
    page.section("Error rates")
    table = rates(evaluation, _PARTS)
    if len(set(evaluation.users.values())) > _FOLDED:
        first = [row for row in table.rows if str(row[0]).startswith(("all ", "mean of "))]
        short = Table(table.headers, first, left=table.left, unbroken=table.unbroken)
        page.table(short, table, "every user and session")
    else:
        page.table(table)
    page.section("Keyboard")
    page.plots([plot])
    page.section("What was typed, and what was read")
    page.text(
        f"Whole sessions, stitched, {decoder}. Above the truth, below what was read; marked are "
        + ", ".join(f"{name} ({mark})" for mark, name in _KINDS.items())
        + ". A dot (·) says that there is no key here."
    )
    for place, (name, transcript) in enumerate(found):
        rows = align(transcript.target, transcript.predicted)
        text = f"{_STYLE}<div class='text'>{''.join(_lines(*rows))}</div>"
        page.folded(f"{name}: CER {transcript.edits.cer:.2f} %", text, is_open=place == 0)
    paths = page_paths(folder, evaluation.trial, evaluation.subset)
    # All are made before the first is written, so that an error leaves no half of an evaluation.
    written = (page.render().encode(), plot.png()[0], plot.svg().encode())
    for path, content in zip(paths, written, strict=True):
        with whole(path) as scratch:
            scratch.write_bytes(content)
    return paths


def page_paths(folder: Path, trial: TrialRecord, subset: str) -> list[Path]:
    """Return where ``write_files`` writes: page, PNG, SVG.

    Raises:
        ValueError: something else lies there.
    """
    stem = f"{trial.slug}-{subset}"
    names = (f"{stem}.html", f"{stem}-keyboard.png", f"{stem}-keyboard.svg")
    for name in names:
        check_output(folder / name, MARK)
    return [folder / name for name in names]


def _lines(true: str, read: str, marks: str) -> Iterator[str]:
    """Yield two lines of text at a time, as HTML with the errors marked."""
    for low in range(0, len(true), _COLUMNS):
        part = slice(low, low + _COLUMNS)
        yield "<pre>"
        for row in (true[part], read[part]):
            for character, mark in zip(row, marks[part], strict=True):
                # What was typed may be any key, "<" among them.
                shown = html.escape(character)
                if mark == " ":
                    yield shown
                else:
                    yield f'<span class="{mark}" title="{_KINDS[mark]}">{shown}</span>'
            yield "\n"
        yield "</pre>"
