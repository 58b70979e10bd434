"""Keeps the page of a running search fresh: its tables and curves, without the other figures."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from emgmodels.outputs import check_output, write_text
from search.report.display.page import Live
from search.report.display.plot import MARK
from search.report.display.words import say
from search.report.page import report_page
from search.report.run import Run, read_run
from search.report.telling import report
from search.results.growing_tables import curves_of, trials_of
from search.results.lock import is_running

_EVERY = 5.0
"""Seconds between two pages, at least."""
_SHARE = 0.01
"""Of one core, what a page may cost."""


def watch(
    console: Console,
    path: Path,
    out: Path,
    close: Callable[[Console, Run, Path], None] = report,
) -> None:
    """Write the page of a search again and again until the search ends, then its whole report.

    Args:
        console: told where the page is.
        path: the run folder.
        out: the report's folder.
        close: writes and tells the whole report, once the search has ended.

    Raises:
        ValueError: it is not a run folder, or ``out`` holds a page that is not a report's.
    """
    page = out / "report.html"
    check_output(page, MARK)
    wait = _EVERY
    said, seen = False, None
    try:
        while is_running(path):
            begin = time.process_time()
            if (found := _state(path)) != seen and (run := _read(path)) is not None:
                seen = found
                write_text(page, report_page(run, {}, (), Live(wait, 4 * wait + 60)))
                wait = max(_EVERY, (time.process_time() - begin) / _SHARE)
                if not said:
                    said = True
                    say(console, f"Open {page.absolute().as_uri()} in a browser: it stays fresh.")
                    say(console, "Ctrl-C ends watching, not the search.")
            time.sleep(wait)
    except KeyboardInterrupt:
        if (run := _read(path)) is not None:
            write_text(page, report_page(run, {}, ()))
        say(console, f"Watched no longer: {page} is as it stands now.")
        return
    close(console, read_run(path), out)


def _read(path: Path) -> Run | None:
    """Return the run; None as long as its first trial has not begun."""
    there = trials_of(path).exists() and curves_of(path).exists()
    return read_run(path) if there and (path / "environment.json").is_file() else None


def _state(path: Path) -> tuple[object, ...]:
    """Return what changes as soon as there is something new, and once a minute."""
    tables = (trials_of(path), curves_of(path))
    files = [file for table in tables for file in (table.path, table.rows_path)]
    stats = (file.stat() if file.is_file() else None for file in files)
    known = tuple((stat.st_size, stat.st_mtime_ns) if stat else None for stat in stats)
    return (*known, int(time.time() // 60))
