"""Space files as text: safe YAML, ``extends``, ``demo`` and overrides, merged in that order.

``extends: base.yaml`` takes another file's keys as defaults. The base is found from the folder of
the file that extends it and stands in that folder or below it. Mappings merge key by key and the
later one wins; a distribution, a list or a value replaces what stood there as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from search.space.parsing import DISTRIBUTIONS, SpaceError

_MOST_VALUES = 20_000


@dataclass(frozen=True)
class Layer:
    """One source of keys.

    Attributes:
        label: what to call it in a message.
        values: its keys, as YAML gave them.
        override: given by the user beside the files.
    """

    label: str
    values: dict[str, Any]
    override: bool = False


def read_layers(path: Path, overrides: Sequence[str]) -> list[Layer]:
    """Return a file, those it extends before it, and overrides after it.

    Args:
        path: the space file.
        overrides: ``path.to.key=value``, the value in YAML.

    Raises:
        SpaceError: a file cannot be read, ``extends`` leads nowhere or in a circle, or an override
            is not of that form.
    """
    layers: list[Layer] = []
    chain = [path]
    while True:
        values = _read(chain[-1])
        layers.insert(0, Layer(str(chain[-1]), values))
        if "extends" not in values:
            break
        chain.append(_base(chain, values["extends"]))
    return layers + [_override(text) for text in overrides]


def merged(layers: Sequence[Layer], demo: bool) -> dict[str, Any]:
    """Return what layers say together, without ``extends`` and ``demo``.

    A space has its own name, never that of one it extends.
    """
    files = [layer.values for layer in layers if not layer.override]
    demos = [values["demo"] for values in files if demo and isinstance(values.get("demo"), dict)]
    inherited = [{**values, "name": None} for values in files[:-1]]
    whole: dict[str, Any] = {}
    overrides = [layer.values for layer in layers if layer.override]
    for values in [*inherited, files[-1], *demos, *overrides]:
        whole = merge(whole, values)
    return {key: value for key, value in whole.items() if key not in ("extends", "demo")}


def merge(base: Any, later: Any) -> Any:
    """Return ``base`` with the keys of ``later``, which wins."""
    if not (_mergeable(base) and _mergeable(later)):
        return later
    merged = dict(base)
    for key, value in later.items():
        merged[key] = merge(base.get(key), value)
    return merged


def _mergeable(value: Any) -> bool:
    return isinstance(value, dict) and not any(key in DISTRIBUTIONS for key in value)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpaceError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise SpaceError([f"{path}: is not a text file"]) from None
    values = _parse(text, str(path))
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise SpaceError([f"{path}: must be a mapping with keys such as model and training"])
    return values


def _base(chain: list[Path], extends: Any) -> Path:
    """Return the file that the last of a chain extends."""
    child = chain[-1]
    where = f"{child}: extends"
    if not isinstance(extends, str) or not extends:
        raise SpaceError([f"{where}: {extends!r} is not allowed: must name a space file"])
    folder, base = child.parent.resolve(), child.parent / extends
    if Path(extends).is_absolute() or not base.resolve().is_relative_to(folder):
        raise SpaceError(
            [f"{where}: {extends!r} is not allowed: must stand in the file's folder or below it"]
        )
    if base.resolve() in [path.resolve() for path in chain]:
        names = " -> ".join(path.name for path in [*chain, base])
        raise SpaceError([f"{where}: {extends!r} is not allowed: it leads in a circle: {names}"])
    if not base.is_file():
        raise SpaceError([f"{where}: {extends!r} does not exist in {child.parent}"])
    return base


def _override(text: str) -> Layer:
    label = f"override '{text}'"
    path, equals, value = text.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(re.fullmatch(r"\w+", key) for key in keys):
        raise SpaceError([f"{label}: must be path.to.key=value, for example training.epochs=20"])
    if keys[0] in ("extends", "demo"):
        raise SpaceError([f"{label}: {keys[0]} stands in files only"])
    values = _parse(value, label)
    for key in reversed(keys):
        values = {key: values}
    return Layer(label, values, override=True)


def _parse(text: str, label: str) -> Any:
    try:
        values = yaml.load(text, Loader=_Loader)
        size = _count(values, 0)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f"line {mark.line + 1}: " if mark is not None else ""
        raise SpaceError([f"{label}: {line}{error.problem or error.context}"]) from None
    except RecursionError:
        raise SpaceError([f"{label}: is nested too deeply, or contains itself"]) from None
    except (yaml.YAMLError, ValueError) as error:
        raise SpaceError([f"{label}: is not YAML: {str(error).splitlines()[0]}"]) from None
    if size > _MOST_VALUES:
        raise SpaceError([f"{label}: has more than {_MOST_VALUES} values"])
    return values


def _count(value: Any, seen: int) -> int:
    """Return ``seen`` and the values inside, aliases each time, until there are too many."""
    seen += 1
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        if seen <= _MOST_VALUES:
            seen = _count(item, seen)
    return seen


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads numbers as people write them and takes every key once.

    As in YAML 1.2, ``1e-4`` is a number, and ``no``, ``12:30`` and dates are text.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' stands there twice", key.start_mark
                )
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(0|[1-9][0-9_]*)", "-+0123456789"),
    (
        "float",
        r"[-+]?([0-9][0-9_]*\.[0-9_]*([eE][-+]?[0-9]+)?|\.[0-9]+([eE][-+]?[0-9]+)?"
        r"|[0-9][0-9_]*[eE][-+]?[0-9]+|\.(inf|Inf|INF))|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first)
    )
