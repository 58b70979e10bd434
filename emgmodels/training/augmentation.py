"""Random changes of training windows by code of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from emgmodels.config import AugmentationConfig, Frozen, OwnPart, own_sections
from emgmodels.own_code import CodeError, explained, load_class


class Augmentation:
    """A random change of training windows; the base of those of the user's own.

    Shapes: ``N`` windows, ``B`` bands, ``E`` electrodes used of each band, ``S`` samples,
    ``T`` frames, ``F`` frequency bins. A change keeps the shape, and alters no tensor in place.

    Attributes:
        settings: class of its configuration.
    """

    settings: type[Frozen] = Frozen

    def __init__(self, config: Any) -> None:
        self.config = config

    def emg(self, emg: Tensor, generator: torch.Generator) -> Tensor:
        """Return changed (N, B, E, S) samples at 2 kHz.

        Args:
            emg: the windows with their context.
            generator: on the CPU; its numbers follow from seed and epoch.
        """
        return emg

    def features(self, features: Tensor, generator: torch.Generator) -> Tensor:
        """Return changed (N, B, E, T, F) log power, after the masks of SpecAugment."""
        return features


class OwnAugmentations:
    """The augmentations of the user's own that a training has, one after the other."""

    def __init__(self, config: AugmentationConfig) -> None:
        """Make them.

        Raises:
            CodeError: code is not loaded, fails, or is no augmentation.
        """
        self._parts = [(name, _made(name, part)) for name, part in own_sections(config)]

    def emg(self, emg: Tensor, generator: torch.Generator) -> Tensor:
        """Return changed (N, B, E, S) samples."""
        return self._changed([(name, part.emg) for name, part in self._parts], emg, generator)

    def features(self, features: Tensor, generator: torch.Generator) -> Tensor:
        """Return changed (N, B, E, T, F) log power."""
        steps = [(name, part.features) for name, part in self._parts]
        return self._changed(steps, features, generator)

    def _changed(
        self,
        steps: Sequence[tuple[str, Callable[[Tensor, torch.Generator], Tensor]]],
        tensor: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        for name, step in steps:
            changed = step(tensor, generator)
            if changed.shape != tensor.shape:
                shapes = f"{tuple(tensor.shape)} to {tuple(changed.shape)}"
                raise CodeError(f"augmentation '{name}': maps {shapes}: it must keep the shape")
            tensor = changed
        return tensor


def _made(name: str, part: OwnPart) -> Augmentation:
    what = f"augmentation '{name}'"
    derives = "emgmodels.training.augmentation.Augmentation"
    kind = load_class(part.code, Augmentation, what, derives)
    with explained(what, part.code):
        return kind(part.settings())
