"""One training between its epochs: weights, optimizer, the best epoch, and its checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from emgmodels.atomic import whole
from emgmodels.charset import decode
from emgmodels.checkpoints.start import Start, check_start, put_start, read_start
from emgmodels.checkpoints.weights import load_weights, read_training, weights_hash
from emgmodels.compute.onednn import fast_products
from emgmodels.compute.optimizers import OPTIMIZERS
from emgmodels.config import Config, with_sources
from emgmodels.ctc import aligned_loss, ctc_loss, greedy_decode
from emgmodels.factory import build
from emgmodels.metrics import EditCounts, count_edits
from emgmodels.network.features import SpecAugment
from emgmodels.network.network import Framing
from emgmodels.outputs import mark_of
from emgmodels.reading.sessions import stitched_emissions
from emgmodels.scoring import Scoring
from emgmodels.training.augmentation import OwnAugmentations
from emgmodels.training.averaging import WeightAverage
from emgmodels.training.disturbance import disturbed
from emgmodels.training.feed import Feed
from emgmodels.training.freezing import FrozenParts, groups_of
from emgmodels.training.intermediate import IntermediateHeads
from emgmodels.training.learning_rate import learning_rate
from emgmodels.training.result import EpochResult
from emgmodels.training.timing import timed
from emgmodels.windows.cut import Batch, milliseconds
from emgmodels.windows.device import recordings_on
from emgmodels.windows.prompts import prompt_windows
from emgmodels.windows.recording import Recording

CHECKPOINT_MARK = mark_of("checkpoint")


def reduced_precision(precision: str, device: torch.device) -> bool:
    """Return whether a training with this setting uses bfloat16 on a device."""
    if precision == "auto":
        # On a CPU bfloat16 gains for wide layers and loses for small ones, of which a search on a
        # laptop is made. Where a GPU only emulates it, nothing is gained.
        return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return precision == "bfloat16"


class Training:
    """The state of one training between epochs."""

    def __init__(self, config: Config, device: torch.device) -> None:
        self.config, self.device = config, device
        training = config.training
        self.model = build(config.model, config.seed)
        heads = IntermediateHeads(self.model, training.intermediate_ctc, config.seed)
        self.model, self.heads = self.model.to(device), heads.to(device)
        self.forward: Callable[[Tensor], Tensor] = self.model
        if training.compile:
            torch.compiler.reset()  # of a process's earlier models, which count against a limit
            self.forward = torch.compile(self.model)
        self.reduced = reduced_precision(training.precision, device)
        self.augment = SpecAugment(training.augmentation, config.model.features.hop)
        self.own_augmentations = OwnAugmentations(training.augmentation)
        self.frozen = FrozenParts(self.model, training)
        groups = groups_of(self.model, self.heads, training.learning_rate_factors)
        self.trained = [p for group in groups for p in group["params"]]
        self.average = WeightAverage(self.model, training.average, training.epochs)
        self.optimizer = OPTIMIZERS[training.optimizer](
            groups,
            lr=training.learning_rate,
            weight_decay=training.weight_decay,
            # One pass over all weights instead of several.
            fused=True,
        )
        self.epoch, self.step, self.learning_rate = 0, 0, 0.0
        self.best_cer, self.best_epoch = math.inf, 0
        self.best: dict[str, Tensor] = {}
        self.best_weights = ""
        self.sessions: dict[str, list[str]] = {}
        self.best_windows = _window_table([])
        self.feed = Feed(self.model, config, device)

    def begin(self, start: Start | None) -> None:
        """Take the weights that the training starts from, if it names any."""
        chosen = self.config.training.start_from
        if chosen is None:
            return
        start = start or read_start(Path(chosen.path), chosen.weights)
        check_start(self.config, start.config.model)
        put_start(self.model, start, chosen)

    def at_precision(self) -> torch.autocast:
        """Return the context in which the model computes as its training asks."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.reduced)

    def through(
        self,
        epoch: int,
        train: Sequence[Recording],
        val: Sequence[Recording],
        scoring: Scoring,
        tell: Callable[[int, float], None] | None,
    ) -> EpochResult:
        """Train an epoch, validate, and return what it was; what is told decides nothing."""
        begin = time.perf_counter()
        # The compiler chooses its own matrix products, and cannot look into ours.
        with nullcontext() if self.config.training.compile else fast_products(self.device):
            train_loss = self.train_epoch(epoch, train, tell)
            with self.average.in_place():
                val_loss, readings = self.validate(val)
                windows = [count_edits(read, typed) for typed, read in readings]
                edits, table = sum(windows, EditCounts()), _window_table(windows)
                rates = scoring.rates(*table.T)
                # The weights are broken then, even if the texts of this epoch are not.
                cer = float(rates.by(scoring.by)) if math.isfinite(train_loss) else math.nan
                self.finish_epoch(epoch, cer, table)
        return EpochResult(
            epoch=epoch,
            train_loss=train_loss,
            val_loss=val_loss,
            val_cer=cer,
            val_ier=edits.ier,
            val_der=edits.der,
            val_ser=edits.ser,
            val_cer_pooled=edits.cer,
            val_cer_mean_user=float(rates.mean_user),
            val_cer_sd_user=float(rates.sd_user),
            val_cer_worst_user=float(rates.worst_user),
            best_val_cer=self.best_cer,
            best_epoch=self.best_epoch,
            learning_rate=self.learning_rate,
            seconds=time.perf_counter() - begin,
            best_windows=self.best_windows,
            best_weights=self.best_weights,
            readings=readings,
            save=self.save,
        )

    def train_epoch(
        self,
        epoch: int,
        recordings: Sequence[Recording],
        tell: Callable[[int, float], None] | None = None,
    ) -> float:
        """Train one epoch and return its mean loss; stop early where it is not finite."""
        feed = self.feed
        # From seed and epoch alone, so that no generator's state needs saving.
        rng = np.random.default_rng([self.config.seed, epoch])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        loaded = recordings_on(self.device, tuple(recordings))
        with self.at_precision():
            recordings = timed(self.model, recordings, self.config.training)
        windows, prompts = feed.windows(recordings, rng), feed.prompts(recordings)
        if self._is_aligned(epoch) and len(windows):
            prompts = prompts[:0]  # which would draw the model onto CTC's plateau
        windows, prompts = (feed.balanced(recordings, each, rng) for each in (windows, prompts))
        steps = feed.steps(windows, prompts)
        self.model.train()
        self.frozen.at(epoch)
        # The sum stays on the device: reading a number at each step would make the CPU wait for
        # the GPU.
        total = torch.zeros((), device=self.device)
        # Dropout draws from torch's global generator, whose numbers a notebook keeps.
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(int(rng.integers(2**62)))
            batches = feed.batches(recordings, windows, prompts, rng, loaded)
            for done, batch in enumerate(batches, 1):
                self._set_learning_rate(epoch, steps)
                loss = self._loss(batch.to(self.device), epoch, generator)
                # Freed gradients spare a step the writing of zeros.
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                self.update()
                total += loss.detach() * len(batch.emg)
                if tell is not None:
                    tell(epoch, min(1.0, done / steps))
        self.average.after_epoch(epoch)
        return float(total) / (len(windows) + len(prompts))

    def update(self) -> None:
        """Take a step along the gradients there are."""
        if (largest := self.config.training.gradient_clip) is not None:
            torch.nn.utils.clip_grad_norm_(self.trained, largest)
        self.optimizer.step()
        self.average.after_step()
        self.step += 1

    @torch.inference_mode()
    def validate(
        self, recordings: Sequence[Recording]
    ) -> tuple[float, tuple[tuple[str, str], ...]]:
        """Return the CTC loss, and what was typed and read in each validation window."""
        self.model.eval()
        total, readings = 0.0, []
        for log_probs, labels, lengths in self._validated(recordings):
            # A window may be shorter than one output frame; nothing is read in it.
            if log_probs.shape[1]:
                total += float(ctc_loss(log_probs, labels, lengths)) * len(log_probs)
            for predicted, typed, length in zip(
                greedy_decode(log_probs), labels.tolist(), lengths.tolist(), strict=True
            ):
                readings.append((decode(typed[:length]), decode(predicted)))
        return total / len(readings), tuple(readings)

    def finish_epoch(self, epoch: int, cer: float, windows: np.ndarray) -> None:
        """Note the epoch, and keep its weights and windows if they are the best so far."""
        self.epoch = epoch
        if cer < self.best_cer:
            self.best_cer, self.best_epoch = cer, epoch
            # Copied, since training goes on with the same tensors, and to the CPU, since the
            # GPU's memory is for training.
            self.best = {k: v.detach().cpu().clone() for k, v in self.model.state_dict().items()}
            self.best_weights = weights_hash(self.best)
            self.best_windows = windows

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        state = {
            # By this mark a command knows that it may replace the file.
            "writer": CHECKPOINT_MARK,
            "config": self.config.model_dump_json(),
            "epoch": self.epoch,
            "step": self.step,
            "best_cer": self.best_cer,
            "best_epoch": self.best_epoch,
            "best": self.best,
            "sessions": self.sessions,
            # As a tensor: checkpoints are read with weights_only, which takes no numpy arrays.
            "best_windows": torch.from_numpy(self.best_windows),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state(),
            "heads": self.heads.state_dict(),
        }
        state |= with_sources(self.config.model)
        with whole(path) as scratch, scratch.open("wb") as file:
            torch.save(state, file)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint of the same configuration."""
        state = read_training(path, self.device)
        try:
            config = Config.model_validate_json(state["config"])
        except ValidationError:
            # A field that this version does not know makes it another configuration.
            config = None  # of another version
        # Equal architectures are equal configurations, so this holds whatever way it was written.
        if config != self.config:
            raise ValueError(
                f"{path}: is the checkpoint of another configuration: resume with the one it was "
                f"written with"
            )
        self.epoch, self.step = state["epoch"], state["step"]
        self.best_cer, self.best_epoch = state["best_cer"], state["best_epoch"]
        self.best = {name: value.cpu() for name, value in state["best"].items()}
        self.best_weights = weights_hash(self.best) if self.best else ""
        self.best_windows = state["best_windows"].cpu().numpy()
        try:
            load_weights(self.model, state["model"])
            load_weights(self.heads, state.get("heads", {}))
            self.optimizer.load_state_dict(state["optimizer"])
            self.average.load(state.get("average", {"count": 0, "weights": {}}))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def _validated(
        self, recordings: Sequence[Recording]
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield log-probabilities, labels and their numbers: of windows, then of each prompt.

        Every model is scored on the same text in the same order, so a prompt that it cannot take
        at once is stitched.
        """
        feed, training = self.feed, self.config.training
        loaded = recordings_on(self.device, tuple(recordings))
        for batch in feed.validation(recordings, loaded):
            features = self.model.spectrogram(batch.to(self.device).emg)
            log_probs = self._emissions(features, feed.val_framing)
            yield log_probs, batch.labels, batch.label_lengths
        for prompt in prompt_windows(recordings):
            index, start, end, low, high = prompt.tolist()
            if self.model.takes(end - start, training):
                batch, framing = feed.prompt(recordings, prompt, loaded)
                features = self.model.spectrogram(batch.to(self.device).emg)
                log_probs = self._emissions(features, framing)
            else:
                # Every model is scored on the same prompts. One that is too long for this model
                # is read in pieces of 4 s.
                span = (start, end)
                with self.at_precision():
                    log_probs = stitched_emissions(self.model, recordings[index], training, span)
                log_probs = log_probs[None]
            labels = torch.from_numpy(recordings[index].labels[low:high])[None]
            yield log_probs, labels, torch.tensor([high - low])

    def _loss(self, batch: Batch, epoch: int, generator: torch.Generator) -> Tensor:
        training = self.config.training
        emg = disturbed(batch.emg, training.augmentation, generator)
        emg = self.own_augmentations.emg(emg, generator)
        features = self.augment(self.model.spectrogram(emg), generator)
        features = self.own_augmentations.features(features, generator)
        framing, frames = self.feed.framing_of(batch)
        log_probs = self._emissions(features, framing)
        loss = ctc_loss(log_probs, batch.labels, batch.label_lengths, frames)
        if (middle := training.intermediate_ctc) is not None:
            with self.at_precision():
                loss = loss + middle.weight * self.heads.loss(batch, framing)
        start = training.aligned_start
        # A prompt has no key times to align to.
        if start is None or not self._is_aligned(epoch) or batch.lengths is not None:
            return loss
        step = framing.step
        pressed = torch.where(batch.label_samples >= 0, batch.label_samples // step, -1)
        tolerance = max(1, milliseconds(start.tolerance_ms) // step)
        return loss + start.weight * aligned_loss(
            log_probs, batch.labels, batch.label_lengths, pressed, tolerance, start.blank_weight
        )

    def _is_aligned(self, epoch: int) -> bool:
        start = self.config.training.aligned_start
        return start is not None and epoch <= start.epochs

    def _emissions(self, features: Tensor, framing: Framing) -> Tensor:
        """Return the log-probabilities of the labelled window's frames, (N, T, 99)."""
        with self.at_precision():
            log_probs = self.forward(features)
        return log_probs[:, framing.first : framing.first + framing.frames]

    def _set_learning_rate(self, epoch: int, steps: int) -> None:
        self.learning_rate = learning_rate(self.config.training, epoch, self.step, steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * group.get(
                "factor", 1.0
            )  # older checkpoints have none


def _window_table(windows: Sequence[EditCounts]) -> np.ndarray:
    """Return (W, 2) edits and characters."""
    rows = [(window.edits, window.target) for window in windows]
    return np.array(rows, dtype=np.int32).reshape(-1, 2)
