"""The table of configurations compared over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from emgmodels.bootstrap import TOLD_APART
from emgmodels.notation import brief_notation
from search.report.display.table import Table
from search.report.display.words import say, with_room


def brief(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the ranking with what a terminal has room for, the most important to the left."""
    sds = ["" if row["sd"] is None else f" ± {row['sd']:.2f}" for row in rows]
    columns = {
        "#": [str(row["rank"]) for row in rows],
        "trial": [f"{row['trial']:03d}" if "trial" in row else row["trials"] for row in rows],
        "architecture": [brief_notation(row["architecture"]) for row in rows],
        "mean CER %": [f"{row['mean_cer']:.2f}{sd}" for row, sd in zip(rows, sds, strict=True)],
        "p": list(map(_chance, rows)),
        "above best": list(map(_distance, rows)),
    }
    if any("search_cer" in row for row in rows):
        columns["search"] = [f"{row['search_cer']:.2f}" for row in rows]
    return Table.of(columns, left=("architecture",))


def over_seeds(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return a ranking of configurations by their mean CER over seeds.

    Args:
        rows: of ``table``; of a confirmation with the search's ``trial`` and ``search_cer``.
    """
    columns = {
        "rank": [str(row["rank"]) for row in rows],
        "trial": [f"{row['trial']:03d}" if "trial" in row else row["trials"] for row in rows],
        "architecture": [row["architecture"] for row in rows],
        "mean CER %": [f"{row['mean_cer']:.2f}" for row in rows],
        "± sd": ["–" if row["sd"] is None else f"{row['sd']:.2f}" for row in rows],
        "range": [f"{row['lowest_cer']:.2f} to {row['highest_cer']:.2f}" for row in rows],
        "above the best": [_distance(row) for row in rows],
        "p": [_chance(row) for row in rows],
        "seeds": [str(row["trainings"]) for row in rows],
        "95 % of the mean": [_interval(row["cer_low"], row["cer_high"]) for row in rows],
    }
    if any("search_cer" in row for row in rows):
        columns["in the search"] = [f"{row['search_cer']:.2f}" for row in rows]
    return Table.of(columns, left=("architecture",))


def verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say which configurations can't be told apart from the best."""
    known = [row for row in rows if row["p_best"] is not None]
    if len(known) < 2:
        return "Nothing to compare: it takes two configurations with two trainings each."
    best, *others = known
    alike = [f"rank {row['rank']}" for row in others if row["p_best"] >= TOLD_APART]
    basis = "model confidence set of 95 %, over seeds and validation windows"
    if not alike:
        return f"Rank {best['rank']} is better than all others here ({basis})."
    return f"Can't be told apart from rank {best['rank']}: {', '.join(alike)} ({basis})."


def show(console: Console, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a ranking over seeds, and what it comes to."""
    console = with_room(console)
    counts = sorted({row["trainings"] for row in rows})
    seeds = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(*counts)
    console.print(brief(rows).rich(f"{title} (seeds: {seeds})", console.width))
    say(console, verdict(rows))


def _distance(row: Mapping[str, Any]) -> str:
    """Return how far a configuration is above the best, which is not above itself."""
    return "–" if row["rank"] == 1 else _interval(row["apart_low"], row["apart_high"])


def _chance(row: Mapping[str, Any]) -> str:
    """Return the p of a configuration; of the best itself there is no question."""
    return "–" if row["rank"] == 1 or row["p_best"] is None else f"{row['p_best']:.3f}"


def _interval(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{low:.1f} to {high:.1f}"
