"""The one reader and the one writer of YAML: what is written here reads back equal.

Scalars are those of YAML 1.2, as people write them: ``1e-4`` and ``40_000_000`` are numbers, and
``no``, ``12:30``, ``0123`` and dates are text. Every key stands in its mapping once; ``<<: *base``
takes the keys of another mapping as defaults. Nothing but plain values is ever built.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterator
from typing import Any

import yaml

MOST_VALUES = 20_000
"""Values of a document; a longer one has at most as many as characters, so no alias multiplies."""
LONGEST = 2**24
"""Characters of a document."""
_NAMES = ("name", "subject")
"""Keys whose values are names wherever they stand in a file of the project."""
_EXACT = 2**53
"""Beyond this not every whole number is a float."""
_TAG = "tag:yaml.org,2002:"
_MERGE, _NULL, _TEXT = f"{_TAG}merge", f"{_TAG}null", f"{_TAG}str"


class YamlError(ValueError):
    """A text that is not YAML as the project reads it; the message says where and why."""


def read_yaml(text: str, where: str, *, key: str = "", as_text: bool = False) -> Any:
    """Return the plain values of a YAML document: mappings, lists, text, numbers, truth, null.

    Args:
        text: the document.
        where: what to call it in a message: a file, an option.
        key: the key that the document as a whole is the value of, where it is one. The value of
            ``name`` or ``subject`` is the text as written.
        as_text: every unquoted scalar is the text as written, and only nothing at all is null; for
            files that hold names and no numbers.

    Raises:
        YamlError: the text is not YAML, holds a key twice, an object or too much.
    """
    if len(text) > LONGEST:
        raise YamlError(f"{where}: has {len(text):,} characters, more than {LONGEST:,}")
    most = max(MOST_VALUES, len(text))
    try:
        loader = _Loader(text)
        loader.as_text = as_text
        try:
            node = loader.get_single_node()
            values = None if node is None else loader.construct_document(loader.named(key, node))
        finally:
            loader.dispose()
        size = _count(values, 0, most)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f"line {mark.line + 1}: " if mark is not None else ""
        rule = "" if isinstance(error, _Problem) else "is not YAML: "
        raise YamlError(f"{where}: {line}{rule}{error.problem or error.context}") from None
    except RecursionError:
        raise YamlError(f"{where}: is nested too deeply, or contains itself") from None
    except (yaml.YAMLError, ValueError, KeyError) as error:  # KeyError: of !!bool with other text
        raise YamlError(f"{where}: is not YAML: {str(error).splitlines()[0]}") from None
    if size > most:
        raise YamlError(f"{where}: has more than {most} values")
    return values


def write_yaml(value: Any) -> str:
    """Return the YAML text of plain values, one key a line; ``read_yaml`` reads it back equal.

    Tuples are written as lists.
    """
    return _written(value, flow=False)


def write_yaml_line(value: Any) -> str:
    """Return the YAML text of plain values in one line, without its end."""
    return _written(value, flow=True).rstrip("\n")


def _written(value: Any, flow: bool) -> str:
    text = yaml.dump(
        value,
        Dumper=_Dumper,
        default_flow_style=flow,
        sort_keys=False,
        allow_unicode=True,
        width=math.inf,
    )
    return text.removesuffix("...\n")


def _count(value: Any, seen: int, most: int) -> int:
    """Return ``seen`` and the values inside, aliases each time, until there are too many."""
    seen += 1
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        if seen <= most:
            seen = _count(item, seen, most)
    return seen


class _Problem(yaml.constructor.ConstructorError):
    """What YAML allows and the project does not."""


class _Loader(yaml.SafeLoader):
    """Safe YAML with the scalars of YAML 1.2, where every key stands once."""

    # Emptied and filled below: PyYAML's own read "no" as false and 12:30 as 750.
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012
    yaml_constructors = {  # noqa: RUF012
        tag: yaml.SafeLoader.yaml_constructors[tag]
        for tag in (*(f"{_TAG}{kind}" for kind in ("null", "bool", "str", "seq", "map")), None)
    }
    as_text = False

    def named(self, key: Any, node: yaml.Node) -> yaml.Node:
        """Return the value of a key, as text where the key says that it is a name."""
        if key in _NAMES and _is_plain(node) and node.tag != _NULL:
            return yaml.ScalarNode(_TEXT, node.value, node.start_mark, node.end_mark)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if self.as_text and _is_plain(node) and (node.tag != _NULL or node.value):
            return node.value
        return super().construct_object(node, deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Put the keys of ``<<`` behind the mapping's own, and each of them once.

        PyYAML keeps every repetition, and a few lines could then fill the memory.
        """
        own: dict[Any, tuple[yaml.Node, yaml.Node]] = {}
        merged: list[yaml.Node] = []
        for key, value in node.value:
            if key.tag == _MERGE:
                merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
                key = yaml.ScalarNode(_MERGE, "<<", key.start_mark)
            if (name := _identity(key)) in own:
                raise _problem(f"the key '{key.value}' stands there twice", key)
            own[name] = (key, self.named(key.value, value) if _is_scalar(key) else value)
        own.pop((_MERGE, "<<"), None)
        for other in merged:
            if not isinstance(other, yaml.MappingNode):
                raise _problem("<< takes a mapping, or a list of mappings", other)
            self.flatten_mapping(other)
            for key, value in other.value:
                own.setdefault(_identity(key), (key, value))
        node.value = list(own.values())

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        values = super().construct_mapping(node, deep)
        if len(values) < len(node.value):  # as 1 and 1.0, or 1 and true
            raise _problem("two keys of this mapping are equal", node)
        return values

    def construct_yaml_number(self, node: yaml.ScalarNode) -> int | float:
        """Return a number; one like ``40e6`` is a whole one."""
        text = node.value.replace("_", "")
        if node.tag.endswith("int"):
            return int(text)
        value = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        whole = "." not in text and abs(value) <= _EXACT and value.is_integer()
        return int(value) if whole else value


