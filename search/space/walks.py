"""Questions that are answered by walking over the nodes of a space."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from search.space.distributions import Choice, Fixed, Node
from search.space.sections import EncoderSection, Section, join


def varying(node: Node, path: str, chosen: bool = False) -> Iterator[str]:
    """Yield the names of what varies below a node; inside a choice, of everything."""
    if isinstance(node, EncoderSection):
        # Repeats that a sequence draws have no entry of their own.
        stages = {name: node.stage(name) for name in node.stages()}
        for name, entry in {"order": node.entries.get("order"), **stages}.items():
            if entry is not None:
                yield from varying(entry, join(path, name), chosen)
    elif isinstance(node, Section):
        for name, entry in node.entries.items():
            yield from varying(entry, join(path, name), chosen)
    elif isinstance(node, Choice):
        for option in node.options:
            yield from varying(option, path, chosen or len(node.options) > 1)
    elif chosen or not isinstance(node, Fixed):
        yield path


def of_each(node: Node, name: str) -> Node:
    """Return a choice of the models alone, or of the trainings, of architectures with both."""
    if isinstance(node, Choice):
        return Choice(tuple(of_each(option, name) for option in node.options))
    assert isinstance(node, Section)
    return node.entries[name]


def fixed_values(node: Node, name: str, default: Any) -> set[Any]:
    """Return every value that a key of a section can have; None stands for a range."""
    if isinstance(node, Choice):
        return {v for option in node.options for v in fixed_values(option, name, default)}
    if isinstance(node, Section):
        return fixed_values(node.entries[name], name, None) if name in node.entries else {default}
    return {node.value if isinstance(node, Fixed) else None}
