"""Matrix products on processors where oneDNN is faster than the library that torch takes.

Torch multiplies float32 matrices with MKL, which keeps its AVX-512 kernels to Intel's processors:
on others it runs at about half the speed that oneDNN reaches. Inside ``fast_products`` every linear
layer, forward and backward, is computed by oneDNN where that is so. The function is the same; sums
are added in another order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

LEAST_OPERATIONS = 1 << 20
"""Multiply-accumulates below which the way to oneDNN costs more than it gains."""


def fast_products(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which linear layers on a device are as fast as they can be."""
    # This follows from the processor alone, so a resumed training has the same numbers. Exported
    # and traced models see plain layers.
    fast = device.type == "cpu" and not is_traced() and _onednn_is_faster()
    return _OneDnnProducts() if fast else nullcontext()


def product(x: Tensor, weight: Tensor) -> Tensor:
    """Return ``nn.functional.linear(x, weight)`` as fast as it can be, outside of any context."""
    with fast_products(x.device):
        return linear(x, weight)


def is_traced() -> bool:
    """Return whether torch is recording operations to compile or export them."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


class OneDnnLinear(torch.autograd.Function):
    """``nn.functional.linear`` on float32 tensors of the CPU, by oneDNN."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Map (..., K) to (..., M) by an (M, K) weight."""
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the gradients of input, weight and bias."""
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = None, None, None
        rows = gradient.flatten(0, -2)  # (N, M)
        if ctx.needs_input_grad[0]:
            of_x = _product(gradient, weight.t().contiguous(), None)
        if ctx.needs_input_grad[1]:
            of_weight = _product(rows.t().contiguous(), x.flatten(0, -2).t().contiguous(), None)
        if ctx.needs_input_grad[2]:
            of_bias = rows.sum(0)
        return of_x, of_weight, of_bias


# A context instead of layers of our own: it also reaches pretrained models. Only the spectrogram
# calls `product` itself, since it runs outside of training too.
class _OneDnnProducts(TorchFunctionMode):
    """Sends linear layers to oneDNN, and everything else where it belongs."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is linear and not kwargs and _suits(*args):
            x, weight, bias = (*args, None)[:3]
            return OneDnnLinear.apply(x, weight, bias)
        return func(*args, **(kwargs or {}))


def _suits(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.dim() > 1
        and x.numel() * weight.shape[0] >= LEAST_OPERATIONS
        and not torch.is_autocast_enabled("cpu")
    )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # An operator that torch keeps for its compiler. Where a version lacks it, torch's own product
    # is used.
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


@functools.cache
def _onednn_is_faster() -> bool:
    """Return whether the processor has AVX-512 and is not Intel's, and torch has oneDNN."""
    if not torch.backends.mkldnn.is_available() or not torch.backends.mkl.is_available():
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    try:
        maker = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512" in maker and "GenuineIntel" not in maker
