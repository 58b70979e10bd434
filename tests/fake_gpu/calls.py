"""Calls from Python on the fake GPU: where tensors are, and how they get there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import ctc_loss
from torch.overrides import TorchFunctionMode

from tests.fake_gpu.places import (
    CPU,
    FLOAT64,
    GPU,
    TWO_DEVICES,
    Refused,
    is_gpu,
    is_pinned,
    mark,
    on_gpu,
    pinned,
    shown,
    tensors,
)

if TYPE_CHECKING:
    from tests.fake_gpu import FakeGpu

_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")


class Calls(TorchFunctionMode):
    """Sees each call from Python: answers where tensors are, and moves them."""

    def __init__(self, gpu: FakeGpu) -> None:
        super().__init__()
        self.gpu = gpu
        self.own: dict[Any, Callable[..., Any]] = {
            Tensor.device.__get__: lambda x: GPU,
            Tensor.is_cuda.__get__: lambda x: True,
            Tensor.is_cpu.__get__: lambda x: False,
            Tensor.get_device: lambda x: 0,
            Tensor.is_pinned: lambda x: False,
            Tensor.numpy: _refuse_numpy,
            Tensor.__array__: _refuse_numpy,
            Tensor.tolist: self._listed,
            Tensor.__setitem__: self._set_item,
            Tensor.__deepcopy__: _deep_copy,
            Tensor.backward: self._backward,
            ctc_loss: self._ctc_loss,
            torch.ctc_loss: self._ctc_loss,
        }
        """Calls on tensors of the GPU."""
        self.moves: dict[Any, Callable[..., Any]] = {
            Tensor.to: self._to,
            Tensor.cpu: lambda x, **options: self._moved(x, CPU, **options),
            Tensor.cuda: lambda x, device=None, **options: self._moved(x, GPU, **options),
            Tensor.pin_memory: pinned,
        }

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        is_here = any(map(on_gpu, tensors((args, kwargs))))
        if func in self.moves:
            return self.moves[func](*args, **kwargs)
        if is_here and func in self.own and on_gpu(args[0]):
            return self.own[func](*args, **kwargs)
        if func is Tensor.is_pinned:
            return is_pinned(args[0])
        wanted = kwargs.get("device")
        if wanted is not None:
            is_here = is_gpu(wanted)
            kwargs["device"] = CPU if is_here else wanted
        _check_generator(kwargs.get("generator"), is_here)
        if is_here and func.__name__ in _RECURRENT and torch.is_autocast_enabled("cpu"):
            raise Refused(f"{func.__name__} under autocast: cuDNN is given float16")
        with self.gpu.making(is_here):
            found = func(*args, **kwargs)
        if wanted is not None:
            self._place(func, found, is_here)
        return found

    def _place(self, func: Any, found: Any, is_here: bool) -> None:
        """Mark what a call made on the device that it names."""
        for tensor in tensors(found):
            if is_here and not on_gpu(tensor) and func in (torch.tensor, torch.as_tensor):
                self.gpu.sent(tensor, non_blocking=False)
            mark(tensor, is_here)
            if is_here and tensor.dtype in FLOAT64 and not self.gpu.float64:
                raise Refused(f"{func.__name__} makes {shown(tensor)}: float64 on the GPU")

    def _to(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Stand for ``Tensor.to`` in all its forms."""
        place, dtype = kwargs.pop("device", None), kwargs.pop("dtype", None)
        other = kwargs.pop("other", None)
        flags = []
        for value in (*args, other):
            if isinstance(value, Tensor):
                place, dtype = (GPU if on_gpu(value) else CPU), value.dtype
            elif isinstance(value, torch.dtype):
                dtype = value
            elif isinstance(value, bool):
                flags.append(value)
            elif value is not None:
                place = value
        for name, value in zip(("non_blocking", "copy"), flags, strict=False):
            kwargs.setdefault(name, value)
        return self._moved(x, place, dtype, **kwargs)

    def _moved(
        self,
        x: Tensor,
        place: Any,
        dtype: torch.dtype | None = None,
        non_blocking: bool = False,
        **options: Any,
    ) -> Tensor:
        if place is not None and torch.device(place).type == "meta":
            return x.to("meta", dtype, **options)
        before = on_gpu(x)
        after = before if place is None else is_gpu(place)
        if before == after:
            return x.to(dtype=x.dtype if dtype is None else dtype, **options)
        with self.gpu.copying():
            found = x.to(dtype=x.dtype if dtype is None else dtype, **options)
            if found.untyped_storage() is x.untyped_storage():
                found = found.clone()
        mark(found, after)
        (self.gpu.sent if after else self.gpu.fetched)(x, non_blocking)
        if after and found.dtype in FLOAT64 and not self.gpu.float64:
            raise Refused(f"{shown(found)} sent to the GPU: float64")
        return found

    def _ctc_loss(
        self,
        log_probs: Tensor,
        targets: Tensor,
        input_lengths: Any,
        target_lengths: Any,
        blank: int = 0,
        reduction: Any = "mean",
        zero_infinity: bool = False,
    ) -> Tensor:
        """Stand for the loss, which reads the lengths on the CPU; its mean sends them back."""
        given = map(torch.as_tensor, (input_lengths, target_lengths))
        lengths = [self._moved(each, CPU) for each in given]
        loss = ctc_loss(log_probs, targets, *lengths, blank, "none", zero_infinity)
        if reduction not in ("mean", 1):
            return loss if reduction in ("none", 0) else loss.sum()
        return (loss / self._moved(lengths[1], GPU).clamp(min=1)).mean()

    def _backward(self, x: Tensor, gradient: Tensor | None = None, *args: Any, **kw: Any) -> None:
        """Stand for ``Tensor.backward``, which asks for a gradient of the tensor's own device."""
        if gradient is not None and not on_gpu(gradient):
            raise Refused(f"{TWO_DEVICES}: the gradient is {shown(gradient)}")
        with self.gpu.making(True):
            x.backward(gradient, *args, **kw)

    def _listed(self, x: Tensor) -> Any:
        self.gpu.wait("tolist")
        return x.tolist()

    def _set_item(self, x: Tensor, index: Any, value: Any) -> None:
        """Stand for ``x[index] = value``, which fills with a number on the GPU itself."""
        if not isinstance(value, Tensor):
            value = torch.full((), value, dtype=x.dtype)
            mark(value)
        with self.gpu.making(True):
            x[index] = value


def _check_generator(generator: torch.Generator | None, on_gpu: bool) -> None:
    if generator is not None and is_gpu(getattr(generator, "place", CPU)) != on_gpu:
        names = ("cuda", "cpu") if on_gpu else ("cpu", "cuda")
        raise Refused(f"Expected a '{names[0]}' device type for generator but found '{names[1]}'")


def _refuse_numpy(x: Tensor, *args: Any, **kwargs: Any) -> None:
    raise TypeError(
        "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to "
        "host memory first."
    )


def _deep_copy(x: Tensor, memo: dict[int, Any]) -> Tensor:
    found = Tensor.__deepcopy__(x, memo)
    mark(found)
    return found
