"""From a configuration to a model, and what can be said of it without training it.

    python -m emgmodels.factory "transformer:2 gru:4 conv:4 @16ch"

prints the stages of an architecture with their shapes, its parameters, multiply-accumulates and
look-ahead. The compact notation is written by ``notation`` and read by ``parse_notation``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emgmodels.config import ModelConfig
    from emgmodels.network.network import Network


def build(config: ModelConfig, seed: int = 0) -> Network:
    """Return the model of a configuration with initial weights that follow from the seed."""
    import torch

    from emgmodels.network.network import Network

    # Initial weights follow from the seed, and the caller's random numbers stay as they are.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(config)


if __name__ == "__main__":
    from emgmodels.network.show import app

    app(prog_name="python -m emgmodels.factory")
