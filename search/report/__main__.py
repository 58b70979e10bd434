"""Says what a search found, from its folder: a ranking, figures, one page to open or pass on.

python -m search.report runs/deep-001
python -m search.report runs/deep-001 runs/deep-002 --out comparison
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from emgmodels.command import CommandLine
from search.display.words import say, with_room
from search.report.files import SYNTHETIC, write_comparison, write_report
from search.report.published import basis, matches, side_by_side
from search.report.run import Run, read_run
from search.report.tables import comparison, ranking
from search.storage import local_run

_SHOWN = 15

app = CommandLine()


@app.command(
    epilog="Examples:\n\npython -m search.report runs/deep-001\n\n"
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
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Write leaderboard, figures (PNG, PDF) and report.html of a search, running or over.

    Several runs make one comparison. Only files are read, so a report can be made again at any
    time, on any machine.
    """
    console = with_room(Console(quiet=quiet))
    read = [read_run(local_run(run)) for run in runs]
    if len(read) == 1:
        _report(console, read[0], out or read[0].path / "report")
    else:
        _compare(console, read, out or _beside(read))


def _report(console: Console, run: Run, out: Path) -> None:
    notes = write_report(run, out)
    title = f"{run.name}: ranking by validation CER, on {run.data}"
    console.print(ranking(run, run.trials[:_SHOWN], brief=True).rich(title, console.width))
    if len(run.trials) > _SHOWN:
        say(console, f"... and {len(run.trials) - _SHOWN} more in {out / 'leaderboard.csv'}")
    if matches(run):
        heading = "Beside the technical report"
        console.print(side_by_side(run).rich(heading, console.width))
        say(console, basis(run))
    if run.synthetic:
        say(console, f"Synthetic data. {SYNTHETIC}")
    for note in [*run.weights_notes, *notes]:
        say(console, f"note: {note}")
    say(console, f"Written: {out / 'report.html'}, with leaderboard and figures beside it")


def _compare(console: Console, runs: list[Run], out: Path) -> None:
    doubts = write_comparison(runs, out)
    console.print(comparison(runs).rich("Best of each search", console.width))
    for doubt in doubts:
        say(console, f"warning: not comparable: {doubt}")
    say(console, f"Written: {out / 'report.html'}")


def _beside(runs: list[Run]) -> Path:
    names = "-".join(run.name for run in runs)
    return runs[0].path.resolve().parent / f"comparison-{names[:100]}"


if __name__ == "__main__":
    app(prog_name="python -m search.report")
