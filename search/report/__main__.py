"""Says what a search found, from its folder: a ranking, figures, one page to open or pass on.

python -m search.report runs/deep-001
python -m search.report runs/deep-001 --watch
python -m search.report runs/deep-001 runs/deep-002 --out comparison
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emgmodels.command import CommandLine

app = CommandLine()


@app.command(
    epilog="Examples:\n\npython -m search.report runs/deep-001\n\n"
    "python -m search.report runs/deep-001 --watch\n\n"
    "python -m search.report runs/deep-001 runs/deep-002 --out comparison"
)
def command(
    runs: Annotated[
        list[str], typer.Argument(help="Run folders, or their URIs; several are compared.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write to: RUN/report, or beside the first run of several."),
    ] = None,
    watched: Annotated[
        bool, typer.Option("--watch", help="Keep the page fresh while the search runs.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Write leaderboard, figures (PNG, PDF) and report.html of a search, running or over.

    Several runs make one comparison; one that cannot be read is left out, and
    said to be. Only files are read, so a report can be made again at any
    time, on any machine. With --watch the page of one search is written again
    as it goes on, and the whole report when it ends.
    """
    from rich.console import Console

    from search.report.display.words import with_room
    from search.report.run import read_run
    from search.report.telling import beside, compare, read_all, report
    from search.storage import is_uri, local_run

    console = with_room(Console(quiet=quiet))
    if watched:
        if len(runs) > 1 or is_uri(runs[0]):
            raise ValueError(
                f"--watch {' '.join(runs)}: keeps the page of one search fresh: name one run "
                f"folder on this machine"
            )
        from search.report.watch import watch

        path = local_run(runs[0])
        watch(console, path, out or path / "report")
    elif len(runs) == 1:
        run = read_run(local_run(runs[0]))
        report(console, run, out or run.path / "report")
    else:
        read = read_all(console, runs)
        compare(console, read, out or beside(read))


if __name__ == "__main__":
    app(prog_name="python -m search.report")
