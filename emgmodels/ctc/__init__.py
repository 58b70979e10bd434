"""Connectionist temporal classification (Graves et al. 2006): loss, aligned start, decoding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emgmodels.lazy import offered

if TYPE_CHECKING:
    from emgmodels.ctc.beam import BeamSearch, beam_decode
    from emgmodels.ctc.greedy import greedy_decode
    from emgmodels.ctc.loss import aligned_loss, ctc_loss

__all__ = ["BeamSearch", "aligned_loss", "beam_decode", "ctc_loss", "greedy_decode"]

__getattr__ = offered(
    __name__,
    {
        "BeamSearch": "emgmodels.ctc.beam",
        "aligned_loss": "emgmodels.ctc.loss",
        "beam_decode": "emgmodels.ctc.beam",
        "ctc_loss": "emgmodels.ctc.loss",
        "greedy_decode": "emgmodels.ctc.greedy",
    },
)
