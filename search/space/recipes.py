"""Recipes of training in a space file: a name, replaced by the keys that it stands for.

A recipe gives its keys where it stands: what an extended file says gives way to them, keys beside
the name win over them, and so does what comes later. Below a choice each option is filled by
itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from emgmodels.config import RECIPES, defaults_of
from search.space.files import Layer
from search.space.parsing import DISTRIBUTIONS, is_entry


def with_recipes(layers: Sequence[Layer]) -> list[Layer]:
    """Return layers of which each ``training`` section has the keys of the recipe it names."""
    found = [dataclasses.replace(layer, values=_replaced(layer.values)) for layer in layers]
    # An override of one key wins over that of a recipe, in whatever order they were typed.
    return sorted(found, key=lambda each: each.override and each.keys != ("training", "recipe"))


def _replaced(values: dict[str, Any]) -> dict[str, Any]:
    found = dict(values)
    if "training" in values:
        found["training"] = _expanded(values["training"])
    if "model" in values:
        found["model"] = _inside(values["model"])
    if isinstance(values.get("demo"), dict):
        found["demo"] = _replaced(values["demo"])
    return found


def _inside(model: Any) -> Any:
    """Return a choice of architectures whose own trainings have their recipe's keys."""
    if isinstance(model, dict) and isinstance(model.get("choice"), list):
        return {**model, "choice": [_inside(option) for option in model["choice"]]}
    if is_entry(model) and "training" in model:
        return {**model, "training": _expanded(model["training"])}
    return model


def _expanded(training: Any) -> Any:
    """Return a ``training`` section with its recipe's keys; what is in error is left as it is."""
    if not isinstance(training, dict):
        return training
    if isinstance(options := training.get("choice"), list):
        return {**training, "choice": [_expanded(option) for option in options]}
    recipe = training.get("recipe")
    if recipe is not None and not (isinstance(recipe, str) and recipe in RECIPES):
        return training
    rest = {key: value for key, value in training.items() if key != "recipe"}
    return rest if recipe is None else _filled(rest, defaults_of(recipe, rest))


def _filled(given: Any, defaults: Mapping[str, Any]) -> Any:
    """Return a mapping, or each mapping of a choice, with the keys that it leaves out."""
    if not isinstance(given, dict):
        return given
    if isinstance(options := given.get("choice"), list):
        return {**given, "choice": [_filled(option, defaults) for option in options]}
    if any(key in DISTRIBUTIONS for key in given):
        return given
    found = {**defaults, **given}
    for key, value in defaults.items():
        if isinstance(value, dict) and key in given:
            found[key] = _filled(given[key], value)
    return found
