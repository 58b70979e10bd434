"""Parts of a model that a training leaves as they are, and those that learn slower than others."""

from __future__ import annotations

from typing import Any

from torch import nn

from emgmodels.config import Factors, TrainingConfig
from emgmodels.network.network import Network


class FrozenParts:
    """The parts of a model that stay as they are, all the time or in the first epochs.

    Args:
        model: the model.
        training: which parts, and for how long.
    """

    def __init__(self, model: Network, training: TrainingConfig) -> None:
        parts = model.parts()
        self._parts = [parts[name] for name in training.freeze]
        self._epochs = training.freeze_epochs
        # What was frozen before, as layers of a language model are, stays so.
        self._weights = [p for part in self._parts for p in part.parameters() if p.requires_grad]
        modules = [module for part in self._parts for module in part.modules()]
        # A recurrent layer drops out between its layers by a number of its own.
        self._recurrent = [(m, m.dropout) for m in modules if isinstance(m, nn.RNNBase)]
        if self._epochs is None:
            self._require(False)

    def at(self, epoch: int) -> None:
        """Freeze them or let them learn, as it is in an epoch; the model is in training mode."""
        learns = self._epochs is not None and epoch > self._epochs
        if self._epochs is not None:
            self._require(learns)
        for layers, dropout in self._recurrent:
            layers.dropout = dropout if learns else 0.0
        if learns:
            return
        for module in (module for part in self._parts for module in part.modules()):
            # Statistics of a norm stay too, and nothing is dropped. A recurrent layer stays in
            # training mode, because cuDNN gives no gradients otherwise.
            if not isinstance(module, nn.RNNBase):
                module.training = False

    def _require(self, gradients: bool) -> None:
        for weight in self._weights:
            weight.requires_grad_(gradients)


def groups_of(model: Network, heads: nn.Module, factors: Factors | None) -> list[dict[str, Any]]:
    """Return the weights that are trained, in groups that learn at the same rate.

    Args:
        model: the model.
        heads: trained with it, at the learning rate itself.
        factors: by part; None: all learn at the learning rate.

    Returns:
        ``params`` and ``factor`` of each group, an optimizer's parameter groups.
    """
    given = {} if factors is None else factors.given()
    of = {id(p): given[name] for name in given for p in model.parts()[name].parameters()}
    groups: dict[float, list[nn.Parameter]] = {}
    for weight in (*model.parameters(), *heads.parameters()):
        if weight.requires_grad:
            groups.setdefault(of.get(id(weight), 1.0), []).append(weight)
    return [{"params": weights, "factor": factor} for factor, weights in groups.items()]
