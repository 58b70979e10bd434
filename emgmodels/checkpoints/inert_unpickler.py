"""Reads tensors out of a pickled checkpoint without executing anything that it names.

``torch.load(weights_only=True)`` refuses files that hold objects of other packages, as Lightning
checkpoints do in their hyper-parameters. Here such objects become inert placeholders: their classes
are not imported, and no function is called but the three that tensors are made of.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch


class Inert:
    """Stands for an object of any other class; whatever is done to it does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        """Take any arguments."""
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Stand for whatever a call would give, too."""
        return self

    def ignore(*args: Any) -> None:
        """Do nothing."""

    __setstate__ = __setitem__ = append = extend = add = ignore


def load_inert(path: Path) -> Any:
    """Return what a checkpoint holds: tensors and plain values, all else as ``Inert``.

    Raises:
        ValueError: it is not a checkpoint as ``torch.save`` writes them.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            inside = {name.rpartition("/")[2] for name in archive.namelist()}
        # An archive of TorchScript holds code, and torch would run it.
        if "data.pkl" not in inside or "constants.pkl" in inside:
            raise ValueError("it holds a program, not weights")
        reader: Any = SimpleNamespace(Unpickler=_Unpickler, __name__="inert")
        return torch.load(path, map_location="cpu", pickle_module=reader, weights_only=False)
    except Exception as error:
        raise ValueError(f"{path}: is not a checkpoint: {error}") from None


class _Unpickler(pickle.Unpickler):
    """An unpickler that finds no class but those of tensors."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
            return _Rebuild(getattr(torch._utils, name))
        # Never an import: importing a module runs its code, and the file chooses the name.
        return Inert


class _Rebuild(Inert):
    """One of torch's functions that make a tensor of its parts, which no pickle can change."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args)
