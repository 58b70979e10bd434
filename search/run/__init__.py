"""Searches a space of architectures on session files and prints a ranking.

python -m search.run spaces/deep.yaml                          a demo on a synthetic typist
python -m search.run spaces/deep.yaml --data DIR               on emg2qwerty's session files
python -m search.run spaces/deep.yaml --data DIR --trials 200 --set training.batch_size=16
"""

from search.run.command import app
from search.run.searching import resume, scheduler_of, search

__all__ = ["app", "resume", "scheduler_of", "search"]
