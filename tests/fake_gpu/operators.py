"""Operators on the fake GPU: which CUDA refuses, and which wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.fake_gpu.places import FLOAT64, TWO_DEVICES, Refused, mark, on_gpu, shown, tensors

if TYPE_CHECKING:
    from tests.fake_gpu import FakeGpu

_aten = torch.ops.aten
_READS = {
    _aten.item.default: "item",  # whole in inference mode, else it is the next
    _aten._local_scalar_dense.default: "item",
    _aten.equal.default: "equal",
    _aten.nonzero.default: "nonzero",
    _aten.masked_select.default: "masked_select",
    _aten._unique2.default: "unique",
    _aten.unique_dim.default: "unique",
    _aten.unique_consecutive.default: "unique",
    _aten.bincount.default: "bincount",
}
"""Operators that wait for the GPU, since a value or a shape on the CPU depends on their result."""
_CTC = (
    _aten._ctc_loss.default,
    _aten._ctc_loss.Tensor,
    _aten._ctc_loss_backward.default,
    _aten._ctc_loss_backward.Tensor,
)
_CTC_COPIES = 3
"""Blocking copies of CUDA's own CTC, forward and again backward: both lengths, and offsets."""
_INDEXING = (
    _aten.index.Tensor,
    _aten._unsafe_index.Tensor,
    _aten.index_put.default,
    _aten.index_put_.default,
    _aten._index_put_impl_.default,
)
_TAKES_NUMBERS = (
    _aten.fill_.Tensor,
    _aten.fill.Tensor,
    _aten.masked_fill.Tensor,
    _aten.masked_fill_.Tensor,
    _aten.index_fill.int_Tensor,
    _aten.index_fill_.int_Tensor,
)
"""Operators beside the pointwise ones that take a number from the CPU as a tensor of no axes."""


class Operators(TorchDispatchMode):
    """Sees each operator: refuses, counts, and marks what it returns."""

    def __init__(self, gpu: FakeGpu) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunction():
            if func not in _CTC and func is not _aten.item.default:
                with self:  # in inference mode composed operators arrive here whole
                    found = func.decompose(*args, **kwargs)
                if found is not NotImplemented:
                    return found
            return self._run(func, args, kwargs)

    def _run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        gpu = self.gpu
        given = tensors((args, kwargs))
        here = [tensor for tensor in given if on_gpu(tensor)]
        if here and not gpu.moving:
            _check(gpu, func, args, kwargs)
        found = func(*args, **kwargs)
        is_here = bool(here) if given else gpu.default
        if gpu.moving:
            return found
        for tensor in tensors(found):
            if is_here:
                mark(tensor)
            if on_gpu(tensor) and tensor.dtype in FLOAT64 and not gpu.float64:
                raise Refused(f"{func} makes {shown(tensor)}: float64 on the GPU")
        return found


def _check(gpu: FakeGpu, func: Any, args: Any, kwargs: dict[str, Any]) -> None:
    """Count what waits, and refuse tensors of both sides in one operator."""
    if func is _aten.copy_.default:
        target, source = args[:2]
        non_blocking = args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
        if on_gpu(target) != on_gpu(source):
            (gpu.sent if on_gpu(target) else gpu.fetched)(source, non_blocking)
        return
    if func in _READS:
        gpu.wait(_READS[func])
    if func is _aten.repeat_interleave.Tensor and kwargs.get("output_size") is None:
        gpu.wait("repeat_interleave")
    rest = args
    if func in _INDEXING:
        rest = (args[0], args[2:])
        _check_indices(gpu, args[0], [each for each in args[1] if each is not None])
    elif func in _CTC:
        gpu.wait("ctc_loss", _CTC_COPIES)
        is_backward = "backward" in func.name()
        lengths = args[3:5] if is_backward else args[2:4]
        rest = [each for each in args if all(each is not length for length in lengths)]
    takes_numbers = torch.Tag.pointwise in func.tags or func in _TAKES_NUMBERS + _INDEXING
    strangers = [tensor for tensor in tensors((rest, kwargs)) if not on_gpu(tensor)]
    if takes_numbers and not _writes_to(func, args, kwargs, strangers):
        strangers = [tensor for tensor in strangers if tensor.dim()]
    if strangers:
        given = ", ".join(map(shown, tensors((args, kwargs))))
        raise Refused(f"{TWO_DEVICES} {func}: {given}")


def _check_indices(gpu: FakeGpu, indexed: Tensor, indices: list[Tensor]) -> None:
    """Count what an index waits for, and refuse one that CUDA refuses."""
    for index in indices:
        if on_gpu(index) and not on_gpu(indexed):
            raise Refused(
                "indices should be either on cpu or on the same device as the indexed tensor (cpu)"
            )
        if not on_gpu(index):
            gpu.wait("copy of an index to the GPU")
        if index.dtype in (torch.bool, torch.uint8):
            gpu.wait("boolean index")


def _writes_to(func: Any, args: Any, kwargs: dict[str, Any], some: list[Tensor]) -> bool:
    """Return whether an operator changes one of some tensors."""
    written = [
        kwargs.get(argument.name, args[place] if place < len(args) else None)
        for place, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    return any(changed is each for changed in tensors(written) for each in some)
