"""A fake GPU: it computes on the CPU, refuses what CUDA refuses, and counts what waits for it.

    with FakeGpu() as gpu:
        model.to("cuda")
        ...
    assert gpu.waits == []

Tensors "on" it are plain CPU tensors whose storage is marked. To Python they are of ``cuda:0``, so
that a program takes its branches for CUDA. It shows where tensors are, not how fast a GPU is, nor
what its kernels compute: their random numbers, order of summation and limits are the CPU's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn.functional import ctc_loss
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
MEMORY = 8 << 30
"""Bytes that the fake claims to have."""
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
_TWO_DEVICES = (
    "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"
)
_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")
_FLOAT64 = (torch.float64, torch.complex128)


class Refused(RuntimeError):
    """What CUDA refuses, or does in another way than was meant."""


class FakeGpu:
    """A context in which there is a GPU, ``cuda:0``.

    Args:
        float64: whether it takes numbers of double precision.
        package: whose lines ``waits`` names.

    Attributes:
        waits: each call so far that waited for the GPU: what it was, and the line that asked.
    """

    def __init__(self, float64: bool = False, package: str = "emgmodels") -> None:
        self.waits: list[str] = []
        self.float64, self.package = float64, package
        self.default = False  # whether an operator without tensors makes its result on the GPU
        self.moving = False
        self._open = ExitStack()

    def __enter__(self) -> FakeGpu:
        """Plug the GPU in."""
        with ExitStack() as stack:
            stack.enter_context(_torch_cuda(self))
            stack.enter_context(_storages())
            stack.enter_context(_Operators(self))
            stack.enter_context(_Calls(self))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        """Pull it out."""
        self._open.__exit__(None, None, None)

    def wait(self, what: str, times: int = 1) -> None:
        """Note that the CPU waited."""
        self.waits += times * [f"{what} in {_asking(self.package)}"]

    def sent(self, source: Tensor, non_blocking: bool) -> None:
        """Note a copy from the CPU to the GPU.

        Raises:
            Refused: nobody waits for it, and its memory may be written to meanwhile.
        """
        if non_blocking and not _is_pinned(source):
            raise Refused(f"asynchronous copy of {_shown(source)} from memory that is not pinned")
        if not non_blocking:
            self.wait("copy to the GPU")

    def fetched(self, source: Tensor, non_blocking: bool) -> None:
        """Note a copy from the GPU to the CPU.

        Raises:
            Refused: nobody waits for it, so that it may be read before it has arrived.
        """
        if non_blocking:
            raise Refused(f"asynchronous copy of {_shown(source)} to the CPU, read when?")
        self.wait("copy to the CPU")

    @contextmanager
    def making(self, on_gpu: bool) -> Iterator[None]:
        """Make results of operators without tensors on the GPU, or on the CPU."""
        before, self.default = self.default, on_gpu
        try:
            yield
        finally:
            self.default = before

    @contextmanager
    def copying(self) -> Iterator[None]:
        """Let operators mix both sides."""
        before, self.moving = self.moving, True
        try:
            yield
        finally:
            self.moving = before


def on_gpu(tensor: Tensor) -> bool:
    """Return whether a tensor is on the fake GPU."""
    with torch._C.DisableTorchFunction():
        return getattr(tensor.untyped_storage(), "on_gpu", False)


class _Operators(TorchDispatchMode):
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
        given = _tensors((args, kwargs))
        here = [tensor for tensor in given if on_gpu(tensor)]
        if here and not gpu.moving:
            _check(gpu, func, args, kwargs)
        found = func(*args, **kwargs)
        mark = bool(here) if given else gpu.default
        if gpu.moving:
            return found
        for tensor in _tensors(found):
            if mark:
                _mark(tensor)
            if on_gpu(tensor) and tensor.dtype in _FLOAT64 and not gpu.float64:
                raise Refused(f"{func} makes {_shown(tensor)}: float64 on the GPU")
        return found


class _Calls(TorchFunctionMode):
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
            Tensor.pin_memory: _pinned,
        }

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        is_here = any(map(on_gpu, _tensors((args, kwargs))))
        if func in self.moves:
            return self.moves[func](*args, **kwargs)
        if is_here and func in self.own and on_gpu(args[0]):
            return self.own[func](*args, **kwargs)
        if func is Tensor.is_pinned:
            return _is_pinned(args[0])
        wanted = kwargs.get("device")
        if wanted is not None:
            is_here = _is_gpu(wanted)
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
        for tensor in _tensors(found):
            if is_here and not on_gpu(tensor) and func in (torch.tensor, torch.as_tensor):
                self.gpu.sent(tensor, non_blocking=False)
            _mark(tensor, is_here)
            if is_here and tensor.dtype in _FLOAT64 and not self.gpu.float64:
                raise Refused(f"{func.__name__} makes {_shown(tensor)}: float64 on the GPU")

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
        after = before if place is None else _is_gpu(place)
        if before == after:
            return x.to(dtype=x.dtype if dtype is None else dtype, **options)
        with self.gpu.copying():
            found = x.to(dtype=x.dtype if dtype is None else dtype, **options)
            if found.untyped_storage() is x.untyped_storage():
                found = found.clone()
        _mark(found, after)
        (self.gpu.sent if after else self.gpu.fetched)(x, non_blocking)
        if after and found.dtype in _FLOAT64 and not self.gpu.float64:
            raise Refused(f"{_shown(found)} sent to the GPU: float64")
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
        """Stand for the loss, whose mean copies the lengths once more."""
        lengths = (torch.as_tensor(input_lengths), torch.as_tensor(target_lengths))
        loss = ctc_loss(log_probs, targets, *lengths, blank, "none", zero_infinity)
        if reduction not in ("mean", 1):
            return loss if reduction in ("none", 0) else loss.sum()
        return (loss / self._moved(lengths[1], GPU).clamp(min=1)).mean()

    def _backward(self, x: Tensor, gradient: Tensor | None = None, *args: Any, **kw: Any) -> None:
        """Stand for ``Tensor.backward``, which asks for a gradient of the tensor's own device."""
        if gradient is not None and not on_gpu(gradient):
            raise Refused(f"{_TWO_DEVICES}: the gradient is {_shown(gradient)}")
        with self.gpu.making(True):
            x.backward(gradient, *args, **kw)

    def _listed(self, x: Tensor) -> Any:
        self.gpu.wait("tolist")
        return x.tolist()

    def _set_item(self, x: Tensor, index: Any, value: Any) -> None:
        """Stand for ``x[index] = value``, which fills with a number on the GPU itself."""
        if not isinstance(value, Tensor):
            value = torch.full((), value, dtype=x.dtype)
            _mark(value)
        with self.gpu.making(True):
            x[index] = value


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
    strangers = [tensor for tensor in _tensors((rest, kwargs)) if not on_gpu(tensor)]
    if takes_numbers and not _writes_to(func, args, kwargs, strangers):
        strangers = [tensor for tensor in strangers if tensor.dim()]
    if strangers:
        shown = ", ".join(map(_shown, _tensors((args, kwargs))))
        raise Refused(f"{_TWO_DEVICES} {func}: {shown}")


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


