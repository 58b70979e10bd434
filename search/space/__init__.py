"""Spaces of architectures and hyperparameters: YAML, validated whole, then sampled.

A space file has the keys of ``emgmodels.config`` under ``model`` and ``training``, and wherever a
value stands there, a distribution may stand instead:

    4                                  fixed
    {choice: [4, 8, 16]}               one of numbers, names, lists, mappings or distributions
    {int: [1, 4]}                      integers, both ends included; with log: true or step: 2
    {float: [1e-4, 3e-3], log: true}   real numbers
    {permutation: [recurrent, conv]}   any order of these, each once
    {sequence: {of: [recurrent, conv], length: {int: [2, 4]}}}   any sequence of these

``constraints``, ``search`` and ``typist`` are fixed; ``demo`` holds what is different where no data
is given; ``extends: base.yaml`` takes the keys of a file beside or below this one as defaults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emgmodels.lazy import offered

if TYPE_CHECKING:
    from search.space.distributions import OutsideError
    from search.space.feasibility import Feasibility
    from search.space.loading import load_space
    from search.space.parsing import SpaceError
    from search.space.session_limits import Sessions, limits_of
    from search.space.settings import Constraints, SchedulerConfig, SearchConfig, TypistConfig
    from search.space.space import Space

__all__ = [
    "Constraints",
    "Feasibility",
    "OutsideError",
    "SchedulerConfig",
    "SearchConfig",
    "Sessions",
    "Space",
    "SpaceError",
    "TypistConfig",
    "limits_of",
    "load_space",
]

__getattr__ = offered(
    __name__,
    {
        "Constraints": "search.space.settings",
        "Feasibility": "search.space.feasibility",
        "OutsideError": "search.space.distributions",
        "SchedulerConfig": "search.space.settings",
        "SearchConfig": "search.space.settings",
        "Sessions": "search.space.session_limits",
        "Space": "search.space.space",
        "SpaceError": "search.space.parsing",
        "TypistConfig": "search.space.settings",
        "load_space": "search.space.loading",
        "limits_of": "search.space.session_limits",
    },
)
