"""One suggestion as one Ray Tune trial: it loops over ``fit``, reports and checkpoints."""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import json
import shutil
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from ray import tune
from ray.tune.result import SHOULD_CHECKPOINT

from emgmodels.checkpoints.start import Start
from emgmodels.compute.allocator import keep_freed_memory
from emgmodels.compute.devices import best_device
from emgmodels.config import Config
from emgmodels.metrics import count_confusions
from emgmodels.own_code import Code, install
from emgmodels.scoring import RankBy
from emgmodels.training.fit import fit
from emgmodels.training.result import EpochResult
from emgmodels.windows.cache import prepare
from emgmodels.windows.recording import Recording, beginning
from search.engine.failures import FIRST_EPOCH, PassingError, explain, may_pass
from search.results.pulse import Pulse
from search.storage import SessionStore, local_file

CHECKPOINT = "checkpoint.pt"
"""File name of a training's state inside a Ray Tune checkpoint."""
_SAMPLES = 6


@dataclass(frozen=True)
class TrialData:
    """What a trial trains on: paths, or an object store's URIs, that every node can read."""

    train: tuple[str, ...]
    """Training session files."""
    val: tuple[str, ...]
    """Validation session files."""
    prompted: tuple[int, int] = (0, 0)
    """Training and validation sessions without key times, which count by whole prompts."""
    minutes: float | None = None
    """How much of the training sessions, from the first one on; None: all."""

    def text(self) -> str:
        """Return it as text, for a trial's configuration."""
        return json.dumps(asdict(self))

    @classmethod
    def of_text(cls, text: str) -> TrialData:
        """Return what ``text`` gave."""
        values = json.loads(text)
        lists = {name: tuple(values[name]) for name in ("train", "val", "prompted")}
        return cls(**{**values, **lists})

    def moved(self, store: SessionStore) -> TrialData:
        """Return the same files in an object store, of which these are copies."""
        train, val = (tuple(map(store.uri_of, paths)) for paths in (self.train, self.val))
        return replace(self, train=train, val=val)


