"""Searches of trials that do nothing: what is left is the search's own cost."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

from ray import cloudpickle, tune
from rich.console import Console

from emgmodels.training.state import CHECKPOINT_MARK
from search.engine.ray_session import engine
from search.engine.recorder import Recorder
from search.engine.resources import Resources
from search.engine.trial import CHECKPOINT, EmgTrial, TrialData
from search.results.folder import RunFolder
from search.results.growing_tables import CURVE_METRICS
from search.run.conduct import conduct
from search.run.plan import Plan
from search.run.sessions import Opened
from search.space import load_space

SPACE = Path(__file__).resolve().parent.parent / "spaces" / "deep.yaml"
NO_DATA = TrialData((), ())


class IdleTrial(EmgTrial):
    """Reports made-up epochs of a suggestion, and trains nothing."""

    def step(self) -> dict[str, Any]:
        self.epoch += 1
        cer = 20 + self.suggestion.seed % 997 / 20 + 30 / self.epoch
        made_up = dict.fromkeys(CURVE_METRICS, 1.0) | {"val_cer": cer, "best_val_cer": cer}
        last = self.epoch >= self.suggestion.training.epochs
        return {**made_up, "epoch": self.epoch, "best_epoch": self.epoch, "done": last}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        # With its mark: files without one are taken for a user's own, and never deleted.
        (Path(checkpoint_dir) / CHECKPOINT).write_text(f"{self.epoch} {CHECKPOINT_MARK}")

    def load_checkpoint(self, checkpoint_dir: Any) -> None:
        self.epoch = int((Path(checkpoint_dir) / CHECKPOINT).read_text().split()[0])

    def _start(self, checkpoint: Path | None) -> None:
        self.epoch = 0


class BareTrial(tune.Trainable):
    """Ray Tune's own cost: nothing is done, nothing is kept."""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        return True

    def step(self) -> dict[str, Any]:
        return {"val_cer": 1.0, "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        pass

    def load_checkpoint(self, checkpoint: Any) -> None:
        pass


class Ends(tune.Callback):
    """When each trial ended (s)."""

    def __init__(self) -> None:
        self.begin = time.monotonic()
        self.times: list[float] = []

    def __reduce__(self) -> tuple[type[tune.Callback], tuple[()]]:
        return tune.Callback, ()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self.times.append(time.monotonic() - self.begin)


class Costs(Recorder):
    """Also notes, whenever a trial ended, what the driver has used of time and memory.

    Attributes:
        moments: wall clock (s), processor time of the driver's thread (s), resident memory (MB).
    """

    moments: ClassVar[list[tuple[float, float, float]]] = []

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **more: Any) -> None:
        super().on_trial_complete(iteration, trials, trial, **more)
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        memory = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        Costs.moments.append((time.monotonic(), time.thread_time(), memory))


def search_idly(
    parent: Path,
    overrides: list[str],
    *,
    demo: bool = False,
    trial: type[EmgTrial] = IdleTrial,
    data: TrialData = NO_DATA,
    slots: int | None = None,
    recorder: type[Recorder] = Recorder,
    in_time: float | None = None,
) -> RunFolder:
    """Search ``spaces/deep.yaml`` as ``search.run`` does, with trials that do nothing.

    Args:
        parent: folder for the run folder.
        overrides: ``path.to.key=value`` of the space.
        demo: take the space's demo section.
        trial: other trials.
        data: what they train on.
        slots: trials at once, one thread each; one for each core if None.
        recorder: another recorder.
        in_time: seconds within which all trials have to end; see ``Plan.in_time``.
    """
    for module in {__name__, trial.__module__}:
        cloudpickle.register_pickle_by_value(sys.modules[module])
    space = load_space(SPACE, demo=demo, overrides=overrides)
    cores = float(os.cpu_count() or 1)
    plan = Plan(
        space=space,
        opened=Opened(data, [], []),
        data=data,
        resources=Resources(1 if slots is None else cores / slots, 0),
        parent=parent,
        facts={"subject": "nobody"},
        written=space.resolved(),
        in_time=in_time,
    )
    return conduct(plan, Console(quiet=True), trial=trial, recorder=recorder)


def run_bare(parent: Path, trials: int) -> list[float]:
    """Run so many trials on Ray Tune alone; return when each ended (s)."""
    ends = Ends()
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with engine(None, None):
        tune.Tuner(
            tune.with_resources(BareTrial, {"cpu": 1}),
            param_space={"x": tune.uniform(0, 1)},
            tune_config=tune.TuneConfig(
                metric="val_cer", mode="min", num_samples=trials, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                name="bare", storage_path=str(parent), callbacks=[ends], verbose=0
            ),
        ).fit()
    return ends.times
