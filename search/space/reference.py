"""Every key of a space file, as Markdown, from the classes that validate it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from emgmodels.config import EncoderConfig, Frozen, section_kind
from search.space.own import Own
from search.space.sections import CODE
from search.space.settings import SpaceFile

BEGIN, END = "<!-- keys: begin -->", "<!-- keys: end -->"
"""What the generated part of a page stands between."""
_PAGE = "python -m search.space"
_BOUNDS = (
    ("minimum", "at least"),
    ("exclusiveMinimum", "above"),
    ("maximum", "at most"),
    ("exclusiveMaximum", "below"),
    ("multipleOf", "a multiple of"),
)
_BEHIND_A_VALIDATOR = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}
"""What pydantic calls bounds that it checks after a validator of ours."""
_TYPES = {
    "integer": "integer",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "object": "mapping",
}


def reference() -> str:
    """Return one table for each section of a space file: key, what is allowed, default, meaning."""
    parts = ["## Top level\n", _table(SpaceFile, skip=("demo",))]
    parts.append("`demo`: the same sections, with what holds instead where no data is given.\n")
    for name, kind in _sections(SpaceFile, ""):
        parts += [f"## `{name}`\n", f"{_first_line(kind)}\n", _table(kind)]
    return "\n".join(parts)


def own_reference(own: Own) -> str:
    """Return the tables of what a space has of the user's own, and of no other keys."""
    known = dict(_sections(SpaceFile, ""))
    parts = []
    for name, kind in _sections(own.file, ""):
        if name not in known:
            parts += [f"## `{name}`\n", f"{_first_line(kind)}\n", _table(kind, skip=(CODE,))]
        for each, part in getattr(kind, "own", {}).items():
            title = f"## `{name}: {{name: {each}, ...}}`\n"
            parts += [title, f"{_first_line(part.settings)}\n", _table(part.settings)]
    return "\n".join(parts) or "The space has nothing of its own.\n"


def updated(page: str) -> str:
    """Return a page with the part between its marks written again.

    Raises:
        ValueError: the page lacks the marks.
    """
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page holds no {BEGIN} and {END} to write between")
    return f"{head}{BEGIN}\n<!-- by {_PAGE} -->\n\n{reference()}\n{END}{tail}"


def _sections(kind: type[Frozen], path: str) -> Iterator[tuple[str, type[Frozen]]]:
    for name in kind.model_fields:
        inner = section_kind(kind, name)
        if inner is None or name == "demo":
            continue
        here = f"{path}.{name}" if path else name
        yield here, inner
        yield from _sections(inner, here)


def _table(kind: type[Frozen], skip: tuple[str, ...] = ()) -> str:
    lines = ["| key | allowed | default | meaning |", "| --- | --- | --- | --- |"]
    schema = kind.model_json_schema()
    for name, field in kind.model_fields.items():
        if name in skip:
            continue
        allowed = "a section" if section_kind(kind, name) else _allowed(schema["properties"][name])
        meaning = " ".join((field.description or "").replace("``", "`").split())
        cells = (f"`{name}`", allowed, _default(kind, name), meaning)
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _allowed(schema: dict[str, Any]) -> str:
    schema = {_BEHIND_A_VALIDATOR.get(key, key): value for key, value in schema.items()}
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(_allowed, schema["anyOf"])))
    if "enum" in schema:
        shown = (v if isinstance(v, str) else json.dumps(v) for v in schema["enum"])
        return ", ".join(f"`{value}`" for value in shown)
    if schema.get("type") == "array":
        return f"list of: {_allowed(schema['items'])}" if "items" in schema else "list"
    if schema.get("type") not in _TYPES:  # of code of the user's own
        return "as its meaning says"
    if schema.get("type") == "integer" and "exclusiveMinimum" in schema:
        # "At least 1" reads better than "above 0", and means the same for integers.
        schema = schema | {"minimum": schema["exclusiveMinimum"] + 1}
        del schema["exclusiveMinimum"]
    bounds = [f"{words} {schema[key]:g}" for key, words in _BOUNDS if key in schema]
    return f"{_TYPES[schema['type']]} {', '.join(bounds)}".strip()


def _default(kind: type[Frozen], name: str) -> str:
    if issubclass(kind, EncoderConfig) and name != "order":
        return "absent"
    if section_kind(kind, name):
        return "as below"
    value = kind.model_fields[name].get_default(call_default_factory=True)
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value)}`"


def _first_line(kind: type[Frozen]) -> str:
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split())
