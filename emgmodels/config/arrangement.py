"""Which stages an encoder's ``order`` means, and the one form that equal arrangements have.

Here a section is a stage's configuration, or its values as YAML or JSON has them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic import ValidationInfo, ValidatorFunctionWrapHandler

from emgmodels.config.base import Frozen, section_kind
from emgmodels.config.own import CODE, names_code
from emgmodels.config.stage_names import before, is_numbered, numbered, stage_of

Sections = Mapping[str, Any]


class Repeat:
    """A section whose stage follows from its name: that of ``conv_2`` is one of ``conv``."""

    def __init__(self, kind: type[Frozen], values: Any) -> None:
        self.kind, self.values = kind, values


def section_of_name(value: Any, own: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    """Return a repeat's section as one of its stage, and any other as one of the user's own."""
    if not isinstance(value, Repeat):
        return own(names_code(value))
    if info.mode == "json":  # where no value may be turned into another
        return value.kind.model_validate_json(json.dumps(value.values), strict=True)
    return value.kind.model_validate(value.values)


def layers_of(section: Any) -> Any:
    """Return the layers that a section gives, None where it leaves them out."""
    return _given(section).get("layers")


def stages_of_names(
    encoder: type[Frozen], names: Sequence[str], sections: Sections
) -> dict[str, str]:
    """Return the stage that each name stands for: its own, or the one that it repeats."""
    if not any(map(is_numbered, names)):
        return {name: name for name in names}
    fields = {*encoder.model_fields} - {"order"}
    own = {name for name in names if CODE in _given(sections.get(name))}
    found = {}
    for name in names:
        known = (fields | own) - ({name} - fields)
        stage = stage_of(name, known)
        # A stage of the user's own may have a name that looks like a repeat's.
        code = _given(sections.get(name)).get(CODE)
        is_repeat = code in (None, _code(encoder, stage, sections))
        found[name] = stage if is_repeat else name
    return found


def check_numbers(
    order: Sequence[str], stages: Mapping[str, str], sections: Sections, absent: Collection[str]
) -> None:
    """Refuse a repeat before the stage that it repeats, and one without a section.

    Raises:
        ValueError: it says which, and what would be right.
    """
    for index, name in enumerate(order):
        stage = stages[name]
        if stage == name:
            continue
        if before(name) not in (*order[:index], *absent):
            raise ValueError(
                f"order has {name} and no {before(name)} before it ({', '.join(order)}): stages "
                f"are numbered from input to output: {stage}, {stage}_2, {stage}_3"
            )
        if sections.get(name) is None:
            raise ValueError(
                f"order has {name}, and there is no section of that name: add {name}: {{...}} "
                f"with its settings, as {stage}: {{...}} has them"
            )


def canonical(
    fields: Collection[str],
    order: Sequence[str],
    stages: Mapping[str, str],
    sections: Sections,
    absent: Collection[str],
) -> tuple[list[str], dict[str, Any]]:
    """Return order and sections as equal architectures have them equal.

    Stages that are absent are dropped, and repeats are numbered from input to output.
    """
    listed: list[tuple[str, Any]] = []
    for name in order:
        stage, section = stages[name], sections.get(name)
        if name in absent:
            continue
        if name != stage and section is not None and CODE not in _given(section):
            code = _given(sections.get(stage)).get(CODE)  # which may stand with the first alone
            section = {CODE: code, **_given(section)} if code else section
        listed.append((stage, section))
    names = numbered(stage for stage, _ in listed)
    found: dict[str, Any] = dict.fromkeys(name for name in sections if name in fields)
    found |= {n: value for n, value in sections.items() if n not in order and n not in absent}
    found |= {name: section for name, (_, section) in zip(names, listed, strict=True)}
    return names, found


def _given(section: Any) -> dict[str, Any]:
    return dict(section) if isinstance(section, dict | Frozen) else {}


def _code(encoder: type[Frozen], stage: str, sections: Sections) -> str | None:
    """Return the code of a stage of the user's own, None for one of this project."""
    kind = section_kind(encoder, stage) if stage in encoder.model_fields else None
    usual = kind.model_fields[CODE].default if kind and CODE in kind.model_fields else None
    return _given(sections.get(stage)).get(CODE, usual)
