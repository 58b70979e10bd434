"""Character n-gram language models: asked by beam search, built from a text."""

from emgmodels.language.estimate import typed_lines, write_arpa
from emgmodels.language.model import START, LanguageModel

__all__ = ["START", "LanguageModel", "typed_lines", "write_arpa"]
