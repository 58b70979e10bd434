"""One self-contained HTML page: figures and tables inside it, nothing fetched, light and dark.

``page.css`` is its look. ``page.js`` sorts tables, names what a pointer is at in a chart, and keeps
the page of a running search fresh; a page without scripts says the same.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from search.report.display.plot import FAINT, INK, MARK, PAPER, SERIES, SOFT, Plot
from search.report.display.table import Table

_THEMED = {
    INK: ("#1b1f24", "#e6edf3"),
    SOFT: ("#57606a", "#9aa4b0"),
    FAINT: ("#b4bac2", "#59636f"),
    PAPER: ("#fefefe", "#14181d"),
    SERIES[0]: ("#0072b2", "#3d97d8"),
    SERIES[1]: ("#b84c00", "#ee7d33"),
    SERIES[2]: ("#007d58", "#2bb98c"),
    SERIES[3]: ("#a84a7f", "#d98bb9"),
    SERIES[4]: ("#8a6000", "#e0a526"),
    SERIES[5]: ("#2f86b8", "#6cc0ee"),
}
"""What a figure's colours become on a light ground and on a dark one, as in ``page.css``: lines
stand out from either by 3 to 1 at least."""
_PIXELS_PER_INCH = 148


@dataclass(frozen=True)
class Live:
    """That a page of something that runs loads itself again.

    Attributes:
        again: seconds between two times.
        stale: seconds after which nothing keeps the page fresh any more.
    """

    again: float
    stale: float


class Page:
    """Collects the sections of a page.

    Args:
        title: of the page.
        lead: what the reader learns if they read nothing else.
        live: the page is kept fresh; None: it stays as it is.
    """

    def __init__(self, title: str, lead: str, live: Live | None = None) -> None:
        self.title = title
        self._lead, self._live = lead, live
        self._parts: list[str] = []
        self._links: list[tuple[str, str]] = []

    def section(self, heading: str) -> None:
        """Begin a section, and list it at the top."""
        self._parts.append(self._heading(heading))

    def text(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(f"<p>{escaped(text)}</p>")

    def banner(self, heading: str, text: str) -> None:
        """Add what nobody may overlook."""
        self._parts.append(
            f'<p class="banner"><strong>{escaped(heading)}</strong> {escaped(text)}</p>'
        )

    def facts(self, facts: Iterable[tuple[str, str]]) -> None:
        """Add a row of figures with their names; the first is what matters most."""
        cells = "".join(
            f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>" for name, value in facts
        )
        self._parts.append(f'<dl class="facts">{cells}</dl>')

    def code(self, text: str) -> None:
        """Add a command, or the text of a file."""
        self._parts.append(f"<pre>{escaped(text)}</pre>")

    def table(self, table: Table, more: Table | None = None, summary: str = "") -> None:
        """Add a table, and a longer one behind a line to click on."""
        self._parts.append(table.html())
        if more is not None:
            self.folded(summary, more.html())

    def folded(self, summary: str, inner: str, is_open: bool = False) -> None:
        """Add HTML behind a line to click on."""
        opened = " open" if is_open else ""
        line = f"<summary>{escaped(summary)}</summary>"
        self._parts.append(f"<details{opened}>{line}{inner}</details>")

    def plots(self, plots: Iterable[Plot]) -> None:
        """Add figures; narrow ones stand side by side."""
        self._parts.append(f'<div class="plots">{"".join(map(_figure, plots))}</div>')

    def chart(self, svg: str, caption: str) -> None:
        """Add a drawing of ``search.report.display.chart``."""
        self._parts.append(_captioned(svg, caption))

    def pair(self, heading: str, text: str, tables: Iterable[tuple[str, Table]]) -> None:
        """Add a section of one sentence and of small tables side by side, each with its name."""
        parts = "".join(f"<div><h3>{escaped(n)}</h3>{each.html()}</div>" for n, each in tables)
        inner = f"{self._heading(heading)}<p>{escaped(text)}</p>"
        self._parts.append(
            f'<section class="tight">{inner}<div class="beside">{parts}</div></section>'
        )

    def beside(
        self, heading: str, table: Table, notes: Iterable[str], chart: tuple[str, str, str]
    ) -> None:
        """Add a table and a drawing side by side, one above the other on a narrow screen.

        Args:
            heading: of the table.
            table: what stands to the left.
            notes: what to say below it.
            chart: heading, drawing and caption of what stands to the right.
        """
        title, svg, caption = chart
        below = "".join(f"<p>{escaped(note)}</p>" for note in notes)
        left = f"{self._heading(heading)}{table.html()}{below}"
        right = f"{self._heading(title)}{_captioned(svg, caption)}"
        self._parts.append(f'<div class="beside"><div>{left}</div><div>{right}</div></div>')

    def render(self) -> str:
        """Return the page."""
        links = "".join(
            f'<a href="#{anchor}">{escaped(heading)}</a>' for anchor, heading in self._links
        )
        body = "\n".join(self._parts)
        title, lead = escaped(self.title), escaped(self._lead)
        style, script = _asset("page.css"), _asset("page.js")
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        # Names in a run are other people's: nothing but this script may run, and nothing is
        # fetched.
        policy = (
            f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
            f"script-src 'sha256-{digest}'"
        )
        written = time.strftime("%Y-%m-%d %H:%M:%S")
        return (
            f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<meta name="color-scheme" content="light dark">\n'
            f'<meta name="generator" content="{MARK}">\n{self._without_script()}'
            f"<title>{title}</title>\n<style>{style}</style>\n</head>\n"
            f"<body{self._freshness()}>\n<main>\n"
            f'<header><h1>{title}</h1>\n<nav aria-label="Sections">{links}</nav></header>\n'
            f'<p class="lead">{lead}</p>\n{body}\n'
            f'<footer>Written {written}. <span id="age"></span></footer>\n</main>\n'
            f"<script>{script}</script>\n</body>\n</html>\n"
        )

    def _heading(self, heading: str) -> str:
        anchor = "-".join(heading.lower().split())
        self._links.append((anchor, heading))
        return f'<h2 id="{anchor}">{escaped(heading)}</h2>'

    def _without_script(self) -> str:
        if self._live is None:
            return ""
        seconds = round(self._live.again)
        return f'<noscript><meta http-equiv="refresh" content="{seconds}"></noscript>\n'

    def _freshness(self) -> str:
        if self._live is None:
            return ""
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        again, stale = self._live.again, self._live.stale
        return f' data-again="{again:g}" data-stale="{stale:g}" data-written="{now}"'


def escaped(text: str) -> str:
    """Return text for HTML; a number and its percent sign stay together."""
    return html.escape(text, quote=True).replace(" %", "\u00a0%")


@functools.cache
def _asset(name: str) -> str:
    """Return a file that every page carries."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _captioned(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escaped(caption)}</figcaption></figure>"


def _figure(plot: Plot) -> str:
    width = round(plot.figure.get_figwidth() * _PIXELS_PER_INCH)
    picture = base64.b64encode(_themed(plot.svg()).encode()).decode()
    title, caption = escaped(plot.title), escaped(plot.caption)
    return (
        f'<figure style="width: {width}px"><img alt="{title}" '
        f'src="data:image/svg+xml;base64,{picture}"><figcaption>{caption}</figcaption></figure>'
    )


def _themed(svg: str) -> str:
    """Return an SVG whose colours follow the reader's light or dark setting."""
    start = svg.index("<svg")
    end = svg.index(">", start) + 1
    names = {colour: f"--c{place}" for place, colour in enumerate(_THEMED)}
    light = "".join(f"{name}:{_THEMED[colour][0]};" for colour, name in names.items())
    dark = "".join(f"{name}:{_THEMED[colour][1]};" for colour, name in names.items())
    body = svg[end:]
    for colour, name in names.items():
        body = body.replace(colour, f"var({name})")
    rule = f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"
    return f"{svg[start:end]}<style>{rule}</style>{body}"
