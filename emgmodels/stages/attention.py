"""Self-attention: of all frames or of those nearby, with rotary positions, and as a stream."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from emgmodels.stages.flow import Flow


class SelfAttention(nn.Module):
    """Multi-head self-attention, Vaswani et al. 2017, of all frames or of those nearby.

    Args:
        width: features, a multiple of heads; of twice the heads with rotary positions.
        heads: attention heads.
        dropout: of the attention weights.
        rotary: turn queries and keys by their position.
    """

    def __init__(self, width: int, heads: int, dropout: float, rotary: bool) -> None:
        super().__init__()
        self.heads, self.dropout, self.rotary = heads, dropout, rotary
        self.project_in = nn.Linear(width, 3 * width)
        self.project_out = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map (N, T, D) to (N, T, D).

        Args:
            x: normalised input.
            mask: (T, T) booleans, whether a frame (row) attends to another; None: to all.
        """
        q, k, v = self.project(x)
        return self.attend(q, k, v, mask)

    def project(self, x: Tensor) -> Tensor:
        """Return (3, N, h, T, D/h) queries, keys and values of (N, T, D), not yet turned."""
        return self.project_in(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, first: int = 0
    ) -> Tensor:
        """Return (N, Q, D) of the frames asked for.

        Args:
            q: (N, h, Q, D/h) queries.
            k: (N, h, T, D/h) keys.
            v: (N, h, T, D/h) values.
            mask: (Q, T) booleans, whether a query attends to a key; None: to all.
            first: the key that stands where the first query does.
        """
        if self.rotary:
            # Turned here and not when they are held: the position of a held key changes as older
            # ones are dropped. Only distances count, so numbering may begin at the oldest key.
            q, k = rotate(q, first), rotate(k)
        dropout = self.dropout if self.training else 0.0
        attended = scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        return self.project_out(attended.transpose(1, 2).flatten(2))


def rotate(x: Tensor, first: int = 0) -> Tensor:
    """Turn pairs of features of (N, h, T, D) by angles that grow with T: RoPE, Su et al. 2021.

    The product of a turned query and a turned key depends on their distance alone. The first frame
    is at the position ``first``.
    """
    frames, half = x.shape[2], x.shape[3] // 2
    angle = angles(frames, half, x.device, first)  # float32: bfloat16 has no angles beyond 256
    a, b = x[..., :half], x[..., half:]
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def context_mask(
    frames: int, left: int | None, right: int | None, device: torch.device
) -> Tensor | None:
    """Return (frames, frames) booleans: which frames (columns) a frame (row) attends to.

    Args:
        frames: frames of the window.
        left: frames before its own; None: all.
        right: frames after its own; None: all.
        device: where the mask is needed.

    Returns:
        None where every frame attends to all.
    """
    # Without a mask PyTorch takes its fastest kernel.
    if left is None and right is None:
        return None
    place = torch.arange(frames, device=device)
    distance = place[None, :] - place[:, None]
    mask = torch.ones(frames, frames, dtype=torch.bool, device=device)
    if left is not None:
        mask &= distance >= -left
    if right is not None:
        mask &= distance <= right
    return mask


def layers_lookahead(layers: int, right: int | None) -> float:
    """Return the frames of the future that a stack of attention layers sees."""
    return math.inf if right is None else layers * right


def limited(left: int | None, right: int | None) -> tuple[int, int]:
    """Return the frames before and after its own that attention reaches in a stream.

    Raises:
        ValueError: there is no limit to them.
    """
    if left is not None and right is not None:
        return left, right
    without = {"came before": left, "follows": right}
    ends = " and ".join(what for what, limit in without.items() if limit is None)
    raise ValueError(
        f"it attends to all that {ends}: train it with left_context: 125, and with right_context: "
        f"0 or a few"
    )


class AttentionFlow(Flow):
    """Self-attention and its skip connection, with the keys and values that are still in reach.

    Args:
        attention: whose weights.
        norm: what its input goes through; the skip connection goes around it.
        left: frames before its own that a frame attends to.
        right: frames after its own.
    """

    def __init__(self, attention: SelfAttention, norm: nn.Module, left: int, right: int) -> None:
        self.attention, self.norm, self.left, self.right = attention, norm, left, right
        self.held: Tensor | None = None  # (3, N, h, T, D/h)
        self.skipped: Tensor | None = None  # (N, Q, D), the frames without an output so far

    def push(self, x: Tensor) -> Tensor | None:
        """Take the next frames and return the outputs that are final now."""
        projected = self.attention.project(self.norm(x))
        self.held = projected if self.held is None else torch.cat([self.held, projected], 3)
        self.skipped = x if self.skipped is None else torch.cat([self.skipped, x], 1)
        return self._answer(self.skipped.shape[1] - self.right)

    def finish(self) -> Tensor | None:
        """Return the outputs that were waiting for frames that will not come."""
        return None if self.skipped is None else self._answer(self.skipped.shape[1])

    def _answer(self, frames: int) -> Tensor | None:
        """Return the outputs of the next ``frames`` frames that have none."""
        if frames <= 0:
            return None
        assert self.held is not None
        assert self.skipped is not None
        first = self.held.shape[3] - self.skipped.shape[1]
        q, k, v = self.held
        mask = context_mask(k.shape[2], self.left, self.right, k.device)
        assert mask is not None
        asked = slice(first, first + frames)
        found = self.skipped[:, :frames] + self.attention.attend(
            q[:, :, asked], k, v, mask[asked], first
        )
        self.skipped = self.skipped[:, frames:].clone()
        # Keys out of every later query's reach are dropped, or a stream would grow for ever.
        self.held = self.held[:, :, :, max(0, first + frames - self.left) :].clone()
        return found


def angles(frames: int, half: int, device: torch.device, first: int) -> Tensor:
    """Return (T, half) angles of positions from ``first`` on, one frequency a column."""
    rate = torch.exp(torch.arange(half, device=device) * (-math.log(10_000.0) / half))
    return torch.arange(first, first + frames, device=device)[:, None] * rate
