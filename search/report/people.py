"""What a report says of the users that a search validated on: a row for each."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path

from emgmodels.saying import counted
from emgmodels.scoring import PEOPLE
from search.report.display.page import Page
from search.report.display.table import Table
from search.report.display.words import number
from search.report.run import HIGHLIGHTED, Run, Trial
from search.results.growing_tables import read_parquet
from search.results.people import TABLE

FOLDED = 12
"""Users above which their rows stand behind a line to click on."""
RANKED_BY = {
    "pooled": "the CER of all windows together",
    "mean_user": "the mean over users of each user's CER",
    "worst_user": "the CER of the user who is read worst",
}


def has_people(run: Run) -> bool:
    """Return whether a search validated on several users, and says what each of them came to."""
    return bool(run.environment.get(PEOPLE)) and (run.path / TABLE).is_file() and bool(run.ranked)


def basis(run: Run) -> str:
    """Say on whom a search validated, and what ranks."""
    people = run.environment[PEOPLE]
    users = len({user for user, _ in people["windows"]})
    return (
        f"Validated on {counted(users, 'user')}; trials are ranked by "
        f"{RANKED_BY[people['rank_by']]}. "
        f"± is the standard deviation over users."
    )


def spread(run: Run) -> Table:
    """Return mean and deviation over users, the worst of them and the pooled CER of the best."""
    rows = [
        [
            trial.name,
            f"{number(trial.val_cer_mean_user)} ± {number(trial.val_cer_sd_user)}",
            number(trial.val_cer_worst_user),
            number(trial.val_cer_pooled),
        ]
        for trial in _shown(run)
    ]
    return Table(["trial", "over users %", "worst user %", "pooled %"], rows, left=("trial",))


def by_user(run: Run) -> Table:
    """Return a row a user: the CER that each of the best trials has, the worst read first."""
    return users_table(run.path, [trial.number for trial in _shown(run)])


def users_table(run: Path, trials: Sequence[int]) -> Table:
    """Return a row a user, the worst read first: the CER that trials have.

    Args:
        run: a run folder that has ``users.parquet``.
        trials: the numbers of these; the first of them orders the users.
    """
    rows = read_parquet(run / TABLE).to_pylist()
    cers = {(r["trial"], r["user"]): math.nan if r["cer"] is None else r["cer"] for r in rows}
    characters = {row["user"]: row["characters"] for row in rows}
    worst_first = sorted(characters, key=lambda user: -cers.get((trials[0], user), 0.0))
    cells = [
        [
            user,
            f"{characters[user]:,}",
            *(number(cers.get((trial, user), math.nan)) for trial in trials),
        ]
        for user in worst_first
    ]
    headers = ["user", "keys", *(f"{trial:03d}, CER %" for trial in trials)]
    return Table(headers, cells, left=("user",))


def add_people(page: Page, run: Run) -> None:
    """Add the users to a page; many of them folded."""
    if not has_people(run):
        return
    page.section("Users")
    page.text(basis(run))
    users = by_user(run)
    if len(users.rows) > FOLDED:
        page.table(spread(run), users, f"all of {counted(len(users.rows), 'user')}")
        return
    page.table(spread(run))
    page.table(users)


def markdown(run: Run) -> list[str]:
    """Return the users as parts of a Markdown file; many of them folded."""
    if not has_people(run):
        return []
    users = by_user(run)
    parts = ["## Users", basis(run), spread(run).markdown()]
    if len(users.rows) <= FOLDED:
        return [*parts, users.markdown()]
    line = html.escape(f"all of {counted(len(users.rows), 'user')}")
    return [*parts, f"<details><summary>{line}</summary>", users.markdown(), "</details>"]


def _shown(run: Run) -> list[Trial]:
    return run.ranked[:HIGHLIGHTED]
