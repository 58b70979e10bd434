"""Windows trained a second by 1, 2 and 4 trials at once that share the cores between them.

The search gives a trial a core and one torch thread, so that as many train at once as there are
cores. The reference is one trial on all of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from benchmarks.measure import Figure, Scope, Timings
from benchmarks.together import Trainers
from emgmodels.config import Config
from emgmodels.notation import parse_notation

MODELS = {
    "baseline": "conv:4 @16ch",
    "small": "gru:2(hidden=96) transformer:1(heads=4,feedforward=128) mlp:48 @8ch",
}
_SHORT = "conv:1(channels=4,kernel=5) mlp:16"
_SECONDS = 8.0


def run(scope: Scope) -> Iterator[Figure]:
    """Measure each model by turns with 1, 2, 4 and as many trials as there are cores."""
    cores = os.cpu_count() or 1
    many = (1, 2) if scope.short else sorted({1, 2, 4, cores})
    for name, text in {"small": _SHORT}.items() if scope.short else MODELS.items():
        model = parse_notation(text)
        config = Config.model_validate({"model": model, "training": {"batch_size": 8}})
        seconds: dict[str, list[float]] = {str(trials): [] for trials in many}
        with Trainers(max(many), config, "cpu", 0.5 if scope.short else 1.0) as trainers:
            for _ in range(scope.turns):
                for trials in many:
                    threads = max(1, cores // trials)
                    length = 0.1 if scope.short else _SECONDS
                    rate = trainers.windows_a_second(trials, threads, length)
                    seconds[str(trials)].append(1 / rate)
        found = Timings(seconds, {})
        for trials in many:
            yield Figure(
                f"{name}, {trials} at once of {max(1, cores // trials)} threads",
                value=1 / found.median(str(trials)),
                unit="windows/s",
                reference=1 / found.median("1"),
                ratio=found.ratio("1", str(trials)),
                wanted="highest" if trials == cores else "",
                note="the search's default" if trials == cores else "",
            )
