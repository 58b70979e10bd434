"""Training: ``fit`` yields one result per epoch and leaves everything else to its caller.

To train one model without the search:

    python -m emgmodels.training runs/deep-001/best.yaml --data DIR
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emgmodels.lazy import offered

if TYPE_CHECKING:
    from emgmodels.compute.devices import best_device
    from emgmodels.training.fit import fit
    from emgmodels.training.result import EpochResult

__all__ = ["EpochResult", "best_device", "fit"]

__getattr__ = offered(
    __name__,
    {
        "EpochResult": "emgmodels.training.result",
        "best_device": "emgmodels.compute.devices",
        "fit": "emgmodels.training.fit",
    },
)
