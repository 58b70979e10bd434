"""How beam search decodes where nobody says otherwise; chosen on synthetic validation sessions."""

# A module of its own, so that --help shows the defaults without loading PyTorch.
WIDTH = 50
"""Prefixes that are kept at each frame."""
LABELS = 20
"""Labels that are tried at each frame."""
WEIGHT = 1.38
"""Weight of the language model's log10 probabilities."""
BONUS = 1.0
"""For each key that the language model scores."""
