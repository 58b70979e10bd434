"""Reads a space file, and finds every mistake in it before anything starts."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from emgmodels.config import Config, ModelConfig, TrainingConfig, validated
from emgmodels.saying import counted
from search.space.distributions import OutsideError
from search.space.draws import RandomDraw
from search.space.feasibility import without_numbers
from search.space.files import Layer, merged, read_layers
from search.space.merging import Merge, entries_of, has_entry
from search.space.own import take_own
from search.space.parsing import (
    SpaceError,
    misplaced_stages,
    parse_section,
    read_notation,
    rule,
)
from search.space.recipes import with_recipes
from search.space.sections import section
from search.space.settings import Constraints, DataConfig, SpaceFile, TypistConfig
from search.space.space import LARGEST_GRID, Space, partial
from search.space.start import start_mistakes, take_start
from search.space.walks import of_each

_TRAININGS = 20
"""Trainings of a space that are tried for contradictions."""


def load_space(
    path: str | Path,
    *,
    demo: bool = False,
    overrides: str | Sequence[str] = (),
    imports: bool = True,
) -> Space:
    """Read and validate a space file.

    Args:
        path: the YAML file.
        demo: also apply the ``demo`` section, for a search without data.
        overrides: ``path.to.key=value``, applied last; the value is YAML and may be a distribution.
            Architectures of ``search.start_with`` that they leave no room for are left out.
        imports: import code of the user's own, for its settings; without it, its files are not
            read either, any settings are taken, and nothing can be built, as a report needs.

    Raises:
        SpaceError: every mistake found, each with file, path, value and rule.
    """
    path = Path(path)
    overrides = [overrides] if isinstance(overrides, str) else overrides
    own, layers = take_own(read_layers(path, overrides), path, imports)
    layers = with_recipes(layers)
    merge = merged(layers, demo, own.file)
    mistakes = _layer_mistakes(layers, merge, own.file)
    if mistakes:
        raise SpaceError(mistakes)
    values = merge.values
    checkpoint = take_start(values, path, own.file, imports, mistakes)
    together = has_entry(values.get("model"))
    if together:
        values["model"] = entries_of(values["model"], values.pop("training", {}), own.file)
    entries = parse_section(values, own.file, "", mistakes).entries
    mistakes += misplaced_stages(section(own.file, entries), "")
    known = values.get("search", {}).get("start_with") or ()
    for index, start in enumerate(known):
        _check_notation(start, f"search.start_with[{index}]", mistakes, own.model)
    try:
        search = validated(own.search, values.get("search", {}))
        constraints = validated(Constraints, values.get("constraints", {}))
        data = validated(DataConfig, values.get("data", {}))
        typist = values.get("typist") and validated(TypistConfig, values["typist"])
    except ValidationError as error:
        where = [part for part in error.errors()[0]["loc"] if isinstance(part, str)]
        mistakes.append(f"{'.'.join(['search', *where])}: {rule(error)}")
    if not mistakes:
        model = entries.get("model") or section(own.model, {})
        training = entries.get("training") or section(TrainingConfig, {})
        space = Space(
            name=values.get("name") or _file_name(path),
            model=of_each(model, "model") if together else model,
            training=of_each(model, "training") if together else training,
            constraints=constraints,
            search=search,
            data=data,
            typist=typist,
            own=own,
            together=model if together else None,
            start=checkpoint,
            file=str(path),
        )
        space = _narrowed(space, layers)
        mistakes += _search_mistakes(space)
        if imports:  # else parts of the user's own cannot be validated
            mistakes += _contradictions(space) or start_mistakes(space.start, _some(space))
    if mistakes:
        raise SpaceError(f"{path}: {mistake}" for mistake in mistakes)
    return space


def _layer_mistakes(layers: Sequence[Layer], merge: Merge, kind: type[SpaceFile]) -> list[str]:
    """Return what is wrong in each file and override by itself, and between them."""
    mistakes = []
    for layer in layers:
        found: list[str] = []
        parse_section(layer.values, kind, "", found)
        mistakes += [
            f"{layer.label}: {mistake}"
            for mistake in found
            if not any(
                layer.label == label and mistake.removeprefix("demo.").startswith(where)
                for label, where in merge.mistakes
            )
        ]
    return [*mistakes, *merge.mistakes.values()]


def _narrowed(space: Space, layers: Sequence[Layer]) -> Space:
    """Return a space without the start points of its file that overrides have excluded."""
    overrides = [layer.values for layer in layers if layer.override]
    narrowed = any(values.keys() & {"model", "training", "constraints"} for values in overrides)
    if not narrowed or any("start_with" in values.get("search", {}) for values in overrides):
        return space
    kept = tuple(known for known in space.search.start_with if not space.start_mistake(known))
    search = space.search.model_copy(update={"start_with": kept})
    return dataclasses.replace(space, search=search)


def _check_notation(start: Any, path: str, mistakes: list[str], kind: type[ModelConfig]) -> None:
    """Find what is wrong with a start point, apart from the space."""
    if isinstance(start, dict):
        parse_section(start, kind, path, mistakes, searched=False)
        return
    read_notation(start, path, mistakes, kind)


def _search_mistakes(space: Space) -> Iterator[str]:
    """Yield what a search cannot do with a space that is right in itself."""
    for index, known in enumerate(space.search.start_with):
        try:
            space.params_of({"model": partial(known, space.own.model)})
        except OutsideError as error:
            yield f"search.start_with[{index}]: {error}"
    search = space.search
    learns = search.sampler.name not in ("grid", "random", "quasirandom")
    if search.repeats > 1 and (learns or search.scheduler.name != "none"):
        yield (
            f"search.repeats: {counted(search.repeats, 'seed')} of each suggestion are trained to "
            f"the "
            f"end: take sampler grid, random or quasirandom, which learn from no seed's luck, and "
            f"scheduler none; or search with one seed, then --confirm K --repeats N"
        )
    if space.search.sampler.name == "grid":
        try:
            next(space.grid())
        except ValueError as error:
            yield f"search.sampler: grid: {error}"
        except StopIteration:
            pass  # check() says why nothing can be built
        if (space.size or 0) > LARGEST_GRID:
            yield (
                f"search.sampler: grid: the space has "
                f"{counted(space.size or 0, 'configuration')}, more than "
                f"{LARGEST_GRID:,}: take tpe, random or quasirandom"
            )


def _contradictions(space: Space) -> list[str]:
    """Return which settings contradict each other in every training of a space.

    Of lines that differ in their numbers alone the first is an example of all.
    """
    rng = np.random.default_rng(0)
    found: dict[str, str] = {}
    for _ in range(_TRAININGS):
        try:
            Config.model_validate(space.draw(RandomDraw(rng)))
        except ValidationError as error:
            # Of what is wrong with architectures, Space.check knows more.
            items = [item for item in error.errors() if item["loc"][:1] != ("model",)]
            if not items:
                return []
            for item in items:
                path = ".".join(map(str, item["loc"]))
                text = item["msg"].removeprefix("Value error, ")
                line = f"{path}: {text}" if path else text
                found.setdefault(without_numbers(line), line)
        else:
            return []
    return list(found.values())


def _some(space: Space) -> Iterator[Config]:
    """Yield some trainings of a space, whether or not they can be trained."""
    rng = np.random.default_rng(0)
    for _ in range(_TRAININGS):
        with contextlib.suppress(ValueError):
            yield space.suggest(RandomDraw(rng))


def _file_name(path: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-.")[:64] or "space"
