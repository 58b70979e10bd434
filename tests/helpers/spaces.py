"""What tests of spaces share: a deep space, samples of any, the mistakes in one."""

from __future__ import annotations

import numpy as np
import pytest

from search.space import SpaceError
from search.space.draws import RandomDraw

DEEP = """
name: deep
model:
  electrodes: {choice: [4, 8, 16]}
  mlp_features: {choice: [256, 384]}
  encoder:
    order: {permutation: [transformer, recurrent, conv]}
    transformer: {layers: {choice: [0, 2, 4]}, heads: {choice: [4, 8]}}
    recurrent: {cell: {choice: [gru, lstm]}, layers: {int: [0, 4]}, hidden: {choice: [128, 256]}}
    conv: {layers: {choice: [0, 2, 4, 6, 8]}, channels: 24, kernel: 32}
training: {epochs: 50, learning_rate: {float: [3e-4, 3e-3], log: true}}
"""


def samples(space, count=50, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        draw = RandomDraw(rng)
        yield space.suggest(draw), draw.params


def mistakes(space_of, text, **options):
    with pytest.raises(SpaceError) as caught:
        space_of(text, **options)
    return caught.value.mistakes
