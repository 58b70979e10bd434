"""The CTC loss, and the framewise loss of the aligned start."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import ctc_loss as torch_ctc_loss
from torch.nn.functional import nll_loss

from emgmodels.charset import BLANK
from emgmodels.compute.transfer import sent


def ctc_loss(
    log_probs: Tensor, labels: Tensor, label_lengths: Tensor, frames: Tensor | None = None
) -> Tensor:
    """Return the CTC loss per label, averaged over windows.

    A window with more labels than frames allow counts as zero instead of infinity.

    Args:
        log_probs: (N, T, 99) log-probabilities.
        labels: (N, K) labels, padded with anything.
        label_lengths: (N,) labels of each window, on the CPU.
        frames: (N,) frames of each window, on the CPU; None: all of them.
    """
    n, length, _ = log_probs.shape
    lengths = torch.full((n,), length, dtype=torch.long) if frames is None else frames
    losses = torch_ctc_loss(  # (N,)
        log_probs.transpose(0, 1),
        sent(labels, log_probs.device),
        lengths,
        label_lengths,
        blank=BLANK,
        reduction="none",  # its own mean copies the lengths once more, and waits for the copy
        zero_infinity=True,
    )
    return (losses / sent(label_lengths.clamp(min=1), log_probs.device)).mean()


def aligned_loss(
    log_probs: Tensor,
    labels: Tensor,
    label_lengths: Tensor,
    frames: Tensor,
    tolerance: int,
    blank_weight: float,
) -> Tensor:
    """Return the negative log-likelihood of one alignment per label, averaged over windows.

    The alignment is the keylogger's: a key is the target of the frames around its press, the blank
    of all others. CTC sums over all alignments; this is its term for the recorded one, in the same
    unit. The frame nearest to a press has its key, whatever else is near. A window whose labels
    have no times counts as zero.

    Args:
        log_probs: (N, T, 99) log-probabilities.
        labels: (N, K) labels, padded; these and what follows on the CPU, whatever the device.
        label_lengths: (N,) labels of each window.
        frames: (N, K) frame of each label's key press; negative where padded or unknown.
        tolerance: frames on either side of a press that belong to the key as well.
        blank_weight: weight of frames whose target is the blank.
    """
    n, length, classes = log_probs.shape
    # Made on the CPU: looking for key presses on a GPU would make each step wait for it.
    target = torch.full((n, length), BLANK)
    window, position = torch.nonzero(frames >= 0, as_tuple=True)
    # From the farthest frame to the nearest, so that the nearest key is written last and stays.
    for offset in sorted(range(-tolerance, tolerance + 1), key=lambda step: -abs(step)):
        at = frames[window, position] + offset
        inside = (at >= 0) & (at < length)
        target[window[inside], at[inside]] = labels[window[inside], position[inside]]
    weight = torch.ones(classes)
    weight[BLANK] = blank_weight
    # A window in which nothing was typed is blank in all frames, and teaches that.
    timed = (frames >= 0).any(1) | (label_lengths == 0)
    target, weight, timed, label_lengths = (
        sent(each, log_probs.device) for each in (target, weight, timed, label_lengths)
    )
    loss = nll_loss(log_probs.flatten(0, 1), target.flatten(), weight, reduction="none")
    # Summed over frames and divided by labels, as CTC is: averaged over frames, it was eight
    # times too weak to help. So its weight means the same at every frame rate.
    per_label = loss.view(n, length).sum(1) / label_lengths.clamp(min=1)  # (N,)
    return (per_label * timed).mean()
