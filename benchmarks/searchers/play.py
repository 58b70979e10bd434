"""Plays problems with the searchers of one module, in whatever environment runs it.

python -m benchmarks.searchers.play benchmarks.searchers.syne_tune PLAYER PROBLEMS RESULTS
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path

from benchmarks.searchers.problem import Problem


def play(module: str, player: str, problems: Path, results: Path) -> None:
    """Write a line of JSON a problem: what it trained, and the processor seconds it took.

    Problems that ``results`` has already are not played again, so what was killed goes on.

    Args:
        module: a module with ``PLAYERS`` and ``VERSIONS``.
        player: one of them.
        problems: a problem a line.
        results: written to, a line a problem in the same order.
    """
    found = importlib.import_module(module)
    done = len(results.read_text().splitlines()) if results.is_file() else 0
    for line in problems.read_text().splitlines()[done:]:
        begin = time.process_time()
        events = found.PLAYERS[player](Problem.load(line))
        took = time.process_time() - begin
        told = {"events": events, "seconds": took, "versions": found.VERSIONS}
        # In one call: a line is there whole, or not at all.
        with results.open("a") as file:
            file.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    play(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
