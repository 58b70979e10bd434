"""What to train next: Optuna behind Ray Tune's ``Searcher``, with a durable study.

A trial that the scheduler stopped is ``PRUNED`` at its last epoch, with its validation CER of every
epoch. One that trained to the end is ``COMPLETE`` with its lowest. A training that diverged or
failed is pruned and marked infeasible, which ranks it last. Trials that are paused or still running
already count with what they have shown. Otherwise a scheduler that pauses most trials would keep
the sampler in the dark until the search is over. TPE sees all these as pruned; samplers that take
complete trials only, and TPE of several objectives, see them as complete with their lowest CER so
far.

Suggestions that cannot be trained, or that are equal to an earlier one, never reach a worker.
"""
