"""Memory that a second trial at once adds to the first, beside the size of their recordings.

Two workers of a real search map the same recordings. What they share counts once: memory is the
workers' proportional set size, of which each page's part is its size over the number of processes
that have it. Recordings of two lengths tell a trial's own memory from what it holds of recordings.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial

from benchmarks import data
from benchmarks.idle import search_idly
from benchmarks.measure import Figure, Scope
from emgmodels.config import BAND_ELECTRODES, BANDS, SAMPLE_RATE
from search.recorder import Recorder
from search.trial import EmgTrial, TrialData

WANTED = 0.1
SUBJECT_HOURS = 5.5
_TRIAL = (
    *("search.sampler=random", "search.scheduler=none", "training.batch_size=8"),
    *("model.electrodes=16", "model.encoder.recurrent.layers=0", "model.encoder.conv.layers=1"),
    "model.encoder.transformer.layers=0",
)


class Watching(Recorder):
    """Looks at the memory of the workers once each has trained an epoch, and ends the search.

    Attributes:
        workers: how many train at once.
        shared: MB of their proportional set sizes together.
        own: MB that one of them shares with nobody.
    """

    workers, shared, own = 1, 0.0, 0.0

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        super().on_trial_result(iteration, trials, trial, result)
        self.pids: set[int] = getattr(self, "pids", set()) | {result["pid"]}
        if len(self.pids) == self.workers and not self.ending:
            seen = [memory(pid) for pid in self.pids]
            Watching.shared = sum(pss for pss, _ in seen)
            Watching.own = max(own for _, own in seen)
            self._end("its memory was measured")


def run(scope: Scope) -> Iterator[Figure]:
    """Measure one and two trials at once, on short and on long sessions."""
    lengths = (0.5, 1.0) if scope.short else (1.0, 20.0)
    sizes, added, own = [], [], 0.0
    for minutes in lengths:
        one, own = _memory(minutes, trials=1)
        two, _ = _memory(minutes, trials=2)
        sizes.append(minutes * 60 * SAMPLE_RATE * BANDS * BAND_ELECTRODES * 4 / 2**20)
        added.append(two - one)
    share = (added[1] - added[0]) / (sizes[1] - sizes[0])
    subject = SUBJECT_HOURS * 3600 * SAMPLE_RATE * BANDS * BAND_ELECTRODES * 4 / 2**20
    yield Figure(
        f"a second trial's memory, {sizes[1]:.0f} MB of recordings",
        value=added[1],
        unit="MB",
        note=f"with {sizes[0]:.0f} MB of recordings {added[0]:.0f}; unshared of a trial {own:.0f}",
    )
    yield Figure(
        "of each MB of recordings, in the second trial",
        value=100 * share,
        unit="%",
        wanted=f"at most {100 * WANTED:.0f} %",
    )
    yield Figure(
        f"a second trial's memory over the recordings of {SUBJECT_HOURS} hours",
        value=100 * (added[1] + share * (subject - sizes[1])) / subject,
        unit="%",
        wanted=f"at most {100 * WANTED:.0f} %",
        note="its own libraries, model and batches included",
    )


def memory(pid: int) -> tuple[float, float]:
    """Return a process's proportional set size, and what it shares with no other (MB)."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    lines = (line.split() for line in rollup.splitlines()[1:])
    sizes = {name.rstrip(":"): int(size) / 1024 for name, size, *_ in lines}
    return sizes["Pss"], sizes["Private_Clean"] + sizes["Private_Dirty"]


def _memory(minutes: float, trials: int) -> tuple[float, float]:
    (session,) = data.sessions(1, minutes)
    Watching.workers = trials
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
    return Watching.shared, Watching.own
