"""Character n-gram language models: asked by beam search, built from a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emgmodels.lazy import offered

if TYPE_CHECKING:
    from emgmodels.language.estimate import typed_lines, write_arpa
    from emgmodels.language.model import START, LanguageModel

__all__ = ["START", "LanguageModel", "typed_lines", "write_arpa"]

_PLACES = {"estimate": ("typed_lines", "write_arpa"), "model": ("START", "LanguageModel")}
__getattr__ = offered(
    __name__, {name: f"{__name__}.{file}" for file, names in _PLACES.items() for name in names}
)
