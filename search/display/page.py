"""One self-contained HTML page: figures and tables inside it, nothing fetched, light and dark."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable

from search.display.plot import FAINT, INK, MARK, PAPER, SERIES, SOFT, Plot
from search.display.table import Table

_DARK = {
    INK: "#e6edf3",
    SOFT: "#9aa4b0",
    FAINT: "#545d68",
    PAPER: "#14181d",
    SERIES[0]: "#3d97d8",
    SERIES[1]: "#ee7d33",
}
"""What a figure's ink, greys and darkest colours become on a dark ground."""
_PIXELS_PER_INCH = 148


class Page:
    """Collects the sections of a page.

    Args:
        title: of the page.
        lead: what the reader learns if they read nothing else.
    """

    def __init__(self, title: str, lead: str) -> None:
        self.title = title
        self._lead = lead
        self._parts: list[str] = []
        self._links: list[tuple[str, str]] = []

    def section(self, heading: str) -> None:
        """Begin a section, and list it at the top."""
        anchor = "-".join(heading.lower().split())
        self._links.append((anchor, heading))
        self._parts.append(f'<h2 id="{anchor}">{_escaped(heading)}</h2>')

    def text(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(f"<p>{_escaped(text)}</p>")

    def banner(self, heading: str, text: str) -> None:
        """Add what nobody may overlook."""
        self._parts.append(
            f'<p class="banner"><strong>{_escaped(heading)}</strong> {_escaped(text)}</p>'
        )

    def facts(self, facts: Iterable[tuple[str, str]]) -> None:
        """Add a row of figures with their names."""
        cells = "".join(
            f"<div><dt>{_escaped(name)}</dt><dd>{_escaped(value)}</dd></div>"
            for name, value in facts
        )
        self._parts.append(f'<dl class="facts">{cells}</dl>')

    def code(self, text: str) -> None:
        """Add a command, or the text of a file."""
        self._parts.append(f"<pre>{_escaped(text)}</pre>")

    def table(self, table: Table, more: Table | None = None, summary: str = "") -> None:
        """Add a table, and a longer one behind a line to click on."""
        self._parts.append(table.html())
        if more is not None:
            self.folded(summary, more.html())

    def folded(self, summary: str, inner: str, is_open: bool = False) -> None:
        """Add HTML behind a line to click on."""
        opened = " open" if is_open else ""
        line = f"<summary>{_escaped(summary)}</summary>"
        self._parts.append(f"<details{opened}>{line}{inner}</details>")

    def plots(self, plots: Iterable[Plot]) -> None:
        """Add figures; narrow ones stand side by side."""
        self._parts.append(f'<div class="plots">{"".join(map(_figure, plots))}</div>')

    def render(self) -> str:
        """Return the page."""
        links = "".join(
            f'<a href="#{anchor}">{_escaped(heading)}</a>' for anchor, heading in self._links
        )
        body = "\n".join(self._parts)
        title, lead = _escaped(self.title), _escaped(self._lead)
        return (
            f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<meta name="color-scheme" content="light dark">\n'
            f'<meta name="generator" content="{MARK}">\n'
            f"<title>{title}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n<main>\n"
            f'<h1>{title}</h1>\n<p class="lead">{lead}</p>\n<nav>{links}</nav>\n'
            f"{body}\n</main>\n</body>\n</html>\n"
        )


def _escaped(text: str) -> str:
    """Return text for HTML; a number and its percent sign stay together."""
    return html.escape(text, quote=True).replace(" %", "\u00a0%")


def _figure(plot: Plot) -> str:
    width = round(plot.figure.get_figwidth() * _PIXELS_PER_INCH)
    picture = base64.b64encode(_themed(plot.svg()).encode()).decode()
    title, caption = _escaped(plot.title), _escaped(plot.caption)
    return (
        f'<figure style="width: {width}px"><img alt="{title}" '
        f'src="data:image/svg+xml;base64,{picture}"><figcaption>{caption}</figcaption></figure>'
    )


def _themed(svg: str) -> str:
    """Return an SVG whose ink and greys follow the reader's light or dark setting."""
    start = svg.index("<svg")
    end = svg.index(">", start) + 1
    names = {colour: f"--c{place}" for place, colour in enumerate(_DARK)}
    light = "".join(f"{name}:{colour};" for colour, name in names.items())
    dark = "".join(f"{name}:{_DARK[colour]};" for colour, name in names.items())
    body = svg[end:]
    for colour, name in names.items():
        body = body.replace(colour, f"var({name})")
    rule = f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"
    return f"{svg[start:end]}<style>{rule}</style>{body}"


_CSS = """
:root {
  --ink: #1b1f24; --soft: #57606a; --line: #d5dae0; --ground: #ffffff; --panel: #f5f7f9;
  --link: #0062a3; --warn: #a84300; --warn-ground: #fdf0e6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e6edf3; --soft: #9aa4b0; --line: #323a44; --ground: #14181d; --panel: #1c2229;
    --link: #6cb8ef; --warn: #f2a366; --warn-ground: #33231a;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
main { max-width: 70rem; margin: 0 auto; padding: 2.5rem 1.25rem 5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 {
  font-size: 1.25rem; margin: 3rem 0 .75rem; padding-top: .75rem;
  border-top: 1px solid var(--line);
}
p { margin: .6rem 0; max-width: 46rem; }
.lead { font-size: 1.1rem; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; margin: 1.1rem 0; font-size: .9rem; }
a { color: var(--link); }
.banner {
  max-width: none; background: var(--warn-ground); border-left: 4px solid var(--warn);
  padding: .75rem 1rem; border-radius: 0 6px 6px 0;
}
.banner strong { color: var(--warn); }
.facts { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.25rem 0; }
.facts div { flex: 1 1 9.5rem; background: var(--panel); border-radius: 8px; padding: .6rem .9rem; }
dt { color: var(--soft); font-size: .8rem; }
dd { margin: 0; font-size: 1.15rem; font-variant-numeric: tabular-nums; }
.table { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .82rem; font-variant-numeric: tabular-nums; }
th, td {
  padding: .35rem .55rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line);
}
th { color: var(--soft); font-weight: 600; }
td:not(.number) { min-width: 8rem; }
.number { text-align: right; white-space: nowrap; }
tbody tr:hover { background: var(--panel); }
.plots { display: flex; flex-wrap: wrap; gap: 1.5rem 2rem; align-items: flex-start; }
figure { margin: 1rem 0 0; max-width: 100%; }
img { display: block; width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: .84rem; line-height: 1.45; margin-top: .5rem; }
pre {
  background: var(--panel); border-radius: 8px; padding: .8rem 1rem; white-space: pre-wrap;
  overflow-wrap: anywhere;
  font: .82rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
}
summary { cursor: pointer; color: var(--link); margin: .75rem 0; }
@media print {
  main { max-width: none; padding: 0; }
  nav { display: none; }
  figure { break-inside: avoid; }
}
"""