def _writes_to(func: Any, args: Any, kwargs: dict[str, Any], tensors: list[Tensor]) -> bool:
    """Return whether an operator changes one of some tensors."""
    written = [
        kwargs.get(argument.name, args[place] if place < len(args) else None)
        for place, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    return any(changed is each for changed in _tensors(written) for each in tensors)


def _check_generator(generator: torch.Generator | None, on_gpu: bool) -> None:
    if generator is not None and _is_gpu(getattr(generator, "place", CPU)) != on_gpu:
        names = ("cuda", "cpu") if on_gpu else ("cpu", "cuda")
        raise Refused(f"Expected a '{names[0]}' device type for generator but found '{names[1]}'")


def _refuse_numpy(x: Tensor, *args: Any, **kwargs: Any) -> None:
    raise TypeError(
        "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to "
        "host memory first."
    )


def _deep_copy(x: Tensor, memo: dict[int, Any]) -> Tensor:
    found = Tensor.__deepcopy__(x, memo)
    _mark(found)
    return found


def _pinned(x: Tensor, device: Any = None) -> Tensor:
    if on_gpu(x):
        raise Refused("cannot pin 'torch.cuda.FloatTensor': only dense CPU tensors can be pinned")
    found = x.clone()
    found.untyped_storage().pinned = True  # type: ignore[attr-defined]
    return found


def _is_pinned(x: Tensor) -> bool:
    with torch._C.DisableTorchFunction():
        return getattr(x.untyped_storage(), "pinned", False)


def _mark(tensor: Tensor, on_gpu: bool = True) -> None:
    with torch._C.DisableTorchFunction():
        tensor.untyped_storage().on_gpu = on_gpu  # type: ignore[attr-defined]


def _is_gpu(place: Any) -> bool:
    device = torch.device(place)
    if device.type == "cuda" and (device.index or 0) > 0:
        raise Refused(f"invalid device ordinal: {device}, there is one GPU")
    return device.type == "cuda"


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _shown(tensor: Tensor) -> str:
    kind = str(tensor.dtype).removeprefix("torch.")
    return f"{kind}{list(tensor.shape)} of {'cuda:0' if on_gpu(tensor) else 'cpu'}"


def _asking(package: str) -> str:
    """Return the innermost line of a package on the stack."""
    frame = sys._getframe()
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name == package or name.startswith(package + "."):
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "another package"


def _grouped(
    lists: Any, with_indices: bool, group: Any = torch._C._group_tensors_by_device_and_dtype
) -> Any:
    """Stand for what optimisers and clipping group tensors by, which asks for devices below Python.

    A group whose tensors are on both sides is refused where it is computed with.
    """
    found = group(lists, with_indices).items()
    return {
        (GPU if any(map(on_gpu, _tensors(held[0]))) else device, dtype): held
        for (device, dtype), held in found
    }


class _Generator(torch.Generator):
    """A generator that knows which device it was made for."""

    place: torch.device

    def __new__(cls, device: Any = CPU) -> _Generator:
        made = super().__new__(cls)
        made.place = torch.device(device)
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Where it draws."""
        return self.place


class _autocast(torch.autocast):
    """CUDA's autocast, done by the CPU's, whose lists of operators differ in parts."""

    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu" if device_type == "cuda" else device_type, *args, **kwargs)


@contextmanager
def _torch_cuda(gpu: FakeGpu) -> Iterator[None]:
    """Give ``torch.cuda`` a GPU, below its own checks of arguments."""
    properties = SimpleNamespace(name="fake", major=9, minor=0, total_memory=MEMORY)
    memory = SimpleNamespace(cudaMemGetInfo=lambda device: (MEMORY, MEMORY))
    fraction = [1.0]
    below: dict[str, Any] = {
        "_cuda_getDevice": lambda: 0,
        "_cuda_exchangeDevice": lambda index: 0,
        "_cuda_maybeExchangeDevice": lambda index: 0,
        "_cuda_getMemoryFraction": lambda index: fraction[index],
        "_cuda_setMemoryFraction": lambda value, index: fraction.__setitem__(index, value),
        "_cuda_memoryStats": lambda index: {},
        "_cuda_emptyCache": lambda: None,
        "_group_tensors_by_device_and_dtype": _grouped,
        "_cuda_synchronize": lambda: gpu.wait("synchronize"),
    }
    above: dict[str, Any] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "_initialized": True,
        "default_generators": (torch.default_generator,),
        "_exchange_device": lambda index: 0,
        "_maybe_exchange_device": lambda index: 0,
        "get_device_properties": lambda device=None: properties,
        "cudart": lambda: memory,
    }
    with ExitStack() as stack:
        for name, value in below.items():
            stack.enter_context(patch.object(torch._C, name, value, create=True))
        for name, value in above.items():
            stack.enter_context(patch.object(torch.cuda, name, value))
        is_acceptable = patch.object(torch.backends.cudnn, "is_acceptable", lambda tensor: False)
        stack.enter_context(is_acceptable)  # it would warn that there is no cuDNN
        stack.enter_context(patch.object(torch, "Generator", _Generator))
        stack.enter_context(patch.object(torch, "autocast", _autocast))
        yield


@contextmanager
def _storages() -> Iterator[None]:
    """Let files of tensors say which were on the GPU, and bring them back there."""

    def tag(storage: Any) -> str | None:
        return "cuda:0" if getattr(storage, "on_gpu", False) else None

    def restore(storage: Any, location: str) -> Any:
        if not location.startswith("cuda"):
            return None
        storage.on_gpu = True
        return storage

    registry = torch.serialization._package_registry
    before = list(registry)
    torch.serialization.register_package(1, tag, restore)
    try:
        yield
    finally:
        registry[:] = before
