"""Greedy decoding: the best path, collapsed."""

from __future__ import annotations

from torch import Tensor

from emgmodels.charset import BLANK


def greedy_decode(log_probs: Tensor) -> list[list[int]]:
    """Return the labels of the best path of each window: repeats merged, blanks removed.

    Args:
        log_probs: (N, T, 99) log-probabilities.
    """
    path = log_probs.argmax(-1)  # (N, T)
    kept = path != BLANK
    kept[:, 1:] &= path[:, 1:] != path[:, :-1]
    # Two copies for the whole batch. Reading window by window would wait for the GPU each time.
    path, kept = path.cpu(), kept.cpu()
    return [row[keep].tolist() for row, keep in zip(path, kept, strict=True)]
