"""Training: ``fit`` yields one result per epoch and leaves everything else to its caller.

To train one model without the search:

    python -m emgmodels.training runs/deep-001/best.yaml --data DIR
"""

from emgmodels.devices import best_device
from emgmodels.training.fit import EpochResult, fit

__all__ = ["EpochResult", "best_device", "fit"]
