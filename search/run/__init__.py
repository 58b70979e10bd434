"""Searches a space of architectures on session files and prints a ranking.

python -m search.run spaces/deep.yaml                          a demo on a synthetic typist
python -m search.run spaces/deep.yaml --data DIR               on emg2qwerty's session files
python -m search.run spaces/deep.yaml --data DIR --trials 200 --set training.batch_size=16
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emgmodels.lazy import offered

if TYPE_CHECKING:
    from search.engine.failures import EngineError, SearchFailedError
    from search.run.searching import resume, search

__all__ = ["EngineError", "SearchFailedError", "resume", "search"]

__getattr__ = offered(
    __name__,
    {
        "EngineError": "search.engine.failures",
        "SearchFailedError": "search.engine.failures",
        "resume": "search.run.searching",
        "search": "search.run.searching",
    },
)
