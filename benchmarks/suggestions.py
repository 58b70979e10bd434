"""Milliseconds that ``tpe`` takes for a suggestion after 100, 1,000 and 5,000 trials, without Ray.

python -m benchmarks.suggestions

Of the space ``deep``, with the study in a journal. Processor time, so that a busy machine does not
count. Trials before are draws of the space with made-up CERs.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path

import numpy as np
import optuna

from emgmodels.saying import counted
from search.engine.searcher import OptunaSampler
from search.space import Space, load_space

SPACE = Path(__file__).resolve().parents[1] / "spaces" / "deep.yaml"
TRIALS = (100, 1000, 5000)
SUGGESTIONS = 20


def earlier(space: Space, count: int) -> list[optuna.trial.FrozenTrial]:
    """Return that many whole trials at random."""
    rng = np.random.default_rng(0)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(count):
        trial = study.ask()
        # A draw of which no architecture can be made is a trial to the sampler all the same.
        with contextlib.suppress(ValueError):
            space.suggest(trial)
        cer = float(rng.uniform(10, 90))
        for epoch in range(1, 5):
            study._storage.set_trial_intermediate_value(trial._trial_id, epoch, 4 * cer / epoch)
        study.tell(trial, cer)
    return study.get_trials(deepcopy=False)


def milliseconds(space: Space, trials: int) -> float:
    """Return what a suggestion takes after that many trials, and a trial's results with it."""
    metrics = {"val_cer": 50.0, "best_val_cer": 50.0, "val_loss": 1.0, "train_loss": 1.0}
    with tempfile.TemporaryDirectory() as folder:
        sampler = OptunaSampler(space, Path(folder) / "study.journal", earlier(space, trials))
        sampler.suggest("first")
        begin = time.process_time()
        for number in range(SUGGESTIONS):
            sampler.suggest(str(number))
            for epoch in range(1, 5):
                sampler.on_trial_result(str(number), {"epoch": epoch, **metrics})
            sampler.on_trial_complete(str(number), {"epoch": 4, **metrics})
        return 1000 * (time.process_time() - begin) / SUGGESTIONS


def main() -> None:
    """Print what a suggestion takes after few and after many trials."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = load_space(SPACE, demo=False, overrides=["search.trials=20000"])
    for trials in TRIALS:
        print(f"after {counted(trials, 'trial')}: {milliseconds(space, trials):.1f} ms", flush=True)


if __name__ == "__main__":
    main()
