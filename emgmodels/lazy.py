"""Names that a package offers, imported when they are asked for.

A command such as ``python -m emgmodels.windows list`` imports its package first. If that imported
all it offers, PyTorch would be loaded to list a folder.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def offered(package: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a package's ``__getattr__`` (PEP 562).

    Args:
        package: the package's name.
        places: each name that it offers, and the module that defines it.
    """

    def get(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(places[name]), name)

    return get
