"""Memory that a second trial at once adds to the first, for their recordings and for itself.

Two workers of a real search map the same recordings. Of these, memory is the proportional set
size: each page's part is its size over the number of processes that have it. A copy that a worker
made would show in what it has allocated, which is compared over sessions of two lengths, after as
many steps.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from ray.tune.experiment import Trial

from benchmarks import data
from benchmarks.idle import search_idly
from benchmarks.measure import Figure, Scope
from search.engine.recorder import Recorder
from search.engine.trial import EmgTrial, TrialData
from search.halving.ending import Ending, Why

WANTED = 0.1
_TRIAL = (
    *("search.sampler=random", "search.scheduler=none", "training.batch_size=8"),
    *("model.electrodes=16", "model.encoder.recurrent.layers=0", "model.encoder.conv.layers=1"),
    "model.encoder.transformer.layers=0",
)


class Watching(Recorder):
    """Looks at the memory of the workers once each has trained enough, and ends the search.

    Attributes:
        workers: how many train at once.
        epochs: what each is to have trained.
        seen: MB of recordings and MB allocated, for each worker.
    """

    workers, epochs = 1, 1
    seen: ClassVar[list[tuple[float, float]]] = []

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        super().on_trial_result(iteration, trials, trial, result)
        enough = {result["pid"]} if result["epoch"] >= self.epochs else set()
        self.pids: set[int] = getattr(self, "pids", set()) | enough
        if len(self.pids) == self.workers and not self.ending:
            Watching.seen = [memory(pid) for pid in self.pids]
            self._end(Ending(Why.INTERRUPTED))


def run(scope: Scope) -> Iterator[Figure]:
    """Measure one trial, and two at once, on a short and on a long session."""
    long = 1.0 if scope.short else 20.0
    (one,), two = _memory(long, trials=1), _memory(long, trials=2)
    own = sum(own for _, own in two) - one[1]
    (briefly,) = _memory(long / 4, trials=1, epochs=4)
    mapped = sum(mapped for mapped, _ in two) - one[0]
    yield Figure(
        f"recordings of a second trial, beside {one[0]:.0f} MB of the first",
        value=100 * mapped / one[0],
        unit="%",
        wanted=f"at most {100 * WANTED:.0f} %",
        note=f"{mapped:.1f} MB",
    )
    yield Figure(
        "allocated by a second trial: model, batches, interpreter",
        value=own,
        unit="MB",
        note=f"by a first {one[1]:.0f}; by one with a quarter of the recordings, after as many "
        f"steps, {briefly[1]:.0f}",
    )


def memory(pid: int) -> tuple[float, float]:
    """Return what a process has of recordings, and what it has allocated (MB).

    Libraries are left out: how many processes share them is another matter.
    """
    recordings, allocated, path = 0.0, 0.0, ""
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        name, *rest = line.split()
        if not name.endswith(":"):
            path = rest[-1] if len(rest) > 4 else ""
        elif name == "Pss:" and path.endswith("emg.npy"):
            recordings += int(rest[0]) / 1024
        elif name == "Anonymous:":
            allocated += int(rest[0]) / 1024
    return recordings, allocated


def _memory(minutes: float, trials: int, epochs: int = 1) -> list[tuple[float, float]]:
    (session,) = data.sessions(1, minutes)
    Watching.workers, Watching.epochs = trials, epochs
    with tempfile.TemporaryDirectory() as scratch:
        search_idly(
            Path(scratch),
            [f"search.trials={trials}", "training.epochs=1000", *_TRIAL],
            demo=True,
            trial=EmgTrial,
            data=TrialData((str(session),), (str(session),)),
            slots=2,
            recorder=Watching,
        )
    return Watching.seen
