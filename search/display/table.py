"""One table type: for a terminal, Markdown, HTML and CSV."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import rich.table


@dataclass(frozen=True)
class Table:
    """Rows of text under headers."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: Sequence[str] = ()
    """Headers of columns of words; the others hold numbers and stand to the right."""

    def markdown(self) -> str:
        """Return the table as Markdown."""
        bars = [":--" if header in self.left else "--:" for header in self.headers]
        lines = [self.headers, bars, *self.rows]
        return "".join(f"| {' | '.join(map(_in_markdown, line))} |\n" for line in lines)

    def html(self) -> str:
        """Return the table as HTML; it scrolls by itself where it is too wide."""
        kinds = ["" if header in self.left else ' class="number"' for header in self.headers]
        head = _html_row("th", self.headers, kinds)
        body = "\n".join(_html_row("td", row, kinds) for row in self.rows)
        return (
            f'<div class="table" tabindex="0"><table>\n<thead>{head}</thead>\n'
            f"<tbody>\n{body}\n</tbody></table></div>"
        )

    def rich(self, title: str, width: int) -> rich.table.Table:
        """Return the table for a terminal; columns to the right that don't fit are left out."""
        import rich.table
        from rich.text import Text

        table = rich.table.Table(title=Text(_printable(title), "table.title"), title_justify="left")
        shown = self._fitting(width)
        for header in self.headers[:shown]:
            words = header in self.left
            justify: Any = "left" if words else "right"
            table.add_column(header, justify=justify, no_wrap=not words, overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(_printable(cell)) for cell in row[:shown]))
        return table

    def _fitting(self, width: int) -> int:
        """Return how many columns fit a terminal, with their borders."""
        used = 1
        for place, header in enumerate(self.headers):
            cells = [header, *(row[place] for row in self.rows)]
            if header in self.left:
                cells = [word for cell in cells for word in cell.split()]
            used += max(map(len, cells)) + 3
            if used > width:
                return max(1, place)
        return len(self.headers)


def _printable(cell: str) -> str:
    """Return a text without what would command a terminal, as names of files may hold it."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in cell)


def _in_markdown(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")


def _html_row(tag: str, cells: Sequence[str], kinds: Sequence[str]) -> str:
    inner = "".join(
        f"<{tag}{kind}>{html.escape(cell)}</{tag}>" for cell, kind in zip(cells, kinds, strict=True)
    )
    return f"<tr>{inner}</tr>"
