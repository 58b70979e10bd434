"""Key times of sessions that have none, from the model that is trained on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from emgmodels.config import SAMPLE_RATE, TrainingConfig
from emgmodels.ctc.alignment import best_frames
from emgmodels.ctc.greedy import greedy_decode
from emgmodels.metrics import EditCounts, count_edits
from emgmodels.network.network import Network
from emgmodels.reading.sessions import stitched_emissions
from emgmodels.windows.recording import Recording, no_prompts

WORST_CER = 50.0
"""CER (%) of a session's prompts above which a model cannot tell when its keys were pressed."""


def timed(
    model: Network, recordings: Sequence[Recording], training: TrainingConfig
) -> Sequence[Recording]:
    """Return recordings in their order, with key times where the model reads their prompts' text.

    A model learns less from whole prompts than from windows, which need key times. Once it reads
    a text fairly, its most likely alignment says when each key was pressed.

    Args:
        model: as trained so far; is left in evaluation mode where key times are missing.
        recordings: of a training.
        training: how it is trained.
    """
    if all(recording.has_key_times for recording in recordings):
        return recordings
    model.eval()
    return [
        recording if recording.has_key_times else _timed(model, recording, training)
        for recording in recordings
    ]


def _timed(model: Network, recording: Recording, training: TrainingConfig) -> Recording:
    prompts = recording.usable_prompts
    if not len(prompts) or recording.samples < round(training.window_seconds * SAMPLE_RATE):
        return recording
    # What was typed outside of the prompts that are known would be taken for silence.
    if (prompts[:, 3] - prompts[:, 2]).sum() < len(recording.labels):
        return recording
    step = model.spectrogram.hop * model.stride
    with torch.inference_mode():
        emissions = stitched_emissions(model, recording, training)
    parts = [emissions[start // step : -(-end // step)] for start, end, _, _ in prompts.tolist()]
    texts = [recording.labels[low:high] for _, _, low, high in prompts.tolist()]
    if not all(map(len, parts)) or _cer(parts, texts) > WORST_CER:
        return recording
    found = best_frames([part.float().numpy() for part in parts], texts)
    if any(frames is None for frames in found):
        return recording
    begin = prompts[:, 0] // step
    pressed = np.concatenate([low + frames for low, frames in zip(begin, found, strict=True)])
    # The middle of a frame. Two prompts may share the one in which the first ends.
    at = np.maximum.accumulate(pressed * step + step // 2)
    return replace(
        recording,
        labels=np.concatenate(texts),
        first=at,
        last=at,
        has_key_times=True,
        are_times_read=True,
        prompts=no_prompts(),
    )


def _cer(parts: Sequence[torch.Tensor], texts: Sequence[np.ndarray]) -> float:
    counts = [
        count_edits(greedy_decode(part[None])[0], text.tolist())
        for part, text in zip(parts, texts, strict=True)
    ]
    return sum(counts, EditCounts()).cer
