"""What the winners of a search read in whole sessions: python -m search.evaluate RUN."""
