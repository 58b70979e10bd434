"""Space files as text: YAML, ``extends``, ``demo`` and overrides, merged in that order.

``extends: base.yaml`` takes another file's keys as defaults. The base is found from the folder of
the file that extends it and stands in that folder or below it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emgmodels.config import YamlError, read_yaml
from emgmodels.paths import unread
from search.space.merging import Merge
from search.space.parsing import DISTRIBUTIONS, SpaceError
from search.space.settings import SpaceFile

OPTIONS = {
    "search.trials": "--trials",
    "search.time_budget": "--time-budget",
    "search.seed": "--seed",
    "search.repeats": "--repeats",
    "training.epochs": "--epochs",
}
"""Options of the search for keys of a space: in messages a user finds what was typed."""


@dataclass(frozen=True)
class Layer:
    """One source of keys.

    Attributes:
        label: what to call it in a message.
        values: its keys, as YAML gave them.
        override: given by the user beside the files.
        keys: of an override, the path that it gives a value for.
    """

    label: str
    values: dict[str, Any]
    override: bool = False
    keys: tuple[str, ...] = ()


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


def has_demo(path: str | Path) -> bool:
    """Return whether a space file, or one that it extends, has a ``demo`` section."""
    return any(isinstance(layer.values.get("demo"), dict) for layer in read_layers(Path(path), ()))


def merged(layers: Sequence[Layer], demo: bool, kind: type[SpaceFile] = SpaceFile) -> Merge:
    """Return what layers say together, without ``extends`` and ``demo``.

    A space has its own name, never that of one it extends.

    Args:
        layers: files and overrides.
        demo: also take what stands under ``demo``.
        kind: the class of the file.
    """
    files = [layer for layer in layers if not layer.override]
    merge = Merge(kind)
    for layer in files:
        own = layer is files[-1]
        kept = ("extends", "demo") if own else ("extends", "demo", "name")
        merge.add({k: v for k, v in layer.values.items() if k not in kept}, layer.label)
    # After all files: a demo of the base must still win over the file's full-size settings.
    for layer in files if demo else ():
        if isinstance(values := layer.values.get("demo"), dict):
            merge.add(values, layer.label, "demo")
    # What the user typed wins over all files.
    for layer in layers:
        if layer.override:
            whole = layer.keys[-1] not in DISTRIBUTIONS
            merge.add(layer.values, layer.label, "", "" if whole else ".".join(layer.keys[:-1]))
    return merge


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpaceError([unread(path, error)]) from None
    except UnicodeDecodeError:
        raise SpaceError([f"{path}: is not a text file"]) from None
    values = _parse(text, str(path))
    if values is None:
        raise SpaceError([f"{path}: is empty: a space needs keys such as model and training"])
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
    # A space from somebody else must not read files elsewhere on this machine.
    if Path(extends).is_absolute() or not base.resolve().is_relative_to(folder):
        raise SpaceError(
            [
                f"{where}: {extends!r} is not allowed: must stand in the file's folder or below "
                f"it: copy it there"
            ]
        )
    # Resolved, because a link or "./" gives one file several names.
    if base.resolve() in [path.resolve() for path in chain]:
        names = " -> ".join(path.name for path in [*chain, base])
        raise SpaceError([f"{where}: {extends!r} is not allowed: it leads in a circle: {names}"])
    if not base.is_file():
        raise SpaceError([f"{where}: {extends!r} does not exist in {child.parent}"])
    return base


def _override(text: str) -> Layer:
    path, equals, value = text.partition("=")
    option = OPTIONS.get(path)
    label = f"{option} {value}" if option and equals else f"override '{text}'"
    keys = path.strip().split(".")
    if not equals or not all(re.fullmatch(r"\w+", key) for key in keys):
        raise SpaceError([f"{label}: must be path.to.key=value, for example training.epochs=20"])
    # They say how files are merged, and an override comes after that.
    if keys[0] in ("extends", "demo"):
        raise SpaceError([f"{label}: {keys[0]} stands in files only"])
    values = _parse(value, label, keys[-1])
    for key in reversed(keys):
        values = {key: values}
    return Layer(label, values, override=True, keys=tuple(keys))


def _parse(text: str, label: str, key: str = "") -> Any:
    try:
        return read_yaml(text, label, key=key)
    except YamlError as error:
        raise SpaceError([str(error)]) from None
