"""Several sources of a space's keys as one: defaults, the file, its demo, overrides.

Mappings merge key by key, and the later one wins; a distribution, a list or a value replaces what
stood there as a whole. A key below an architecture in compact notation, or below a scheduler's
name, is merged with what these stand for. A key below a choice goes into each of its options.
"""

from __future__ import annotations

import contextlib
import difflib
import json
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from emgmodels.config import (
    Average,
    EncoderConfig,
    Frozen,
    ModelConfig,
    StartFrom,
    TrainingConfig,
    displaced,
    section_kind,
    validated,
)
from emgmodels.config.stage_names import stage_of
from emgmodels.notation import parse_notation
from search.space.parsing import DISTRIBUTIONS, is_entry
from search.space.ranges import shown
from search.space.sections import default_node, join, stages_of
from search.space.settings import SamplerConfig, SchedulerConfig, SpaceFile

_FORMS = {
    "{int: [LOW, HIGH]}": ("range", "randint", "quniform"),
    "{float: [LOW, HIGH]}": ("uniform", "normal"),
    "{float: [LOW, HIGH], log: true}": ("loguniform", "log_uniform"),
    "{choice: [VALUE, VALUE]}": ("categorical", "values", "options", "grid", "grid_search"),
}
"""Distributions, and what other programs call them."""


@dataclass
class Merge:
    """What sources say together, as they are added one after another.

    Attributes:
        kind: the class of the file.
        values: the keys so far.
        mistakes: by source and path, what cannot be put below what stands there.
    """

    kind: type[Frozen] = SpaceFile
    values: dict[str, Any] = field(default_factory=dict)
    mistakes: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, later: dict[str, Any], label: str, section: str = "", replaced: str = "") -> None:
        """Add the keys of a later source.

        Args:
            later: its keys.
            label: what to call it in a message.
            section: where they stand in it; empty at the top.
            replaced: the path of a distribution of which one key is given only, if any.
        """
        merging = _Merging(replaced)
        own = has_entry(self.values.get("model")) and not is_distribution(later.get("model"))
        self.values = merging.section(self.values, later, self.kind, "")
        if own and "training" in later:
            # What comes later wins over an architecture's own training as well.
            model = merging.trained(self.values["model"], later["training"], self.kind)
            self.values["model"] = model
        for path in merging.settled:
            for known in [k for k in self.mistakes if f"{k[1]}.".startswith(f"{path}.")]:
                del self.mistakes[known]
        for path, text in merging.mistakes.items():
            self.mistakes[label, path] = f"{label}: {join(section, path)}: {text}"


@dataclass
class _Merging:
    """One source's keys on their way into what stood before.

    Attributes:
        replaced: as in ``Merge.add``.
        settled: paths whose value is now that of the source as a whole.
        mistakes: what is wrong, by path.
    """

    replaced: str = ""
    settled: list[str] = field(default_factory=list)
    mistakes: dict[str, str] = field(default_factory=dict)

    def section(
        self, base: dict[str, Any], later: dict[str, Any], kind: type[Frozen], path: str
    ) -> dict[str, Any]:
        """Return a mapping with the keys of a later one."""
        gone = displaced(later, base) if issubclass(kind, TrainingConfig | Average) else set()
        merged = {key: value for key, value in base.items() if key not in gone}
        for key, value in later.items():
            known = kind.field_of(str(key)) is not None
            here = join(path, str(key))
            merged[key] = self._value(base.get(key), value, kind, key, here) if known else value
        return merged

    def trained(self, model: Any, later: Any, kind: type[Frozen]) -> Any:
        """Return a choice of architectures whose own trainings have later keys."""
        if isinstance(model, dict) and isinstance(model.get("choice"), list):
            return {**model, "choice": [self.trained(o, later, kind) for o in model["choice"]]}
        if not is_entry(model):
            return model
        return {**model, "training": self.training(model.get("training", {}), later, kind)}

    def training(self, base: Any, later: Any, kind: type[Frozen]) -> Any:
        """Return a training with the keys of a later one; ``kind`` is that of the file."""
        return self._value(base, later, kind, "training", "training")

    def _value(self, base: Any, later: Any, kind: type[Frozen], name: str, path: str) -> Any:
        """Return what stands for a key: the later value, or what stood there with keys in it."""
        if not isinstance(later, dict) or is_distribution(later):
            # Half of a distribution, such as the upper end alone, could be meant in two ways.
            if path == self.replaced and is_distribution(base) and later.keys() < base.keys():
                self.mistakes[path] = _refusal(base, path)
            # A value given as a whole settles mistakes of earlier sources below it.
            self.settled.append(path)
            return later
        inner = section_kind(kind, name)
        if inner is None:
            if near := _nearly_distribution(later):
                self.mistakes[path] = f"{shown(later)}: did you mean {near}?"
            elif is_distribution(base) or path.partition(".")[0] not in ("model", "training"):
                there = default_node(kind, name).plain() if base is None else base
                self.mistakes[path] = _refusal(there, path)
            else:
                named = ", ".join(DISTRIBUTIONS)
                self.mistakes[path] = (
                    f"{shown(later)} is no distribution: write a value, or one of {named}, such as "
                    f"{{choice: [VALUE, VALUE]}}"
                )
            return base
        # A key below "gru:4 conv:4" or below a scheduler's name is meant for what these stand
        # for.
        base = expanded(base, inner)
        if is_distribution(base):
            return self._each_option(base, later, inner, path)
        return self.section(base if isinstance(base, dict) else {}, later, inner, path)

    def _each_option(self, base: Any, later: dict[str, Any], kind: type[Frozen], path: str) -> Any:
        """Return a choice of which every option that can take them has the later keys."""
        if not isinstance(base.get("choice"), list):
            return base  # which is a mistake of its own
        options, taken = [], set()
        for index, written in enumerate(base["choice"]):
            here, option = f"{path}.choice[{index}]", expanded(written, kind)
            if is_distribution(option):
                taken |= set(_leaves(later))
                options.append(self._each_option(option, later, kind, here))
            elif is_entry(option):
                there = {"choice": [option.get("model", {})]}
                [model] = self._each_option(there, later, kind, here)["choice"]
                taken |= set(_leaves(later))
                options.append({**option, "model": model})
            elif isinstance(option, dict):
                fitting = _fitting(option, later, kind)
                taken |= set(_leaves(fitting))
                options.append(self.section(option, fitting, kind, here))
            else:  # null says that there is no such part, and goes on saying so
                options.append(option)
        for leaf in set(_leaves(later)) - taken:
            self.mistakes[join(path, leaf)] = (
                f"{shown(base)} stands at {path}, and none of its options has that part"
            )
        return {**base, "choice": _each_once(options, kind)}


