"""Mappings of a space file: the sections of the configuration, with values that may vary.

Stages and the encoder decide what is drawn at all: a stage of 0 layers is absent, and only the
order of those that are present is a parameter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from emgmodels.config import EncoderConfig, Frozen, StageConfig, section_kind
from search.space.distributions import Choice, Fixed, Node, OutsideError, Permutation, flow
from search.space.draws import Draw, combinations

CODE = "code"
"""The entry of a part of the user's own that names its code: fixed, and not written."""


@dataclass(frozen=True)
class Section(Node):
    """A mapping with the keys of a configuration class; what is left out has its default."""

    kind: type[Frozen]
    entries: dict[str, Node]

    @override
    def draw(self, trial: Draw, path: str) -> Any:
        return {name: node.draw(trial, join(path, name)) for name, node in self._ordered()}

    @override
    def plain(self) -> Any:
        return {name: node.plain() for name, node in self.entries.items() if name != CODE}

    @override
    def params(self, target: Any, path: str) -> dict[str, Any]:
        if not isinstance(target, dict):
            raise OutsideError(path, target, flow(self.plain()))
        found: dict[str, Any] = {}
        for name in self.kind.model_fields:
            if name in target:
                node = self.entries.get(name) or default_node(self.kind, name)
                found |= node.params(target[name], join(path, name))
            elif name in self.entries:
                found |= _default_params(self.kind, name, self.entries[name], join(path, name))
        return found

    @override
    def count(self) -> float:
        return math.prod(node.count() for node in self.entries.values())

    @override
    def continuous(self, path: str) -> str | None:
        inner = (node.continuous(join(path, name)) for name, node in self.entries.items())
        return next(filter(None, inner), None)

    def _ordered(self) -> Iterator[tuple[str, Node]]:
        for name in self.kind.model_fields:
            if name in self.entries:
                yield name, self.entries[name]


class StageSection(Section):
    """A stage of the encoder: with 0 layers it is absent and nothing else of it is drawn."""

    @override
    def draw(self, trial: Draw, path: str) -> Any:
        layers = self._layers().draw(trial, join(path, "layers"))
        # Settings of an absent stage are not drawn. A sampler would otherwise learn from values
        # that had no effect.
        if layers == 0:
            return {"layers": 0}
        others = (item for item in self._ordered() if item[0] != "layers")
        drawn = {name: node.draw(trial, join(path, name)) for name, node in others}
        return {"layers": layers, **drawn}

    @override
    def params(self, target: Any, path: str) -> dict[str, Any]:
        if target is None or (isinstance(target, dict) and target.get("layers") == 0):
            return self._layers().params(0, join(path, "layers"))
        return super().params(target, path)

    @override
    def count(self) -> float:
        absent = absences(self)
        layers = self._layers().count() - absent
        others = (node.count() for name, node in self.entries.items() if name != "layers")
        return absent + (layers * math.prod(others) if layers else 0)

    def _layers(self) -> Node:
        return self.entries.get("layers") or default_node(self.kind, "layers")


