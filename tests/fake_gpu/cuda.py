"""``torch.cuda`` and files of tensors, as if there were a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch

from tests.fake_gpu.places import CPU, GPU, on_gpu, tensors

if TYPE_CHECKING:
    from tests.fake_gpu import FakeGpu

MEMORY = 8 << 30
"""Bytes that the fake claims to have."""


def _grouped(
    lists: Any, with_indices: bool, group: Any = torch._C._group_tensors_by_device_and_dtype
) -> Any:
    """Stand for what optimisers and clipping group tensors by, which asks for devices below Python.

    A group whose tensors are on both sides is refused where it is computed with.
    """
    found = group(lists, with_indices).items()
    return {
        (GPU if any(map(on_gpu, tensors(held[0]))) else device, dtype): held
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
def torch_cuda(gpu: FakeGpu) -> Iterator[None]:
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
def storages() -> Iterator[None]:
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
