"""From session files to batches of windows, through memory-mapped recordings.

A session file is converted once per machine into a *recording*. That is the EMG as a memory-mapped
array and the ground truth as sorted arrays. The EMG lies electrode by electrode, so that a window
is a few contiguous reads. All trials on a machine share its pages. The cache lies in
``$EMGSEARCH_CACHE``, or in ``~/.cache/emgsearch``, and is keyed by content: a changed file is
converted again, a renamed or copied one is not. In a folder that holds other things it has one of
its own, ``emgsearch-cache``. To look at it:

    python -m emgmodels.windows list
    python -m emgmodels.windows clear
"""
