"""The searchers side by side on recorded trainings that no rule was chosen on.

python -m benchmarks run searchers_unseen --venvs DIR --record
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measure import Figure, Scope
from benchmarks.searchers.compare import compare
from benchmarks.searchers.tables import UNSEEN


def run(scope: Scope) -> Iterator[Figure]:
    """Yield each searcher's share of all epochs until it was within 0.4 points of the best."""
    yield from compare(scope, UNSEEN, "searchers_unseen")
