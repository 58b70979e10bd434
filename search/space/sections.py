"""Mappings of a space file: the sections of the configuration, with values that may vary.

Stages and the encoder decide what is drawn at all: a stage of 0 layers is absent, and only the
order of those that are present is a parameter.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from typing_extensions import override

from emgmodels.config import EncoderConfig, Frozen, StageConfig, section_kind
from emgmodels.config.stage_names import in_turn, stage_of
from search.space.distributions import (
    Choice,
    Fixed,
    Node,
    OutsideError,
    above_zero,
    flow,
)
from search.space.draws import Draw
from search.space.orders import Permutation, makes_sequences, orders_of, written_out

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
        for name in dict.fromkeys((*self.kind.model_fields, *self.entries, *target)):
            if name in target:
                if name not in self.kind.model_fields and name not in self.entries:
                    raise OutsideError(join(path, name), target[name], "no such key")
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
        # Some sections take keys beyond their fields, such as a factor for each stage.
        for name in dict.fromkeys((*self.kind.model_fields, *self.entries)):
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
        for name in self._sorted(listed):
            if (node := self._drawn(name)) is not None:
                value = node.draw(trial, join(path, name))
                drawn[name] = {"layers": 0} if value is None else value
        if isinstance(order, Permutation):
            # The layers of all stages are drawn before the order, so only the order of those that
            # are present is a parameter.
            present = [name for name in listed if drawn.get(name, {}).get("layers") != 0]
            listed = order.draw_among(present, trial, here)
        return {"order": list(listed), **drawn}

    def stage(self, name: str) -> Node | None:
        """Return the node of a stage, or None where its section is left out.

        A repeat that has no section of its own is drawn from that of the first.
        """
        node = self.entries.get(name, self.entries.get(self._stage_of(name)))
        if node is None or node == Fixed(None):
            return None
        # The length of a sequence says how many stages there are. One of 0 layers would make it
        # shorter, and its neighbours might be of one stage.
        return _present(node) if self._has_sequence else node

    def stages(self) -> list[str]:
        """Return the names of all stages that have a section or stand in an order."""
        return self._sorted({*self.entries, *self._named()} - {"order"})

    def _drawn(self, name: str) -> Node | None:
        """Return the node that a stage is drawn from; a repeat has one, and one's own stage."""
        unusual = name not in EncoderConfig.model_fields
        return self.stage(name) or (_default_stage(self.kind, name) if unusual else None)

    def misplaced(self) -> list[str]:
        """Return the stages that have a section, could have layers, and stand in no order."""
        named = self._named()
        stages = ((n, self.stage(n)) for n in self._sorted(self.entries) if n not in named)
        return [name for name, node in stages if node is not None and node.count() > absences(node)]

    def always_absent(self) -> list[str]:
        """Return the stages of a sequence whose sections have 0 layers only."""
        names = self._named() if self._has_sequence else set()
        given = [name for name in self._sorted(names) if name in self.entries]
        return [n for n in given if self.entries[n] != Fixed(None) and self.stage(n) is None]

    def without_section(self) -> list[str]:
        """Return the repeats in orders written out that have no section of their own."""
        named = {name for listed in written_out(self._order()) for name in listed}
        return [
            name
            for name in self._sorted(named)
            if name != self._stage_of(name) and self.entries.get(name, Fixed(None)) == Fixed(None)
        ]

    @override
    def params(self, target: Any, path: str) -> dict[str, Any]:
        if not isinstance(target, dict):
            raise OutsideError(path, target, flow(self.plain()))
        order, present = _arrangement(target, self._sorted({*target, *stages_of(self.kind)}))
        shown = sorted(present) if order is None else order
        outside = OutsideError(join(path, "order"), shown, flow(self._order().plain()))
        # A choice of orders may contain the same stages several times, each with other
        # parameters.
        for found, places in self._arrangements(order, present, join(path, "order")):
            try:
                return found | self._stage_params(target, places, path)
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
        missing = [int(self._can_miss(name)) for name in order.items]
        ways = [self._ways(name) - miss for name, miss in zip(order.items, missing, strict=True)]
        total = 0
        for absent in itertools.product(*(range(miss + 1) for miss in missing)):
            kept = [at for at, is_absent in enumerate(absent) if not is_absent]
            orders = len(order.orders([order.items[at] for at in kept]))
            total += orders * math.prod(ways[at] for at in kept)
        return total

    @cached_property
    def _has_sequence(self) -> bool:
        return makes_sequences(self._order())

    def _order(self) -> Node:
        return self.entries.get("order") or default_node(EncoderConfig, "order")

    def _stage_of(self, name: str) -> str:
        return stage_of(name, stages_of(self.kind))

    def _sorted(self, names: Iterable[str]) -> list[str]:
        """Return those names that are of stages, as the configuration's class has the stages."""
        places = {name: place for place, name in enumerate(stages_of(self.kind))}
        known = [name for name in names if self._stage_of(name) in places]
        return sorted(known, key=lambda name: (places[self._stage_of(name)], len(name), name))

    def _named(self) -> set[str]:
        return {name for listed in self._lists() for name in listed}

    def _lists(self) -> list[Sequence[str]]:
        """Return every list of stages that can be drawn; a permutation is one."""
        order = self._order()
        if isinstance(order, Permutation):
            return [order.items]
        return [listed for _, listed in orders_of(order, "order")]

    def _arrangements(
        self, order: list[str] | None, present: set[str], path: str
    ) -> Iterator[tuple[dict[str, Any], dict[str, str | None]]]:
        """Yield the parameters of every order that these stages could come from.

        With them come the names in it, each with the target's stage that stands there. None: that
        stage is absent, and so a target's ``conv`` may stand in the place of a ``conv_2``.
        """
        node = self._order()
        if isinstance(node, Permutation):
            for places in self._placed(node.items, order or sorted(present), fixed=order is None):
                names = {stage: name for name, stage in places.items() if stage is not None}
                drawn = [names[stage] for stage in order or ()]
                if order is None or in_turn(drawn, node.items):
                    yield ({} if order is None else node.params(drawn, path)), places
            return
        fitting = []
        for found, listed in orders_of(node, path):
            if order is not None and self._has_sequence:
                if list(listed) == order:  # of a sequence nothing can be absent
                    yield found, {name: name for name in listed}
                continue
            if order is None:
                if {name for name in listed if name in present} == present:
                    fitting.append((found, {n: n if n in present else None for n in listed}))
                continue
            for places in self._placed(listed, order, fixed=False):
                if [stage for stage in places.values() if stage is not None] == order:
                    fitting.append((found, places))
        # Those that leave out least come first.
        yield from sorted(fitting, key=lambda item: sum(s is None for s in item[1].values()))

    def _placed(
        self, names: Sequence[str], stages: Sequence[str], fixed: bool
    ) -> Iterator[dict[str, str | None]]:
        """Yield every way to give stages places of their kind, in turn; ``fixed``: by name."""
        if fixed:
            if {*stages} <= {*names}:
                yield {name: name if name in stages else None for name in names}
            return
        wanted: dict[str, list[str]] = {}
        for stage in stages:
            wanted.setdefault(self._stage_of(stage), []).append(stage)
        places: dict[str, list[str]] = {}
        for name in names:
            places.setdefault(self._stage_of(name), []).append(name)
        if not {*wanted} <= {*places}:
            return
        ways = [
            [
                dict(zip(chosen, those, strict=True))
                for chosen in itertools.combinations(places[kind], len(those))
            ]
            for kind, those in wanted.items()
        ]
        for way in itertools.product(*ways):
            given = {name: stage for part in way for name, stage in part.items()}
            yield {name: given.get(name) for name in names}

    def _stage_params(
        self, target: dict[str, Any], places: dict[str, str | None], path: str
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in self._sorted(places):
            stage = places[name]
            wanted = None if stage is None else target.get(stage) or {}
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


def _present(node: Node) -> Node | None:
    """Return the node of a stage without its absence, None where nothing is left."""
    if isinstance(node, StageSection):
        layers = above_zero(node.entries.get("layers") or default_node(node.kind, "layers"))
        return None if layers is None else replace(node, entries={**node.entries, "layers": layers})
    if isinstance(node, Choice):
        kept = tuple(option for each in node.options if (option := _present(each)) is not None)
        return Choice(kept) if kept else None
    return None if node == Fixed(None) else node


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