class EncoderSection(Section):
    """The encoder: the layers of every stage are drawn first, then the order of those present.

    A stage that the order drawn does not name, or that a choice gives as null, is absent.
    """

    @override
    def draw(self, trial: Draw, path: str) -> Any:
        order, here = self._order(), join(path, "order")
        listed = order.items if isinstance(order, Permutation) else order.draw(trial, here)
        drawn: dict[str, Any] = {}
        for name in stages_of(self.kind):
            if name in listed and (node := self._drawn(name)) is not None:
                value = node.draw(trial, join(path, name))
                drawn[name] = {"layers": 0} if value is None else value
        if isinstance(order, Permutation):
            # The layers of all stages are drawn before the order, so only the order of those that
            # are present is a parameter.
            present = [name for name in listed if drawn.get(name, {}).get("layers") != 0]
            listed = order.draw_among(present, trial, here)
        return {"order": list(listed), **drawn}

    def stage(self, name: str) -> Node | None:
        """Return the node of a stage, or None where its section is left out."""
        node = self.entries.get(name)
        return None if node == Fixed(None) else node

    def _drawn(self, name: str) -> Node | None:
        """Return the node that a stage is drawn from; one of the user's own has one always."""
        own = name not in EncoderConfig.model_fields
        return self.stage(name) or (_default_stage(self.kind, name) if own else None)

    def misplaced(self) -> list[str]:
        """Return the stages that have a section, could have layers, and stand in no order."""
        named = {name for listed in self._lists() for name in listed}
        stages = ((n, self.stage(n)) for n in stages_of(self.kind) if n not in named)
        return [name for name, node in stages if node is not None and node.count() > absences(node)]

    @override
    def params(self, target: Any, path: str) -> dict[str, Any]:
        if not isinstance(target, dict):
            raise OutsideError(path, target, flow(self.plain()))
        order, present = _arrangement(target, stages_of(self.kind))
        shown = sorted(present) if order is None else order
        outside = OutsideError(join(path, "order"), shown, flow(self._order().plain()))
        # A choice of orders may contain the same stages several times, each with other
        # parameters.
        for found, listed in self._arrangements(order, present, join(path, "order")):
            try:
                return found | self._stage_params(target, listed, present, path)
            except OutsideError as error:
                outside = error
        raise outside

    @override
    def count(self) -> float:
        if any(math.isinf(node.count()) for node in self.entries.values()):
            return math.inf
        if not isinstance(order := self._order(), Permutation):
            return sum(math.prod(map(self._ways, listed)) for listed in self._lists())
        # Counting every combination one by one would take years for the larger spaces.
        by_present = [1]  # ways to have 0, 1, ... stages, whatever their order
        for name in order.items:
            absent, ways = int(self._can_miss(name)), self._ways(name)
            longer = [0, *((ways - absent) * n for n in by_present)]
            by_present = [n + absent * m for n, m in zip(longer, [*by_present, 0], strict=True)]
        return sum(n * math.factorial(present) for present, n in enumerate(by_present))

    def _order(self) -> Node:
        return self.entries.get("order") or default_node(EncoderConfig, "order")

    def _lists(self) -> list[Sequence[str]]:
        """Return every list of stages that can be drawn; a permutation is one."""
        order = self._order()
        if isinstance(order, Permutation):
            return [order.items]
        return [listed for _, listed in combinations(lambda trial: order.draw(trial, "order"))]

    def _arrangements(
        self, order: list[str] | None, present: set[str], path: str
    ) -> Iterator[tuple[dict[str, Any], Sequence[str]]]:
        """Yield the parameters and the names of every order that these stages could come from."""
        node = self._order()
        if isinstance(node, Permutation):
            if present <= set(node.items):
                yield ({} if order is None else node.params(order, path)), node.items
            return
        for found, listed in combinations(lambda trial: node.draw(trial, path)):
            kept = [name for name in listed if name in present]
            if set(kept) == present if order is None else kept == order:
                yield found, listed

    def _stage_params(
        self, target: dict[str, Any], listed: Sequence[str], present: set[str], path: str
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in (name for name in stages_of(self.kind) if name in listed):
            wanted = (target.get(name) or {}) if name in present else None
            node = self.stage(name) or _default_stage(self.kind, name)
            found |= node.params(wanted, join(path, name))
        return found

    def _ways(self, name: str) -> int:
        """Return how many different stages of this name there are, its absence included."""
        node = self.stage(name) or _default_stage(self.kind, name)
        missing = absences(node)
        return int(node.count()) - missing + bool(missing)

    def _can_miss(self, name: str) -> bool:
        return absences(self.stage(name) or _default_stage(self.kind, name)) > 0


def section(kind: type[Frozen], entries: dict[str, Node]) -> Section:
    """Return the node of a mapping with the keys of ``kind``."""
    if CODE in kind.model_fields:
        entries = {**entries, CODE: default_node(kind, CODE)}
    if issubclass(kind, EncoderConfig):
        return EncoderSection(kind, entries)
    return (StageSection if issubclass(kind, StageConfig) else Section)(kind, entries)


def stages_of(kind: type[Frozen]) -> list[str]:
    """Return the stages that an encoder of a class can have."""
    return [name for name in kind.model_fields if name != "order"]


def default_node(kind: type[Frozen], name: str) -> Node:
    """Return the node of a key that a space leaves out."""
    return _fixed(kind.model_fields[name].get_default(call_default_factory=True))


def absences(node: Node) -> int:
    """Return in how many ways a stage can be drawn absent: 0 or 1, or once for each such option."""
    try:
        if isinstance(node, Choice):
            return sum(absences(option) for option in node.options)
        node.params(None, "")
    except OutsideError:
        return 0
    return 1


def join(path: str, name: str) -> str:
    """Return the path of a key inside a section."""
    return f"{path}.{name}" if path else name


def _fixed(value: Any) -> Node:
    if isinstance(value, Frozen):
        names = type(value).model_fields
        return section(type(value), {name: _fixed(getattr(value, name)) for name in names})
    return Fixed(value)


def _default_params(kind: type[Frozen], name: str, node: Node, path: str) -> dict[str, Any]:
    """Return the parameters of a key's default, or none where the space does not have it."""
    default: Any = {}
    if not isinstance(node, Section):
        default = kind.model_fields[name].get_default(call_default_factory=True)
        default = default.model_dump() if isinstance(default, Frozen) else default
    try:
        return node.params(default, path)
    except OutsideError:
        return {}


def _default_stage(encoder: type[Frozen], name: str) -> Section:
    kind = section_kind(encoder, name)
    assert kind is not None
    return section(kind, {})


def _arrangement(
    target: dict[str, Any], stages: Sequence[str]
) -> tuple[list[str] | None, set[str]]:
    """Return the order of an encoder's stages, None where it leaves it open, and their names."""
    absent = {name for name in stages if (target.get(name) or {}).get("layers") == 0}
    named = {name for name in stages if target.get(name) is not None} - absent
    order = target.get("order")
    if order is None:
        if named:
            return None, named
        order = default_node(EncoderConfig, "order").plain()
    order = [name for name in order if name not in absent]
    return order, set(order)