class EmgTrial(tune.Trainable):
    """Trains one configuration, one epoch a step.

    Ray reuses the process for the next trial (``reset_config``), pauses it by ``save_checkpoint``
    and goes on by ``load_checkpoint``. An error inside the training is the trial's result, not the
    search's end: it is reported as ``failure`` and the trial is done, unless it may pass.
    """

    def setup(
        self,
        config: dict[str, Any],
        data: TrialData | None = None,
        code: Sequence[Code] = (),
        cpus: int = 1,
        gpus: float | None = None,
        save_every: float = 600.0,
        patience: float = FIRST_EPOCH,
        pulse: str | None = None,
        rank_by: RankBy | None = None,
        start: Start | None = None,
    ) -> None:
        """Start the training of a suggestion.

        Args:
            config: ``{"config": Config as JSON, ...}``, from the sampler.
            data: sessions to train and validate on.
            code: the user's own, which this machine may lack.
            cpus: torch threads.
            gpus: GPUs it may use, a part of one as memory too; 0: trains on the CPU whatever there
                is; None: a whole one, if there is one.
            save_every: seconds of training that a lost node may cost; scheduler and end of the
                trial ask for checkpoints of their own.
            patience: seconds after which a process that is not ready to train ends itself.
            pulse: folder of the driver's machine in which it notes how far an epoch is.
            rank_by: the CER that decides which epoch is the best.
            start: the checkpoint that trials start from, which this machine may lack.
        """
        assert data is not None, "given by tune.with_parameters"
        for each in code:
            install(each)
        keep_freed_memory()
        # Ray would set the threads too late, after torch was imported.
        torch.set_num_threads(cpus)
        # Without a GPU of its own, Ray lets a trial see all of them. So a trial that was given
        # none must not look for one.
        self.device = torch.device("cpu") if gpus == 0 else best_device()
        if self.device.type == "cuda" and gpus is not None and gpus < 1:
            # A trial that outgrows its share runs out of memory itself, instead of its neighbour.
            torch.cuda.set_per_process_memory_fraction(gpus)  # its neighbours keep theirs
        self.data, self.save_every, self.patience = data, save_every, patience
        self.rank_by = rank_by
        self.pulse, self.start = Pulse(pulse), start
        self.result: EpochResult | None = None
        self.results: Iterator[EpochResult] = iter(())
        self.resumed: tempfile.TemporaryDirectory[str] | None = None
        self.epoch = 0
        self.reported = 0  # the epoch whose windows the driver has
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start the next trial in the same process."""
        # The configuration comes as text: of a mapping Ray would keep statistics for each number.
        self.suggestion = Config.model_validate_json(new_config["config"])
        self.number = new_config.get("number", 0)
        own = new_config.get("sessions")
        self.sessions = self.data if own is None else TrialData.of_text(own)
        with _ending_after(self.patience):
            self._start(None)
        return True

    def get_auto_filled_metrics(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Leave out the configuration, which Ray would keep with each result and checkpoint."""
        filled = super().get_auto_filled_metrics(*arguments, **options)
        return {name: value for name, value in filled.items() if name != "config"}

    def step(self) -> dict[str, Any]:
        """Train one epoch and return its metrics."""
        try:
            # Whatever goes wrong inside a training is that trial's result. An exception that left
            # this method would end the trial's process, and Ray would start it twice more.
            self.result = next(self.results)
        except Exception as error:
            self.result = None
            if may_pass(error):
                raise PassingError(str(explain(error))) from error
            return {
                "epoch": self.epoch + 1,
                "failure": explain(error).facts,
                "traceback": traceback.format_exc(),
                # Schedulers and searcher expect the metrics in every result. Not a number ends
                # the trial in each of them.
                "val_cer": float("nan"),
                "val_loss": float("nan"),
                "done": True,
            }
        self.epoch = self.result.epoch
        metrics: dict[str, Any] = self.result.metrics()
        # Windows are reported when the best epoch is new, and not at every epoch: they are the
        # largest part of a result.
        if self.reported != self.result.best_epoch:
            self.reported = self.result.best_epoch
            metrics["best_windows"] = self.result.best_windows
        metrics["best_weights"] = self.result.best_weights
        if self.resumed is not None:
            self.resumed.cleanup()
            self.resumed = None
        # Time since the last save, not epochs: an epoch takes a second in a demo and minutes on a
        # person's data.
        if due := time.monotonic() - self.saved >= self.save_every:
            metrics[SHOULD_CHECKPOINT] = due
        finite = all(metrics[name] == metrics[name] for name in ("train_loss", "val_loss"))
        last = self.epoch >= self.suggestion.training.epochs
        if self.result.best_epoch == self.epoch:
            metrics["reading"] = _reading(self.result.readings)
        return {**metrics, "done": last or not finite}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the training's state into a folder of Ray's."""
        if self.result is not None:
            self.result.save(Path(checkpoint_dir) / CHECKPOINT)
            self.saved = time.monotonic()

    def load_checkpoint(self, checkpoint_dir: str | dict[str, Any] | None) -> None:
        """Go on from a folder that ``save_checkpoint`` filled."""
        if isinstance(checkpoint_dir, str) and (Path(checkpoint_dir) / CHECKPOINT).is_file():
            # Ray deletes what it brought from storage, and fit reads it at the first step.
            copy = tempfile.TemporaryDirectory(prefix="emgsearch-")
            self._start(Path(shutil.copy(Path(checkpoint_dir) / CHECKPOINT, copy.name)))
            self.resumed = copy

    def cleanup(self) -> None:
        """Let go of the training and its GPU memory."""
        self.result = None
        self.results = iter(())
        self.resumed = None
        if self.device.type == "cuda":
            # The process stays for the next trial. What PyTorch keeps of this one would be
            # missing to the neighbours.
            torch.cuda.empty_cache()

    def _start(self, checkpoint: Path | None) -> None:
        self.cleanup()
        self.saved = time.monotonic()
        self.epoch = self.reported = 0
        train, val = recordings(self.sessions)
        # Nothing runs before the first step: a generator starts when it is asked.
        self.results = fit(
            self.suggestion,
            train,
            val,
            resume=checkpoint,
            device=self.device,
            tell=functools.partial(self.pulse.beat, self.number),
            rank_by=self.rank_by,
            start=self.start,
        )


@contextlib.contextmanager
def _ending_after(seconds: float) -> Iterator[None]:
    """End this process unless the block ends in time, though it holds Python's lock or waits."""
    # Only this ends a process that hangs inside C code; a Python timer would wait for the lock
    # that it holds.
    faulthandler.dump_traceback_later(seconds, exit=True, file=2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


# The process is used for many trials on the same sessions, and they are opened once.
@functools.lru_cache(maxsize=2)
def recordings(data: TrialData) -> tuple[list[Recording], list[Recording]]:
    """Return training and validation recordings, opened once in a process."""
    train = prepare([local_file(source) for source in data.train])
    return (
        train if data.minutes is None else beginning(train, 60 * data.minutes),
        prepare([local_file(source) for source in data.val]),
    )


def _reading(texts: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return what an epoch read: texts of a few windows, typed and read, and all confusions."""
    # Spread over the whole set, so that every session is seen.
    apart = max(1, len(texts) // _SAMPLES)
    counts = count_confusions(texts)
    return {
        "texts": list(texts[::apart][:_SAMPLES]),
        "confusions": [(typed, read, count) for (typed, read), count in counts.items()],
    }
