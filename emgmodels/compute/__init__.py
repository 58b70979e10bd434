"""How this machine computes: faster products on a CPU, transfers to a GPU, memory that is kept."""
