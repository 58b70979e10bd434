"""Connectionist temporal classification (Graves et al. 2006): loss, aligned start, decoding."""

from emgmodels.ctc.beam import BeamSearch, beam_decode
from emgmodels.ctc.greedy import greedy_decode
from emgmodels.ctc.loss import aligned_loss, ctc_loss

__all__ = ["BeamSearch", "aligned_loss", "beam_decode", "ctc_loss", "greedy_decode"]
