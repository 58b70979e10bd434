"""Seconds from a slot becoming free to the first optimiser step of the next trial.

Trials follow each other on one slot: it is free when a trial's last epoch is over, and the next
has started when its optimiser is first called. The reference is what Ray Tune's first examples
show: a function that imports torch, opens the session's HDF5 file and trains, in a process of its
own. It trains a smaller network on fewer samples than ours.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ray import cloudpickle, tune

from benchmarks import data
from benchmarks.idle import search_idly
from benchmarks.measure import Figure, Scope
from emgmodels.saying import counted
from search.engine.ray_session import engine
from search.engine.trial import EmgTrial, TrialData

WANTED_SECONDS = 1.0
WANTED_RATIO = 5


class TimedTrial(EmgTrial):
    """Trains as every trial does, and notes when it first calls the optimiser and when it ends."""

    log = ""

    def setup(self, config: dict[str, Any], *given: Any, **named: Any) -> None:
        from torch.optim.optimizer import register_optimizer_step_pre_hook

        self.begun = False
        register_optimizer_step_pre_hook(lambda *_: self._begin())
        super().setup(config, *given, **named)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.begun = False
        return super().reset_config(new_config)

    def step(self) -> dict[str, Any]:
        result = super().step()
        note(self.log, "over")
        return result

    def _begin(self) -> None:
        if not self.begun:
            self.begun = True
            note(self.log, "first")


def run(scope: Scope) -> Iterator[Figure]:
    """Measure a row of trials either way."""
    trials = 2 if scope.short else 2 + 2 * scope.repeats
    (session,) = data.sessions(1, 0.5)
    with tempfile.TemporaryDirectory() as scratch:
        ours = _search(Path(scratch), session, trials)
        plain = _plain_search(Path(scratch), session, trials)
    ours, plain = (gaps[len(gaps) > 2 :] for gaps in (ours, plain))  # the first waits for Ray
    value, reference = statistics.median(ours), statistics.median(plain)
    yield Figure(
        "a trial's first step after the last one's end",
        value=value,
        unit="s",
        reference=reference,
        ratio=reference / value,
        wanted=f"{WANTED_RATIO} x, at most {WANTED_SECONDS:g} s",
        note=f"from {min(ours):.2f} to {max(ours):.2f} s over {counted(len(ours), 'trial')}",
    )


def note(log: str, what: str) -> None:
    """Append a moment to a file; workers are other processes."""
    with open(log, "a", encoding="ascii") as file:
        file.write(f"{what} {time.time()}\n")


def gaps_of(log: Path) -> list[float]:
    """Return the seconds between the end of each trial and the first step of the next."""
    moments = [line.split() for line in log.read_text(encoding="ascii").splitlines()]
    times = [(what, float(at)) for what, at in moments]
    return [
        at - before
        for (over, before), (first, at) in itertools.pairwise(times)
        if over == "over" and first == "first"
    ]


def _search(parent: Path, session: Path, trials: int) -> list[float]:
    log = parent / "ours.log"
    TimedTrial.log = str(log)
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    search_idly(
        parent,
        [
            *(f"search.trials={trials}", "search.sampler=random", "search.scheduler=none"),
            *("training.epochs=1", "training.batch_size=4"),
        ],
        demo=True,
        trial=TimedTrial,
        data=TrialData((str(session),), (str(session),)),
        slots=1,
    )
    return gaps_of(log)


def _plain_search(parent: Path, session: Path, trials: int) -> list[float]:
    log = parent / "plain.log"

    def train(config: dict[str, Any]) -> None:
        import h5py
        import numpy as np
        import torch
        from torch import nn

        with h5py.File(config["session"]) as file:
            rows = file["emg2qwerty"]["timeseries"][:8000]
        emg = np.concatenate([rows["emg_left"], rows["emg_right"]], axis=1)
        batch = torch.from_numpy(emg).reshape(4, 2000, 32)
        layers = nn.Sequential(nn.Linear(32, 48), nn.ReLU(), nn.Linear(48, 99))
        optimizer = torch.optim.Adam(layers.parameters())
        layers(batch).logsumexp(-1).mean().backward()
        note(config["log"], "first")
        optimizer.step()
        tune.report({"val_cer": 1.0})
        note(config["log"], "over")

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with engine(None, None):
        tune.Tuner(
            tune.with_resources(train, {"cpu": os.cpu_count() or 1}),
            param_space={"session": str(session), "log": str(log), "x": tune.uniform(0, 1)},
            tune_config=tune.TuneConfig(metric="val_cer", mode="min", num_samples=trials),
            run_config=tune.RunConfig(name="plain", storage_path=str(parent), verbose=0),
        ).fit()
    return gaps_of(log)
