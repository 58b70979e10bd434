"""Lists the searches of a folder: which run, are over, were interrupted or failed.

python -m search.runs
python -m search.runs /data/runs
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emgmodels.command import CommandLine
from emgmodels.saying import counted

if TYPE_CHECKING:
    from search.report.display.table import Table
    from search.results.listing import Listed

app = CommandLine()
_USUAL = Path("runs")
"""Where a search makes its run folder unless it is told otherwise."""


@app.command(epilog="Examples:\n\npython -m search.runs\n\npython -m search.runs /data/runs")
def command(
    folder: Annotated[Path, typer.Argument(help="Where the run folders are.")] = _USUAL,
) -> None:
    """List searches with state, best validation CER, age and size, the newest first.

    A search that is interrupted or out of time goes on with: python -m search.run --resume RUN
    """
    # Imported here, so that --help and shell completion do not load it.
    from rich.console import Console

    from emgmodels.installing import python_here
    from search.report.display.words import say, with_room
    from search.results.listing import list_runs

    console = with_room(Console())
    # The folder that searches make may be missing: nobody has searched yet. Any other was misspelt.
    runs = [] if folder == _USUAL and not folder.exists() else list_runs(folder)
    if not runs:
        say(
            console,
            f"{folder}: holds no run folder yet. A first search takes some minutes on a synthetic "
            f"typist; --data DIR names session files of your own:\n"
            f"    {python_here()} -m search.run spaces/deep.yaml",
        )
        return
    console.print(_table(runs).rich(str(folder), console.width))


def _table(runs: list[Listed]) -> Table:
    from search.report.display.table import Table

    now = time.time()
    rows = [
        [
            run.path.name,
            run.state,
            "–" if run.val_cer is None else f"{run.val_cer:.2f}",
            f"{_age(now - run.changed)} ago",
            _size(run.size),
            f"{run.trials} of {run.asked}" if run.asked > run.trials else str(run.trials),
            run.why or run.architecture,
        ]
        for run in runs
    ]
    headers = ["run", "state", "best CER %", "changed", "size", "trials", "best architecture"]
    return Table(headers, rows, left=("run", "state", "best architecture"))


def _age(seconds: float) -> str:
    from search.report.display.words import duration

    days = int(seconds // 86400)
    return counted(days, "day") if days > 1 else duration(max(0.0, seconds))


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


if __name__ == "__main__":
    app(prog_name="python -m search.runs")
