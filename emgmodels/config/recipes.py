"""Published settings of training, each as a whole under one name.

A recipe gives defaults to the mapping that names it: a key that stands beside it wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

RecipeName = Literal["emg2qwerty", "report"]

_EMG2QWERTY: dict[str, Any] = {
    "epochs": 150,
    "batch_size": 32,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "schedule_by": "epoch",
    "warmup_epochs": 10,
    "start_learning_rate": 1e-8,
    "final_learning_rate": 1e-6,
    "weight_decay": 0.0,
    "gradient_clip": None,
    "window_seconds": 4.0,
    "past_seconds": 0.9,
    "future_seconds": 0.1,
    "augmentation": {
        "rotation": 1,
        "band_jitter_ms": 60.0,
        "time_masks": 3,
        "time_mask_ms": 200.0,  # 25 frames at the published hop of 16 samples
        "frequency_masks": 2,
        "frequency_mask_bins": 4,
        "mask_scope": "electrode",
        "mask_fill": "zero",
        "electrode_dropout": 0.0,
        "gain_jitter_db": 0.0,
        "noise_jitter": 0.0,
        "time_stretch": 0.0,
        "window_jitter": True,
        "random_crop": 1.0,
    },
    "aligned_start": None,
    "average": None,
    "intermediate_ctc": None,
}

RECIPES: dict[str, dict[str, Any]] = {
    "emg2qwerty": _EMG2QWERTY,
    "report": {**_EMG2QWERTY, "epochs": 50},
}
"""Recipes by name: keys of a ``training`` section."""
ALTERNATIVES = (("warmup_steps", "warmup_epochs"), ("ema", "last_epochs"))
"""Keys of a ``training`` section, or of one in it, that say the same thing: one is given."""


def displaced(given: Mapping[str, Any], earlier: Mapping[str, Any] | None = None) -> set[str]:
    """Return the keys whose earlier values do not stand beside those given.

    Args:
        given: keys of a ``training`` section, or of one in it.
        earlier: the values that they are added to; None: they are a whole section.
    """
    found = set()
    # Without clipping an aligned start fails, and recipes have none.
    starts_aligned = given.get("aligned_start") is not None
    if starts_aligned and (earlier or {}).get("gradient_clip", 1.0) is None:
        found.add("gradient_clip")
    for one, other in ALTERNATIVES:
        for key, rival in ((one, other), (other, one)):
            if given.get(key) is not None and given.get(rival) is None:
                found.add(rival)
    return found


def defaults_of(recipe: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys that a recipe gives to a mapping with these keys of its own."""
    gone = displaced(given, RECIPES[recipe])
    return {key: value for key, value in RECIPES[recipe].items() if key not in gone}


def with_recipe(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain values of a training with those of the recipe that they name, if any.

    A name that is no recipe is left for the validation of the field.
    """
    values = dict(given)
    recipe = values.get("recipe")
    if not (isinstance(recipe, str) and recipe in RECIPES):
        return values
    del values["recipe"]
    defaults = defaults_of(recipe, values)
    own = values.get("augmentation", {})
    if isinstance(own, Mapping):
        values["augmentation"] = {**defaults["augmentation"], **own}
    return {**defaults, **values}
