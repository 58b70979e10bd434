"""Replays recorded learning curves through the schedulers: what would each have cost and missed?

python -m search.simulate runs/deep-001
python -m search.simulate runs/deep-001 runs/deep-002       # of one space: searches draw from both
python -m search.simulate curves.csv --scheduler asha --grace 5 --eta 3 --slots 8
python -m search.simulate curves.csv --scheduler asha --scheduler median --grace 5
python -m search.simulate curves.csv --compare --figure frontier.png
python -m search.simulate curves.csv --tune 0.1

Nothing trains and no Ray process starts. Replay what was trained whole (``scheduler: none``):
curves that a scheduler cut short can't be replayed past the cut, and are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emgmodels.command import CommandLine

app = CommandLine()


@app.command(
    epilog="Examples:\n\npython -m search.simulate runs/deep-001 --slots 2\n\n"
    "python -m search.simulate curves.csv --scheduler asha --grace 5 --eta 3\n\n"
    "python -m search.simulate curves.csv --scheduler asha --scheduler median --grace 5\n\n"
    "python -m search.simulate curves.csv --compare --figure frontier.png\n\n"
    "python -m search.simulate curves.csv --tune 0.1"
)
def simulate(
    curves: Annotated[
        list[Path],
        typer.Argument(
            help="Run folders, or CSVs: run, epoch, val_cer, val_loss; searches draw from all."
        ),
    ],
    scheduler: Annotated[
        list[str] | None,
        typer.Option(
            help="Scheduler to replay (asha; your own: FILE.py:NAME), or {name: asha, grace: 5}; "
            "again for another."
        ),
    ] = None,
    grace: Annotated[
        float | None, typer.Option(help="First rung (epochs, or what rungs count).")
    ] = None,
    eta: Annotated[float | None, typer.Option(help="One in eta passes a rung.")] = None,
    rank_by: Annotated[str | None, typer.Option(help="Compare by loss, cer or both.")] = None,
    resource: Annotated[
        str | None,
        typer.Option(
            help="Rungs count epochs, seconds or macs; a trial ends at twice the median's."
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=2, help="Epochs of a whole training; else what half of the curves reach."),
    ] = None,
    slots: Annotated[int, typer.Option(min=1, help="Trials that train at a time.")] = 1,
    trials: Annotated[
        int | None, typer.Option(min=2, help="Trials of a search (27, or all there are).")
    ] = None,
    repeats: Annotated[int, typer.Option(min=2, help="Searches to replay.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the trials drawn.")] = 0,
    compare: Annotated[bool, typer.Option("--compare", help="Replay all rules.")] = False,
    bound: Annotated[
        float | None,
        typer.Option("--tune", min=0, help="Find the cheapest rule of so much regret (CER)."),
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw cost against regret here.")] = None,
) -> None:
    """Replay recorded learning curves through schedulers, without training."""
    whole = int(grace) if grace is not None and grace.is_integer() else grace
    given = {"grace": whole, "eta": eta, "rank_by": rank_by, "resource": resource}
    options = {key: value for key, value in given.items() if value is not None}
    names = scheduler or ["asha"]
    from search.simulate.simulation import Asked, replay_searches

    drawn = (epochs, slots, trials, repeats, seed)
    replay_searches(Asked(curves, names, options, *drawn, compare, bound, figure))


if __name__ == "__main__":
    app()
