"""Training: ``fit`` yields one result per epoch and leaves everything else to its caller.

To train one model without the search:

    python -m emgmodels.training runs/deep-001/best.yaml --data DIR
"""

from emgmodels.training.fit import EpochResult, best_device, fit

__all__ = ["EpochResult", "best_device", "fit"]