class _Dumper(yaml.SafeDumper):
    """Quotes every text that YAML 1.1 or YAML 1.2 would take for something else."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: list(known) for first, known in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }

    # Equal values would otherwise be written as anchors, which people cannot read.
    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Return the node of a text; one with unusual characters is escaped on one line."""
        style = None if text.isprintable() else '"'
        return self.represent_scalar(_TEXT, text, style=style)


def _identity(key: yaml.Node) -> Hashable:
    return (key.tag, key.value) if _is_scalar(key) else id(key)


def _is_scalar(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode)


def _is_plain(node: yaml.Node) -> bool:
    """Return whether a node is a scalar without quotes, which could be a number."""
    return isinstance(node, yaml.ScalarNode) and node.style is None


def _problem(text: str, node: yaml.Node) -> _Problem:
    return _Problem(None, None, text, node.start_mark)


def _scalars() -> Iterator[tuple[str, str, str]]:
    """Yield the plain scalars that are no text: kind, pattern, first characters."""
    whole = r"[0-9](?:_?[0-9])*"
    power = r"[eE][-+]?[0-9]+"
    yield "bool", r"true|True|TRUE|false|False|FALSE", "tTfF"
    yield "null", r"~|null|Null|NULL|", "~nN"
    yield "int", r"[-+]?(?:0|[1-9](?:_?[0-9])*)", "-+0123456789"
    yield (
        "float",
        rf"[-+]?(?:{whole}\.(?:{whole})?(?:{power})?|\.{whole}(?:{power})?|{whole}{power}"
        r"|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    )
    yield "merge", r"<<", "<"


for _kind, _pattern, _first in _scalars():
    _firsts = [*_first, ""] if _kind == "null" else list(_first)
    # The writer knows the same scalars, so that it quotes each text which would read back as one.
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(f"^(?:{_pattern})$"), _firsts)
for _kind in ("int", "float"):
    _Loader.add_constructor(f"{_TAG}{_kind}", _Loader.construct_yaml_number)
_Dumper.add_representer(str, _Dumper.represent_text)
