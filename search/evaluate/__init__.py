"""What the winners of a search read in whole sessions: python -m search.evaluate RUN."""

from search.evaluate.evaluation import Evaluation, evaluate_trial
from search.evaluate.writing import write_table

__all__ = ["Evaluation", "evaluate_trial", "write_table"]
