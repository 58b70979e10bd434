"""From the YAML of a space to its nodes, with every mistake found on the way.

The rules for a value are those of the configuration field it stands for: every choice, every
bound and every integer of a range is validated by pydantic against that field.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from emgmodels.config import (
    EncoderConfig,
    Frozen,
    ModelConfig,
    PositiveInt,
    TrainingConfig,
    meant,
    section_kind,
    unknown_key,
    validated,
)
from emgmodels.config.stage_names import stage_of
from emgmodels.notation import parse_notation
from search.space.distributions import (
    Choice,
    Fixed,
    FloatRange,
    IntRange,
    Node,
    flow,
)
from search.space.orders import Permutation, StageSequence
from search.space.ranges import checked_values, range_problem, shown
from search.space.sections import CODE, EncoderSection, Section, join, section
from search.space.settings import Entry

DISTRIBUTIONS = {
    "choice": (),
    "int": ("log", "step"),
    "float": ("log", "step"),
    "permutation": (),
    "sequence": (),
}
"""The distributions of the grammar and the options each takes."""

_SEARCHED = (ModelConfig, TrainingConfig)
_LONGEST_PERMUTATION = 6


class SpaceError(ValueError):
    """Everything that is wrong with a space, one line for each mistake."""

    def __init__(self, mistakes: Iterable[str]) -> None:
        """Keep the mistakes, each once."""
        self.mistakes = list(dict.fromkeys(mistakes))
        super().__init__("\n".join(self.mistakes))

    def __reduce__(self) -> tuple[type[SpaceError], tuple[list[str]]]:
        return SpaceError, (self.mistakes,)


def parse_section(
    raw: Mapping[str, Any],
    kind: type[Frozen],
    path: str,
    mistakes: list[str],
    searched: bool | None = None,
) -> Section:
    """Return the node of a mapping with the keys of a configuration class.

    Args:
        raw: the mapping as YAML gave it.
        kind: the class.
        path: where the mapping stands in the file; empty at the top.
        mistakes: every mistake found is appended, as ``path: value: rule``.
        searched: whether distributions may stand for values; None: in model and training only.
    """
    if searched is None and issubclass(kind, _SEARCHED):
        searched = True
    entries = {}
    for key, value in raw.items():
        here = join(path, str(key))
        if kind.field_of(str(key)) is not None and key != CODE:
            entries[key] = _parse_field(value, kind, key, here, mistakes, searched)
        else:
            allowed = [name for name in kind.model_fields if name != CODE]
            mistakes.append(f"{here}: {unknown_key(key, allowed)}")
    ordered = dict.fromkeys((*kind.model_fields, *entries))
    return section(kind, {name: entries[name] for name in ordered if name in entries})


def misplaced_stages(node: Node, path: str) -> Iterator[str]:
    """Yield a mistake for each stage that has a section and no order, or a repeat without one."""
    if isinstance(node, EncoderSection):
        for name in node.without_section():
            stage = stage_of(name, node.kind.model_fields)
            yield (
                f"{join(path, 'order')}: {name} has no section: add {join(path, name)}: {{...}} "
                f"with its settings, as {join(path, stage)} has them"
            )
        for name in node.misplaced():
            yield (
                f"{join(path, name)}: stage '{name}' is configured and is not in order: add it to "
                f"{join(path, 'order')}, give it 'layers: 0', or remove its section"
            )
        for name in node.always_absent():
            yield (
                f"{join(path, name)}: has 0 layers, and stands in a sequence, where each stage has "
                f"some: give it layers, or leave it out of {join(path, 'order')}"
            )
    if isinstance(node, Section):
        for name, entry in node.entries.items():
            yield from misplaced_stages(entry, join(path, name))
    elif isinstance(node, Choice):
        for index, option in enumerate(node.options):
            yield from misplaced_stages(option, f"{path}.choice[{index}]")


def read_notation(
    text: str, path: str, mistakes: list[str], kind: type[ModelConfig] = ModelConfig
) -> dict[str, Any]:
    """Return the part of a ``model`` section that an architecture in compact notation names.

    Args:
        text: the notation.
        path: where it stands in the file.
        mistakes: every mistake found is appended.
        kind: the class of the section.
    """
    try:
        return parse_notation(text, kind).model_dump(exclude_unset=True)
    except ValueError as error:
        mistakes += [f"{path}: {line}" for line in str(error).splitlines()]
        return {}


def rule(error: ValidationError) -> str:
    """Return the first rule that a value breaks."""
    item = error.errors()[0]
    message = item["msg"].removeprefix("Value error, ").replace("Input should", "must")
    message += meant(item)
    inner = [str(part) for part in item["loc"][1:] if isinstance(part, int)]
    return f"item {inner[0]} {message}" if inner else message


def _parse_field(
    raw: Any, kind: type[Frozen], name: str, path: str, mistakes: list[str], searched: bool | None
) -> Node:
    inner = section_kind(kind, name)
    if searched is None and inner is not None and issubclass(inner, _SEARCHED):
        searched = True
    if isinstance(raw, dict) and any(key in DISTRIBUTIONS for key in raw):
        if searched:
            return _parse_distribution(raw, kind, name, path, mistakes)
        mistakes.append(
            f"{path}: {shown(raw)} is not allowed: distributions stand in model and training only"
        )
    elif inner is not None and issubclass(inner, ModelConfig) and searched and is_entry(raw):
        return _parse_entry(raw, kind, path, mistakes)
    elif isinstance(raw, dict) and inner is not None:
        return parse_section(raw, inner, path, mistakes, searched)
    elif isinstance(raw, str) and inner is not None and issubclass(inner, ModelConfig):
        values = read_notation(raw, path, mistakes, inner)
        return parse_section(values, inner, path, mistakes, searched)
    elif inner is not None and not isinstance(raw, str | None):
        keys = ", ".join(inner.model_fields)
        mistakes.append(f"{path}: {shown(raw)} is not allowed: must be a mapping of {keys}")
    else:
        choosing = isinstance(raw, list) and searched and not issubclass(kind, EncoderConfig)
        hint = "; to choose, write {choice: [...]}" if choosing else ""
        _check(raw, kind, name, path, mistakes, hint)
    if searched and isinstance(raw, bool | str):
        return Fixed(raw, _meaning(raw, kind, name))
    return Fixed(tuple(raw) if isinstance(raw, list) else raw)


def _meaning(value: bool | str, kind: type[Frozen], name: str) -> tuple[Any, ...]:
    """Return how a configuration has a value that is written in another way."""
    try:
        found = _field(kind, name).validate_python(value)
    except (KeyError, ValidationError):  # a section, or a mistake
        return ()
    return (found,) if found != value else ()


@functools.lru_cache(maxsize=1024)
def _field(kind: type[Frozen], name: str) -> TypeAdapter[Any]:
    field = kind.model_fields[name]
    kind_of_value: Any = Annotated[(field.annotation, *field.metadata, None)]
    return TypeAdapter(kind_of_value)


def is_entry(raw: Any) -> bool:
    """Return whether an option among architectures is one with its own training."""
    return isinstance(raw, dict) and bool(raw.keys() & {"model", "training"})


def _parse_entry(raw: dict[str, Any], kind: type[Frozen], path: str, mistakes: list[str]) -> Node:
    """Return the node of an architecture with its own training; ``kind`` is that of the file."""
    if ".choice[" not in path:
        mistakes.append(
            f"{path}: {shown(raw)} is not allowed: an architecture with its own training is an "
            f"option of {path}: {{choice: [...]}}"
        )
        return Fixed(None)
    names = list(Entry.model_fields)
    mistakes += [
        f"{join(path, str(key))}: {unknown_key(key, names)}" for key in raw if key not in names
    ]
    entries = {
        name: _parse_field(raw.get(name, {}), kind, name, join(path, name), mistakes, searched=True)
        for name in names
    }
    return Section(Entry, entries)


def _parse_distribution(
    raw: dict[str, Any], kind: type[Frozen], name: str, path: str, mistakes: list[str]
) -> Node:
    if issubclass(kind, TrainingConfig) and name == "recipe":
        mistakes.append(
            f"{path}: {shown(raw)} is not allowed: a recipe is a whole section: to choose, write "
            f"training: {{choice: [{{recipe: emg2qwerty}}, {{...}}]}}"
        )
        return Fixed(None)
    named = [key for key in raw if key in DISTRIBUTIONS]
    if len(named) > 1:
        mistakes.append(f"{path}: write one of {' and '.join(named)}, not both")
        return Fixed(None)
    what = named[0]
    for key in raw:
        if key not in (what, *DISTRIBUTIONS[what]):
            known = [what, *DISTRIBUTIONS[what]]
            mistakes.append(f"{join(path, str(key))}: {unknown_key(key, known)}")
    if what == "sequence":
        return _parse_sequence(raw[what], kind, name, path, mistakes)
    if not isinstance(raw[what], list):
        example = "[low, high]" if what in ("int", "float") else "[a, b, ...]"
        mistakes.append(f"{path}.{what}: {shown(raw[what])} is not allowed: must be {example}")
        return Fixed(None)
    if what == "choice":
        return _parse_choice(raw[what], kind, name, path, mistakes)
    if what == "permutation":
        return _parse_permutation(raw[what], kind, name, path, mistakes)
    return _parse_range(raw, what, kind, name, path, mistakes)


def _parse_choice(
    options: list[Any], kind: type[Frozen], name: str, path: str, mistakes: list[str]
) -> Node:
    if not options:
        mistakes.append(f"{path}.choice: [] is not allowed: name at least one option")
        return Fixed(None)
    for index, option in enumerate(options):
        first = options.index(option)
        if first < index:
            mistakes.append(f"{path}.choice[{index}]: {shown(option)} repeats choice[{first}]")
    return Choice(
        tuple(
            _parse_field(option, kind, name, f"{path}.choice[{index}]", mistakes, searched=True)
            for index, option in enumerate(options)
        )
    )


def _parse_permutation(
    items: list[Any], kind: type[Frozen], name: str, path: str, mistakes: list[str]
) -> Node:
    here = f"{path}.permutation"
    if not 1 <= len(items) <= _LONGEST_PERMUTATION:
        mistakes.append(f"{here}: {flow(items)} is not allowed: name 1 to {_LONGEST_PERMUTATION}")
    elif not all(isinstance(item, str) for item in items):
        mistakes.append(f"{here}: {flow(items)} is not allowed: must be names")
    else:
        _check(items, kind, name, here, mistakes)
        return Permutation(tuple(items))
    return Fixed(())


class _Sequence(Frozen):
    """What a sequence of stages is written with."""

    of: tuple[str, ...] = ()
    length: PositiveInt = 1


def _parse_sequence(
    raw: Any, kind: type[Frozen], name: str, path: str, mistakes: list[str]
) -> Node:
    here, found = f"{path}.sequence", len(mistakes)
    form = "{of: [conv, recurrent], length: {int: [2, 4]}}"
    if not (issubclass(kind, EncoderConfig) and name == "order"):
        mistakes.append(f"{here}: stands for the order of an encoder's stages only")
    elif not (isinstance(raw, dict) and {"of", "length"} <= raw.keys()):
        mistakes.append(f"{here}: {shown(raw)} is not allowed: must be {form}")
    elif unknown := [key for key in raw if key not in _Sequence.model_fields]:
        mistakes += [f"{here}.{key}: {unknown_key(key, ['of', 'length'])}" for key in unknown]
    elif not isinstance(raw["of"], list) or not raw["of"]:
        mistakes.append(f"{here}.of: {shown(raw['of'])} is not allowed: must be [a, b, ...]")
    elif len({*map(str, raw["of"])}) < len(raw["of"]):
        mistakes.append(
            f"{here}.of: {shown(raw['of'])} is not allowed: name each stage once, since repeats "
            f"come of themselves"
        )
    else:
        _check(raw["of"], kind, name, f"{here}.of", mistakes)
        for stage in map(str, raw["of"]):
            if stage not in kind.model_fields and len(mistakes) == found:
                first = stage_of(stage, kind.model_fields)
                mistakes.append(
                    f"{here}.of: {stage} is not allowed: name {first}, whose repeats come of "
                    f"themselves; {join(path.rpartition('.')[0], stage)} may have a section"
                )
        length = _parse_field(raw["length"], _Sequence, "length", f"{here}.length", mistakes, True)
        if len(mistakes) == found:
            node = StageSequence(tuple(raw["of"]), length)
            mistakes += node.mistakes(here)
            return node
    return Fixed(())


def _parse_range(
    raw: dict[str, Any], what: str, kind: type[Frozen], name: str, path: str, mistakes: list[str]
) -> Node:
    bounds, step, log = raw[what], raw.get("step"), raw.get("log", False)
    if (problem := range_problem(what, bounds, step, log)) is not None:
        mistakes.append(f"{path}.{what}: {shown(bounds)} is not allowed: {problem}")
        return Fixed(None)
    low, high = bounds
    node: IntRange | FloatRange
    if what == "int":
        node = IntRange(low, high, step or 1, log)
    else:
        node = FloatRange(float(low), float(high), None if step is None else float(step), log)
    found: list[str] = []
    for value in checked_values(node):
        if not found:
            _check(value, kind, name, f"{path}.{what}", found)
    mistakes += found
    return node


def _check(
    value: Any, kind: type[Frozen], name: str, path: str, mistakes: list[str], hint: str = ""
) -> None:
    """Validate a value against the field it stands for."""
    if any(_is_infinite(v) for v in (value if isinstance(value, list) else [value])):
        problem = "must be a finite number"
    else:
        given = {name: value}
        if issubclass(kind, EncoderConfig) and isinstance(value, list | tuple):
            # Whether a repeat has its section is seen when all files are read.
            names = [each for each in value if isinstance(each, str)]
            given |= {n: {} for n in names if stage_of(n, kind.model_fields) != n}
        try:
            validated(kind, given)
        except ValidationError as error:
            problem = rule(error)
        except TypeError:  # what YAML can say and JSON cannot
            problem = "must be a number, a name, true, false, null or a list of them"
        else:
            return
    mistakes.append(f"{path}: {shown(value)} is not allowed: {problem}{hint}")


def _is_infinite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
