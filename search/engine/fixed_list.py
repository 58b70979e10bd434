"""A searcher that suggests the configurations it is given, in their order."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from emgmodels.config import Config
from search.engine.trial import TrialData
from search.space import SearchConfig


class ListedConfigs(Searcher):
    """Hands out configurations with their trial numbers, each once, and learns nothing.

    Args:
        configs: number and configuration of each.
        settings: how they are trained.
        sessions: by number, what a trial trains on where it is not what all do.
    """

    exhausted: str | None = None
    """Why there are fewer than were asked for: there never are."""

    def __init__(
        self,
        configs: Sequence[tuple[int, Config]],
        settings: SearchConfig,
        sessions: Mapping[int, TrialData] | None = None,
    ) -> None:
        super().__init__(metric="val_cer", mode="min")
        self.configs, self.settings = list(configs), settings
        self.sessions = sessions or {}
        self._next = 0

    @property
    def trials(self) -> int:
        """Trials that the search is to train."""
        return len(self.configs)

    def suggest(self, trial_id: str) -> dict[str, Any] | str:  # type: ignore[override]
        """Return the next configuration for Ray Tune, or ``Searcher.FINISHED``."""
        if self._next == len(self.configs):
            return Searcher.FINISHED
        number, config = self.configs[self._next]
        self._next += 1
        suggestion = {"config": config.model_dump_json(), "number": number, "seed": config.seed}
        own = self.sessions.get(number)
        return suggestion | ({} if own is None else {"sessions": own.text()})

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing is learned from a trial."""

    def save(self, checkpoint_path: str) -> None:
        """Write how far the list was handed out."""
        Path(checkpoint_path).write_bytes(pickle.dumps(self._next))

    def restore(self, checkpoint_path: str) -> None:
        """Go on from ``save``."""
        self._next = pickle.loads(Path(checkpoint_path).read_bytes())
