"""The winners of a search on whole sessions: ``evaluate``, or from a shell

python -m search.evaluate RUN
"""

from search.evaluate.evaluation import Evaluation, evaluate_trial
from search.evaluate.writing import write_table

__all__ = ["Evaluation", "evaluate_trial", "write_table"]
