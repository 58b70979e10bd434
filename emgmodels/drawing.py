"""Draws pictures in one style, whatever the user's matplotlibrc says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def own_style(settings: Any = None) -> Iterator[None]:
    """Let what is drawn in this context use matplotlib's defaults and these settings.

    A matplotlibrc of the user may ask for LaTeX or other fonts, with which a picture fails or
    looks different.

    Args:
        settings: of matplotlib's ``rcParams``, by name.
    """
    import matplotlib

    with matplotlib.rc_context():
        # A figure must look the same on every machine that draws it.
        matplotlib.rcdefaults()
        known: Any = matplotlib.rcParams  # its type lists every name
        known.update(settings or {})
        yield
