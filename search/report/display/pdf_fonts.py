"""Fonts in PDFs: one part of a font is cut out for all figures, not one for each.

Cutting it out takes longer than all else of a figure's PDF.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import string
from collections.abc import Collection, Iterator
from io import BytesIO
from typing import Any, NamedTuple

_USUAL = string.printable.strip() + " –→×·±µ"
"""Characters that any figure may have."""


class _Part(NamedTuple):
    """What matplotlib expects of a part of a font."""

    font: bytes
    glyph_index_map: dict[int, int]


@contextlib.contextmanager
def cut_once() -> Iterator[None]:
    """Let figures that are written meanwhile share the parts of their fonts.

    matplotlib has no public way to that. Where it works in another way than the version that this
    was written for, nothing changes.
    """
    from matplotlib.backends import _backend_pdf_ps

    module: Any = _backend_pdf_ps
    cut: Any = getattr(module, "get_glyphs_subset", None)
    as_file: Any = getattr(module, "font_as_file", None)
    if not (cut and as_file) or list(inspect.signature(cut).parameters) != ["fontfile", "glyphs"]:
        yield
        return
    module.get_glyphs_subset = lambda fontfile, glyphs: _shared(fontfile, glyphs, cut, as_file)
    module.font_as_file = lambda font: BytesIO(font) if isinstance(font, bytes) else as_file(font)
    try:
        yield
    finally:
        module.get_glyphs_subset, module.font_as_file = cut, as_file


@contextlib.contextmanager
def _shared(fontfile: Any, glyphs: Collection[int], cut: Any, as_file: Any) -> Iterator[_Part]:
    more = frozenset(glyphs) - _usual(fontfile)
    yield _part(fontfile, more, cut, as_file)


@functools.lru_cache(maxsize=16)
def _part(fontfile: Any, more: frozenset[int], cut: Any, as_file: Any) -> _Part:
    with cut(fontfile, _usual(fontfile) | more) as found:
        return _Part(as_file(found.font).getvalue(), dict(found.glyph_index_map))


@functools.cache
def _usual(fontfile: Any) -> frozenset[int]:
    from matplotlib.font_manager import get_font

    font = get_font(fontfile)
    return frozenset(font.get_char_index(ord(character)) for character in _USUAL)
