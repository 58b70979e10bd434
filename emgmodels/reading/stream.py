"""Text that grows while EMG arrives."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from emgmodels.charset import BLANK, decode
from emgmodels.config import SAMPLE_RATE, TrainingConfig
from emgmodels.config.electrodes import band_indices, electrode_indices
from emgmodels.network.features import as_emg
from emgmodels.network.network import Network
from emgmodels.sessions.units import amplitude, scale_of
from emgmodels.windows.cut import mirrored


class Stream:
    """Reads one session as it is recorded, and gives the text of reading it in one pass.

    Each key comes as soon as nothing to come can change it: ``latency_ms`` after its frame began.
    The session's beginning is mirrored, as everywhere, to give the first frames a past. So nothing
    is read in the first ``start_ms``, and what was typed in them comes at their end.

    Args:
        model: in evaluation mode.
        training: how it was trained; a session gets the context that windows had there.
        scale: what the EMG is multiplied by; None: found from the strength of what arrives before
            the first output, or as soon as an electrode moves.
        adapts: the norm's statistics follow the session, by the EMG that has arrived.

    Attributes:
        text: all that was read so far.
        latency_ms: EMG that a frame's output waits for (ms).
        start_ms: EMG that the first output waits for (ms).

    Raises:
        ValueError: a stage depends on a window's end, or on a past without limit.
    """

    def __init__(
        self,
        model: Network,
        training: TrainingConfig,
        scale: float | None = None,
        adapts: bool = False,
    ) -> None:
        assert not model.training
        config, features = model.config, model.spectrogram
        self.model = model
        self.text = ""
        self._scale = scale
        self.latency_ms = model.lookahead_ms
        self._flow = model.flow(adapts)
        self._context = (
            round(training.past_seconds * SAMPLE_RATE),
            round(training.future_seconds * SAMPLE_RATE),
        )
        framing = model.framing(features.hop, *self._context)
        tail = (model.stride + model.right) * features.hop
        self._before = framing.before
        reach = max(framing.before, self._context[1], tail)
        # A session's end is mirrored too, so the samples before it are held.
        self._mirrored = reach + features.n_fft + features.hop  # samples held to be mirrored
        self.start_ms = 1000 * self._mirrored / SAMPLE_RATE
        self._skip = framing.first
        self._bands = band_indices(config.electrode_choice)
        self._electrodes = electrode_indices(config.electrodes, config.electrode_choice)
        self._recent = torch.empty(0, len(self._bands), len(self._electrodes))  # (S, B, E)
        self._samples, self._frames, self._last = 0, 0, BLANK

    def push(self, emg: np.ndarray | Tensor) -> str:
        """Take the next EMG and return the text that it adds, which may be none.

        Args:
            emg: (S, 2, 16) samples at 2 kHz, any number of them.

        Raises:
            ValueError: the EMG has another shape.
        """
        new = as_emg(emg)[:, self._bands][:, :, self._electrodes]
        started = self._samples > self._mirrored
        recent = torch.cat([self._recent, new])
        self._samples += len(new)
        if self._samples <= self._mirrored:
            self._recent = recent
            return ""
        # The first frames get a past by mirroring what has arrived, exactly as one pass over a
        # file does.
        if not started:
            new = _span(recent, -self._before, len(recent))
        # A view would keep all that ever arrived in memory.
        self._recent = recent[-self._mirrored :].clone()
        return self._read(new)

    def finish(self) -> str:
        """End the session and return the last of its text."""
        hop, n_fft = self.model.spectrogram.hop, self.model.spectrogram.n_fft
        if self._samples < hop:
            return ""
        framing = self.model.framing(self._samples, *self._context)
        missing = framing.samples + max(0, hop - n_fft) - framing.before - self._samples
        begin = len(self._recent) if self._samples > self._mirrored else -self._before
        rest = _span(self._recent, begin, len(self._recent) + missing)
        text = self._read(rest, framing.frames)
        with torch.inference_mode():
            return text + self._add(self._flow.finish(), framing.frames)

    @torch.inference_mode()
    def _read(self, emg: Tensor, frames: int | None = None) -> str:
        if len(emg) == 0:
            return ""
        # Found once: a factor that changed later would change the meaning of what was read
        # before.
        if self._scale is None and amplitude(emg.numpy()) > 0:
            self._scale = scale_of(emg.numpy())
        if self._scale not in (None, 1):
            emg = emg * self._scale
        device = next(self.model.parameters()).device
        signal = emg.permute(1, 2, 0)[None].contiguous()  # (1, B, E, S)
        return self._add(self._flow.push(signal.to(device)), frames)

    def _add(self, log_probs: Tensor | None, frames: int | None) -> str:
        """Decode the next output frames; those after the session's ``frames`` are left out."""
        if log_probs is None:
            return ""
        skipped = min(self._skip, log_probs.shape[1])
        self._skip -= skipped
        path = log_probs[0, skipped:].argmax(-1).tolist()
        if frames is not None:
            path = path[: frames - self._frames]
        self._frames += len(path)
        previous = [self._last, *path]
        self._last = previous[-1]
        steps = zip(path, previous, strict=False)
        # The last label of the chunk before is carried, since a key held over the border is one
        # key.
        new = decode(label for label, before in steps if label not in (BLANK, before))
        self.text += new
        return new


def _span(emg: Tensor, begin: int, end: int) -> Tensor:
    """Return samples [begin, end) of EMG that is mirrored at its ends."""
    return emg[mirrored(np.arange(begin, end), len(emg))]
