"""Whole sessions through a trained model, and what the error rate found there is worth.

Validation during a search scores 4 s windows one by one, and whole prompts of sessions whose keys
have no times. In use a model meets whole sessions, and there are two ways to give it one. One is in
windows whose emissions are stitched together and decoded as one sequence. The other is a single
pass. A model that sees only so far gives the same text either way; one that has learnt how long its
input is may not.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from emgmodels.charset import NUM_CLASSES, decode
from emgmodels.config import SAMPLE_RATE, ModelConfig, TrainingConfig
from emgmodels.ctc import BeamSearch, greedy_decode
from emgmodels.metrics import EditCounts, count_edits
from emgmodels.network.network import Network
from emgmodels.windows.batches import batches, window_starts
from emgmodels.windows.cut import cut_for
from emgmodels.windows.prompts import prompt_windows
from emgmodels.windows.recording import VALIDATION_SECONDS, Recording

STITCHED, ONE_PASS, WINDOWS = "stitched", "one pass", "windows"
_MEMORY_SHARE = 0.7
"""Of the free memory, what a pass over a whole session may take."""
_PIECE = 4096
"""Frames whose features are computed at once."""
_MARKS = {"equal": " ", "replace": "S", "delete": "D", "insert": "I"}


@dataclass(frozen=True, eq=False)
class Transcript:
    """What a model read in one session.

    Attributes:
        way: ``STITCHED``, ``ONE_PASS`` or ``WINDOWS``.
        search: how the emissions were decoded; None: greedily.
        target: labels of the session's ground truth.
        predicted: labels that the model read; of ``WINDOWS``, those of each window in turn.
        chunks: edits of each 4 s of the session, of each prompt where keys have no times.
        seconds: time from EMG to labels (s).
        duration: length of the EMG (s).
    """

    way: str
    search: BeamSearch | None
    target: list[int]
    predicted: list[int]
    chunks: list[EditCounts]
    seconds: float
    duration: float

    @property
    def edits(self) -> EditCounts:
        """Edits of the whole session."""
        return sum(self.chunks, EditCounts())


@dataclass(frozen=True, eq=False)
class Emissions:
    """What a model made of one session, to be decoded in any way.

    Attributes:
        way: ``STITCHED``, ``ONE_PASS`` or ``WINDOWS``.
        log_probs: (T, 99) log-probabilities of the session, or of each of its windows.
        target: labels of the session's ground truth.
        window_targets: of ``WINDOWS``, the labels of each window.
        ends: labels of the target by the end of each 4 s, or of each prompt.
        seconds: time from EMG to emissions (s).
        duration: length of the EMG (s).
    """

    way: str
    log_probs: list[Tensor]
    target: list[int]
    window_targets: list[list[int]]
    ends: list[int]
    seconds: float
    duration: float

    def read(self, search: BeamSearch | None = None) -> Transcript:
        """Decode: by beam search, or greedily.

        One sequence is held against the session's whole ground truth, each window against its own.
        """
        begin = time.perf_counter()
        texts = [_decode(log_probs, search) for log_probs in self.log_probs]
        seconds = time.perf_counter() - begin
        predicted = [label for text in texts for label in text]
        if self.way == WINDOWS:
            chunks = list(map(count_edits, texts, self.window_targets))
        else:
            # One edit script over the whole session: at the edges of windows each key would
            # otherwise be lost or counted twice.
            chunks = edits_by_chunk(predicted, self.target, self.ends)
        return Transcript(
            self.way,
            search,
            self.target,
            predicted,
            chunks,
            self.seconds + seconds,
            self.duration,
        )


def emit(model: Network, recording: Recording, training: TrainingConfig, way: str) -> Emissions:
    """Return what a model makes of a session.

    Args:
        model: in evaluation mode.
        recording: the session.
        training: how the model was trained; windows get the context that they had there.
        way: ``STITCHED`` and ``ONE_PASS`` are one sequence; ``WINDOWS`` are the windows that a
            search scores: of 4 s, without what is left at the session's end, or whole prompts.

    Raises:
        ValueError: the model can't take the session in one pass.
        MemoryError: the session in one pass needs more memory than there is.
    """
    begin = time.perf_counter()
    low, high = recording.label_span(0, recording.samples)
    target = recording.labels[low:high].tolist()
    targets: list[list[int]] = []
    if way == WINDOWS:
        log_probs, targets = _window_emissions(model, recording, training)
    else:
        whole = {STITCHED: stitched_emissions, ONE_PASS: one_pass_emissions}[way]
        log_probs = [whole(model, recording, training)]
    return Emissions(
        way,
        log_probs,
        target,
        targets,
        _chunk_ends(recording, low, len(target)),
        seconds=time.perf_counter() - begin,
        duration=recording.samples / SAMPLE_RATE,
    )


def stitched_emissions(
    model: Network,
    recording: Recording,
    training: TrainingConfig,
    span: tuple[int, int] | None = None,
) -> Tensor:
    """Return (T, 99) log-probabilities of a session, from windows of 4 s with their context.

    Windows are a whole number of output frames long, so that the frames of all of them are evenly
    spaced and stand where those of one pass do. What is left at the end is a shorter window.

    Args:
        model: in evaluation mode.
        recording: the session.
        training: how the model was trained.
        span: first sample and sample after the last; None: the whole session.
    """
    first, end = span or (0, recording.samples)
    step = model.spectrogram.hop * model.stride
    # A window that ended inside an output frame would shift all frames behind it.
    window = round(VALIDATION_SECONDS * SAMPLE_RATE) // step * step
    whole = first + (end - first) // window * window
    starts = np.arange(first, whole, window)
    parts = [
        found.flatten(0, 1) for found in _emissions(model, recording, starts, window, training)
    ]
    rest = end - whole
    if rest >= model.spectrogram.hop:
        (log_probs,) = _emissions(model, recording, np.array([whole]), rest, training)
        parts.append(log_probs[0])
    return torch.cat(parts) if parts else torch.empty(0, NUM_CLASSES)


def prompt_emissions(
    model: Network, recording: Recording, training: TrainingConfig, start: int, end: int
) -> Tensor:
    """Return (T, 99) log-probabilities of a prompt: a window from its first to its last sample.

    A prompt that the model cannot take at once is stitched from windows of 4 s. Prompts are read
    one by one, since what a model makes of one would depend on the length of others in its batch.
    """
    if not model.takes(end - start, training):
        return stitched_emissions(model, recording, training, (start, end))
    (log_probs,) = _emissions(model, recording, np.array([start]), end - start, training)
    return log_probs[0]


def one_pass_emissions(model: Network, recording: Recording, training: TrainingConfig) -> Tensor:
    """Return (T, 99) log-probabilities of a session given to the model as a whole.

    Raises:
        ValueError: a stage can't take so much, or there is no whole frame.
        MemoryError: it needs more memory than there is.
    """
    device = next(model.parameters()).device
    needed, free = one_pass_bytes(model.config, recording.samples), _free_bytes(device)
    # Tried without this check, the kernel might end the whole evaluation.
    if free is not None and needed > _MEMORY_SHARE * free:
        raise MemoryError(
            f"it needs about {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free"
        )
    try:
        (log_probs,) = _emissions(model, recording, np.array([0]), recording.samples, training)
    except RuntimeError as error:
        if isinstance(error, torch.cuda.OutOfMemoryError) or "can't allocate" in str(error):
            raise MemoryError("out of memory") from None
        raise
    return log_probs[0]


def one_pass_bytes(config: ModelConfig, samples: int) -> float:
    """Return about how many bytes a pass over a session needs, rather too many than too few.

    The rotation-invariant MLP is what grows most with time, and attention masks with its square.
    """
    frames = samples / config.features.hop
    bins = config.features.bins or config.features.n_fft // 2 + 1
    inputs = config.bands * config.electrodes * (2 * bins + config.features.hop)
    mlp = 3 * config.bands * (config.electrodes * bins + 2 * config.mlp_features)
    encoder = 8 * config.bands * config.mlp_features
    masked = any(
        getattr(stage, side, None) is not None
        for _, stage in config.encoder.stages()
        for side in ("left_context", "right_context")
    )
    return 4 * frames * (inputs + mlp + encoder) + (8 * frames**2 if masked else 0)


def edits_by_chunk(
    predicted: Sequence[int], target: Sequence[int], ends: Sequence[int]
) -> list[EditCounts]:
    """Return the edits of one shortest edit script, each in the chunk of the target it falls in.

    An insertion belongs to the target character that it stands before.

    Args:
        predicted: labels read.
        target: labels of the ground truth.
        ends: target characters up to the end of each chunk; the last is the target's length.
    """
    edges = np.asarray(ends)
    counts = {tag: np.zeros(len(ends), dtype=int) for tag in ("insert", "delete", "replace")}
    for edit in Levenshtein.editops(target, predicted):
        chunk = int(np.searchsorted(edges, edit.src_pos, side="right"))
        counts[edit.tag][min(chunk, len(ends) - 1)] += 1
    return [
        EditCounts(*map(int, row))
        for row in zip(
            counts["insert"],
            counts["delete"],
            counts["replace"],
            np.diff(edges, prepend=0),
            strict=True,
        )
    ]


def align(target: Sequence[int], predicted: Sequence[int]) -> tuple[str, str, str]:
    """Return target, prediction and marks of their differences, as three texts of one length.

    A mark is ``S`` where another character stands in the prediction, ``D`` where it lacks one and
    ``I`` where it has one too much; what the other text lacks is ``·``.
    """
    above, below, marks = [], [], []
    for edit in Levenshtein.opcodes(target, predicted):
        true = decode(target[edit.src_start : edit.src_end])
        read = decode(predicted[edit.dest_start : edit.dest_end])
        length = max(len(true), len(read))
        above.append(true.ljust(length, "·"))
        below.append(read.ljust(length, "·"))
        marks.append(_MARKS[edit.tag] * length)
    return "".join(above), "".join(below), "".join(marks)


def _emissions(
    model: Network, recording: Recording, starts: np.ndarray, window: int, training: TrainingConfig
) -> list[Tensor]:
    """Return the (N, T, 99) log-probabilities of the windows at (W,) samples, in batches."""
    framing, cut = cut_for(model, training, window)
    device = next(model.parameters()).device
    windows = np.stack([np.zeros_like(starts), starts], axis=1)
    found = []
    with torch.inference_mode():
        for batch in batches([recording], windows, training.batch_size, cut):
            log_probs = model(_features(model, batch.emg.to(device)))
            # An hour of emissions would fill a GPU that the next window needs.
            found.append(log_probs[:, framing.first : framing.first + framing.frames].cpu())
    return found


def _features(model: Network, emg: Tensor) -> Tensor:
    """Return the features of EMG of any length, in pieces that leave memory to the model."""
    spectrogram = model.spectrogram
    frames = spectrogram.frames(emg.shape[-1])
    # The features of an hour at once, with all that computing them takes, would leave no memory
    # to the model.
    edges = [*range(0, frames, _PIECE), frames]
    return torch.cat(
        [
            spectrogram(emg[..., low * spectrogram.hop :][..., : spectrogram.samples(high - low)])
            for low, high in pairwise(edges)
        ],
        dim=3,
    )


def _window_emissions(
    model: Network, recording: Recording, training: TrainingConfig
) -> tuple[list[Tensor], list[list[int]]]:
    """Return the log-probabilities and the target of each window."""
    window = round(VALIDATION_SECONDS * SAMPLE_RATE)
    targets = [
        recording.labels[low:high].tolist() for _, low, high in recording.window_spans(window)
    ]
    if not recording.has_key_times:
        spans = prompt_windows([recording])[:, 1:3].tolist()
        return [prompt_emissions(model, recording, training, *span) for span in spans], targets
    starts = window_starts([recording], window)[:, 1]
    batched = _emissions(model, recording, starts, window, training)
    return [log_probs for batch in batched for log_probs in batch], targets


def _decode(log_probs: Tensor, search: BeamSearch | None) -> list[int]:
    return search.decode(log_probs) if search else greedy_decode(log_probs[None])[0]


def _chunk_ends(recording: Recording, low: int, characters: int) -> list[int]:
    """Return how many of a session's characters were typed by the end of each 4 s of it.

    Of prompts it is known by the end of each.
    """
    if recording.has_key_times:
        window = round(VALIDATION_SECONDS * SAMPLE_RATE)
        count = max(1, recording.samples // window)
        ends = [recording.label_span(0, window * (i + 1))[1] - low for i in range(count)]
    else:
        known = np.minimum(recording.prompts[:, 3] - low, characters)
        ends = known[known > 0].tolist() or [characters]
    return [*ends[:-1], characters]


def _free_bytes(device: torch.device) -> int | None:
    """Return the free memory of a device, None where it can't be told."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    # MemAvailable and not MemFree: the page cache gives way.
    free = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return 1024 * free[0] if free else None
