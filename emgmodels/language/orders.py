"""Which language models can be built."""

# A module of its own, so that --help knows them without loading numpy.
ORDERS = range(2, 7)
"""Lengths of n-grams that can be estimated."""