def entries_of(model: Any, training: Any, kind: type[Frozen]) -> Any:
    """Return a choice of architectures each of which has its whole training.

    Args:
        model: the choice, of which some options have their own training.
        training: what these leave out.
        kind: the class of the file.
    """
    if isinstance(model, dict) and isinstance(model.get("choice"), list):
        options = [entries_of(option, training, kind) for option in model["choice"]]
        return {**model, "choice": options}
    if not is_entry(model):
        return {"model": model, "training": training}
    own = _Merging().training(training, model.get("training", {}), kind)
    return {"model": model.get("model", {}), "training": own}


def has_entry(model: Any) -> bool:
    """Return whether a choice of architectures has one with its own training."""
    options = model.get("choice") if isinstance(model, dict) else None
    return isinstance(options, list) and any(is_entry(o) or has_entry(o) for o in options)


def is_distribution(value: Any) -> bool:
    """Return whether a value of a space file is a distribution."""
    return isinstance(value, dict) and any(key in DISTRIBUTIONS for key in value)


def expanded(value: Any, kind: type[Frozen]) -> Any:
    """Return the mapping that a short form stands for; any other value, and one in error, as is."""
    if isinstance(value, str) and issubclass(kind, SchedulerConfig | SamplerConfig):
        return {"name": value}
    if isinstance(value, str) and issubclass(kind, StartFrom):
        return {"path": value}
    if isinstance(value, str) and issubclass(kind, ModelConfig):
        with contextlib.suppress(ValueError):
            return json.loads(parse_notation(value, kind).model_dump_json(exclude_unset=True))
    return value


def _fitting(option: dict[str, Any], later: dict[str, Any], kind: type[Frozen]) -> dict[str, Any]:
    """Return those of the later keys that an option has a place for: no stage that it lacks."""
    fitting = {}
    for key, value in later.items():
        inner = section_kind(kind, key) if kind.field_of(str(key)) else None
        there = option.get(key)
        if issubclass(kind, EncoderConfig) and inner is not None:
            order = later.get("order", option.get("order", EncoderConfig().order))
            # A sequence has repeats of the stages that it names.
            named = {key, stage_of(key, stages_of(kind)) if is_distribution(order) else key}
            if not named & set(_names(order)):
                continue
        elif inner and isinstance(value, dict) and not (is_distribution(value or there)):
            value = _fitting(there if isinstance(there, dict) else {}, value, inner)
            if not value:
                continue
        fitting[key] = value
    return fitting


def _names(order: Any) -> Iterator[str]:
    """Yield the stages that an order names, whatever may be drawn of it."""
    if isinstance(order, str):
        yield order
    elif isinstance(order, dict | list | tuple):
        for inner in order.values() if isinstance(order, dict) else order:
            yield from _names(inner)


def _leaves(values: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield the paths of the values in nested mappings."""
    for key, value in values.items():
        here = join(path, str(key))
        if isinstance(value, dict) and value and not is_distribution(value):
            yield from _leaves(value, here)
        else:
            yield here


def _each_once(options: list[Any], kind: type[Frozen]) -> list[Any]:
    """Return options without those that have become equal to an earlier one."""
    # An override may make options equal. Drawn as they are, the same architecture would then come
    # twice as often.
    return list({_identity(option, kind): option for option in reversed(options)}.values())[::-1]


def _identity(option: Any, kind: type[Frozen]) -> Any:
    """Return what is equal for options that mean the same."""
    try:
        return validated(kind, option)
    except ValidationError:  # null, or with distributions
        return _frozen(option)


def _frozen(value: Any) -> Hashable:
    """Return what is equal for equal values, as 60 and 60.0 are."""
    if isinstance(value, dict):
        return frozenset((key, _frozen(inner)) for key, inner in value.items())
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def _nearly_distribution(value: dict[str, Any]) -> str:
    """Return the distribution that a mapping's keys may have been meant for; empty for none."""
    near = (difflib.get_close_matches(str(key), DISTRIBUTIONS, n=1) for key in value)
    forms = (form for form, names in _FORMS.items() if not value.keys().isdisjoint(names))
    return next(forms, "") or next((repr(found[0]) for found in near if found), "")


def _refusal(there: Any, path: str) -> str:
    return (
        f"{shown(there)} stands there and takes no keys: replace it as a whole, with {path}: VALUE "
        f"in a file or --set {path}=VALUE"
    )
