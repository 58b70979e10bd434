"""A trained model in use: EMG in, text out, from whatever file the model travelled in.

    reader = emgmodels.load("best.pt")
    text = reader(emg)

Files may be a training's checkpoint, what ``python -m emgmodels.export`` writes, or a checkpoint of
emg2qwerty's baseline. Nothing that a file names is executed.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emgmodels.charset import BLANK, CLASSES, decode
from emgmodels.config import BAND_ELECTRODES, BANDS, SAMPLE_RATE, Config
from emgmodels.config.electrodes import band_indices, electrode_indices
from emgmodels.ctc import BeamSearch, greedy_decode
from emgmodels.network.features import as_emg
from emgmodels.network.network import Network
from emgmodels.notation import notation
from emgmodels.reading.sessions import one_pass_emissions, stitched_emissions
from emgmodels.reading.stream import Stream
from emgmodels.sessions.units import scale_of
from emgmodels.windows.recording import Recording

FORMAT = 1
"""Version of the file that ``python -m emgmodels.export --to torch`` writes."""
_NORMS = {
    "electrode": "each electrode by the mean and deviation of its training data, in the weights",
    "bin": "each bin of each electrode by the mean and deviation of its training data, in the "
    "weights",
    "rolling": "each bin of each electrode by the mean and deviation of its last 4 s",
}


@dataclass(frozen=True)
class Origin:
    """Where a model's weights come from.

    Attributes:
        val_cer: validation CER that they had (%), greedy decoding of 4 s windows; None: unknown.
        epoch: epochs that they were trained.
        train: names of the sessions they were trained on.
        val: names of the sessions that the CER was measured on.
    """

    val_cer: float | None = None
    epoch: int | None = None
    train: tuple[str, ...] = ()
    val: tuple[str, ...] = ()


class Reader:
    """Reads text from EMG with a trained model.

    Args:
        config: architecture and training.
        model: the network with its weights; it is put into evaluation mode.
        origin: where the weights come from.

    Attributes:
        frame_seconds: time from one frame of ``emissions`` to the next (s).
    """

    def __init__(
        self,
        config: Config,
        model: Network,
        origin: Origin,
    ) -> None:
        # In training mode dropout would read another text each time.
        self.config, self.model, self.origin = config, model.eval(), origin
        self.step = self.model.spectrogram.hop * self.model.stride
        self.frame_seconds = self.step / SAMPLE_RATE

    def __call__(
        self,
        emg: np.ndarray | Tensor,
        *,
        one_pass: bool = False,
        beam: BeamSearch | None = None,
        scale: float | None = None,
    ) -> str:
        """Return the text of a recording, one symbol a key.

        Backspace, enter and shift are keys like others: ``⌫ ⏎ ⇧``.

        Args:
            emg: (S, 2, 16) samples at 2 kHz, left band first, in the unit of the session files that
                the model was trained on; ``sessions.read_session(FILE).emg`` is such an array.
                Volts and millivolts are read as microvolts. A model of fewer electrodes takes its
                own.
            one_pass: give the model the recording as a whole, as ``stream`` does, and not in 4 s
                windows whose emissions are stitched.
            beam: search for the likeliest text, with a language model if it has one; None: greedy
                decoding.
            scale: what the EMG is multiplied by; None: found from its strength, see ``units``.

        Raises:
            ValueError: the EMG has another shape.
        """
        log_probs = torch.from_numpy(self.emissions(emg, one_pass=one_pass, scale=scale))
        return decode(beam.decode(log_probs) if beam else greedy_decode(log_probs[None])[0])

    def emissions(
        self, emg: np.ndarray | Tensor, *, one_pass: bool = False, scale: float | None = None
    ) -> np.ndarray:
        """Return (T, 99) log-probabilities of the keys, and last of the blank, frame by frame.

        Frame j begins ``j x frame_seconds`` into the recording. EMG, ``one_pass`` and ``scale`` are
        as in a call.
        """
        signal = as_emg(emg).permute(1, 2, 0).contiguous().numpy()  # (B, 16, S)
        # A program may pass any piece of EMG, and less than a frame is no error.
        if signal.shape[2] < self.model.spectrogram.hop:
            return np.empty((0, len(CLASSES) + 1), dtype=np.float32)
        factor = scale_of(signal.transpose(2, 0, 1)) if scale is None else scale
        if factor != 1:
            signal = signal * np.float32(factor)
        none = np.empty(0, dtype=np.int64)
        recording = Recording("", signal, none, none, none, has_key_times=False)
        emissions = one_pass_emissions if one_pass else stitched_emissions
        return emissions(self.model, recording, self.config.training).numpy()

    def stream(self, scale: float | None = None, *, adapts: bool = False) -> Stream:
        """Return what reads a recording while it arrives.

        Args:
            scale: what the EMG is multiplied by; None: found from the strength of the first second.
            adapts: the norm's statistics follow the session; a stranger's are not those of the
                training.

        Raises:
            ValueError: the model depends on more than can be carried.
        """
        return Stream(self.model, self.config.training, scale, adapts)

    def card(self) -> dict[str, Any]:
        """Return all that a program needs to use the model, as JSON has it."""
        model, config = self.model, self.config.model
        features = config.features
        lookahead = model.lookahead_ms
        return {
            "format": f"emgsearch model {FORMAT}",
            "architecture": notation(config),
            # The card repeats parts of the configuration in plain words, for programs that do not
            # have this project.
            "config": self.config.model_dump(mode="json"),
            "origin": asdict(self.origin),
            "labels": list(CLASSES),
            "blank": BLANK,
            "input": f"EMG of {BANDS} bands, left first: (samples, {BANDS}, {BAND_ELECTRODES})",
            "unit": "that of the training sessions; microvolts where that was volts or millivolts",
            "sample_rate": SAMPLE_RATE,
            "bands": band_indices(config.electrode_choice),
            "electrodes": electrode_indices(config.electrodes, config.electrode_choice),
            "features": f"log10(power + 1e-6), periodic Hann window of {features.n_fft} samples, "
            f"power divided by the window's energy, hop {features.hop}"
            if features.filters == "fixed"
            else f"learned filters of {features.n_fft} samples, hop {features.hop}",
            "normalisation": _NORMS[config.norm],
            "samples_per_frame": self.step,
            "first_frame_sample": model.left * features.hop,
            "samples_consumed_at_end": model.right * features.hop + features.n_fft,
            "lookahead_ms": None if math.isinf(lookahead) else lookahead,
            "past_seconds": self.config.training.past_seconds,
            "future_seconds": self.config.training.future_seconds,
        }
