"""Optimizers that do not load PyTorch's compiler, which costs each process two seconds."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer


def _without_compiler(kind: type[Optimizer]) -> type[Optimizer]:
    """Return a kind of optimizer that computes the same, for steps that nobody compiles.

    PyTorch wraps these methods so that a compiled training step leaves them out. The first call of
    any of them imports the compiler for it (seen with PyTorch 2.11 and 2.13). A model's forward
    pass may be compiled all the same.
    """
    wrapped = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    methods: dict[str, Any] = {name: inspect.unwrap(getattr(kind, name)) for name in wrapped}
    methods["step"] = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), methods)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": _without_compiler(torch.optim.Adam),
    "adamw": _without_compiler(torch.optim.AdamW),
}
"""By the name that ``training.optimizer`` has."""
