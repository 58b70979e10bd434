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
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor

from tests.fake_gpu.calls import Calls
from tests.fake_gpu.cuda import storages, torch_cuda
from tests.fake_gpu.operators import Operators
from tests.fake_gpu.places import GPU, Refused, is_pinned, on_gpu, shown

__all__ = ["GPU", "FakeGpu", "Refused", "on_gpu"]


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
            stack.enter_context(torch_cuda(self))
            stack.enter_context(storages())
            stack.enter_context(Operators(self))
            stack.enter_context(Calls(self))
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
        if non_blocking and not is_pinned(source):
            raise Refused(f"asynchronous copy of {shown(source)} from memory that is not pinned")
        if not non_blocking:
            self.wait("copy to the GPU")

    def fetched(self, source: Tensor, non_blocking: bool) -> None:
        """Note a copy from the GPU to the CPU.

        Raises:
            Refused: nobody waits for it, so that it may be read before it has arrived.
        """
        if non_blocking:
            raise Refused(f"asynchronous copy of {shown(source)} to the CPU, read when?")
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


def _asking(package: str) -> str:
    """Return the innermost line of a package on the stack."""
    frame = sys._getframe()
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name == package or name.startswith(package + "."):
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "another package"
