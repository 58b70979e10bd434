"""Ray's own schedulers, mended where they lose trials."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    FIFOScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    TrialScheduler,
)
from typing_extensions import override


class _EndDiverged:
    """Ends a trial whose metrics are not finite before a stock scheduler compares them."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        # Ray's rules compare a NaN with "less than", which is always false, so such a trial would
        # never stop.
        if not (math.isfinite(result["val_cer"]) and math.isfinite(result["val_loss"])):
            return TrialScheduler.STOP
        return super().on_trial_result(tune_controller, trial, result)  # type: ignore[misc]


class HyperBand(_EndDiverged, HyperBandScheduler):
    """Ray's HyperBand, which would wait for ever where a trial failed or a search is resumed.

    Ray marks a bracket as being processed and never takes the mark back. So the end of a trial
    outside its turn no longer lets the paused ones of its bracket go on. It waits for reports of
    trials that ended in an earlier run, and for paused ones that were trained beyond the next
    halving there.
    """

    @override
    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        # A bracket would wait for its next report for ever.
        if not trial.is_finished():
            super().on_trial_add(tune_controller, trial)

    @override
    def _process_bracket(self, tune_controller: Any, bracket: Any) -> str:
        while True:
            action = super()._process_bracket(tune_controller, bracket)
            waits = action == TrialScheduler.PAUSE and bracket.cur_iter_done()
            if not (waits and bracket.current_trials()):
                bracket.is_being_processed = False
                return action

    @override
    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        super().on_trial_remove(tune_controller, trial)
        bracket, _ = self._trial_info[trial]
        if bracket.finished() and not bracket.is_being_processed:
            bracket.cleanup_full(tune_controller)


class Median(_EndDiverged, MedianStoppingRule):
    """Ray's median rule, which would forget on a resume what trials reported before.

    It is kept on Ray's trial, as far as the rule looks at it, and saved with it.
    """

    @override
    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        super().on_trial_add(tune_controller, trial)
        if known := getattr(trial, "reported", None):
            self._results[trial] = known

    @override
    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        action = super().on_trial_result(tune_controller, trial, _errors(result))
        # Ray saves attributes of the trial, and not what its rule remembers.
        vars(trial)["reported"] = self._results.get(trial, [])
        trial.invalidate_json_state()
        return action

    @override
    def on_trial_complete(
        self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]
    ) -> None:
        super().on_trial_complete(tune_controller, trial, _errors(result))


class TrainAll(_EndDiverged, FIFOScheduler):
    """Trains every trial to its last epoch."""


def _errors(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the stock schedulers look at of an epoch."""
    return {name: result[name] for name in ("epoch", "val_cer", "val_loss") if name in result}
