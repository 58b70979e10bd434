"""One table type: for a terminal, Markdown, HTML and CSV."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import rich.table


class Cell(str):
    """A cell's text, with what a page shows in its place and sorts it by.

    Attributes:
        markup: HTML instead of the text, already escaped; empty: the text.
        key: a number by which a page sorts it; None: its text.
    """

    markup: str
    key: float | None

    def __new__(cls, text: str, markup: str = "", key: float | None = None) -> Cell:
        """Return a cell."""
        cell = super().__new__(cls, text)
        cell.markup, cell.key = markup, key
        return cell


@dataclass(frozen=True)
class Table:
    """Rows of text under headers; what goes into a CSV alone may be numbers."""

    headers: Sequence[str]
    rows: Sequence[Sequence[Any]]
    left: Collection[str] = ()
    """Headers of columns of words; the others hold numbers and stand to the right."""
    unbroken: Collection[str] = ()
    """Columns of words that a terminal does not wrap."""
    widest: str = ""
    """The column that takes the room of a terminal that others leave, and gives way to them."""
    styles: Mapping[str, str] = field(default_factory=dict)
    """How a terminal shows words, by the whole word."""
    parted: Collection[int] = ()
    """Rows, counted from 0, below which a terminal has a line."""
    trials: Sequence[int] = ()
    """The trial of each row, where each has one: a page lights up what belongs to it elsewhere."""

    @classmethod
    def of(cls, columns: Mapping[str, Sequence[str]], left: Collection[str] = ()) -> Table:
        """Return a table of columns by their headers."""
        return cls(list(columns), list(zip(*columns.values(), strict=True)), left)

    def markdown(self) -> str:
        """Return the table as Markdown."""
        bars = [":--" if header in self.left else "--:" for header in self.headers]
        lines = [self.headers, bars, *self.rows]
        return "".join(f"| {' | '.join(map(_in_markdown, line))} |\n" for line in lines)

    def csv(self) -> str:
        """Return the table as CSV."""
        written = io.StringIO()
        writer = csv.writer(written, lineterminator="\n")
        writer.writerow(self.headers)
        writer.writerows(self.rows)
        return written.getvalue()

    def html(self, *, sortable: bool = True) -> str:
        """Return the table as HTML; it scrolls by itself where it is too wide.

        Args:
            sortable: the page's script lets a reader sort it by a click on a header.
        """
        kinds = ["" if header in self.left else ' class="number"' for header in self.headers]
        head = "".join(
            f"<th{kind}>{html.escape(header)}</th>"
            for header, kind in zip(self.headers, kinds, strict=True)
        )
        owners = [f' data-trial="{number}"' for number in self.trials] or [""] * len(self.rows)
        body = "\n".join(
            f"<tr{owner}>{''.join(map(_html_cell, row, kinds))}</tr>"
            for owner, row in zip(owners, self.rows, strict=True)
        )
        # A table of one row has no order to choose.
        kind = ' class="sortable"' if sortable and len(self.rows) > 1 else ""
        return (
            f'<div class="table" tabindex="0" role="group" aria-label="table"><table{kind}>\n'
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
        )

    def rich(self, title: str | None, width: int | None = None) -> rich.table.Table:
        """Return the table for a terminal.

        Args:
            title: what stands above it.
            width: characters that it may take: columns to the right that do not fit are left out.
                None: all columns are shown, and wrapped where there is no room.
        """
        import rich.table
        from rich.text import Text

        head = None if title is None else Text(_printable(title), "table.title")
        table = rich.table.Table(title=head, title_justify="left")
        shown = len(self.headers) if width is None else self._fitting(width)
        for header in self.headers[:shown]:
            is_text = header in self.left
            wraps = is_text and header not in self.unbroken
            table.add_column(
                header,
                justify="left" if is_text else "right",
                no_wrap=not wraps,
                overflow="fold" if wraps or width is not None else "ellipsis",
                ratio=1 if header == self.widest else None,
            )
        for place, row in enumerate(self.rows):
            cells = (Text(_printable(cell), self.styles.get(cell, "")) for cell in row[:shown])
            table.add_row(*cells, end_section=place in self.parted)
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


def _html_cell(cell: str, kind: str) -> str:
    if not isinstance(cell, Cell):
        return f"<td{kind}>{html.escape(cell)}</td>"
    key = "" if cell.key is None or cell.key != cell.key else f' data-key="{cell.key:.10g}"'
    return f"<td{kind}{key}>{cell.markup or html.escape(cell)}</td>"
