"""From session files to batches of windows, through memory-mapped recordings.

A session file is converted once per machine into a *recording*: the EMG as a memory-mapped array,
electrode by electrode so that a window is a few contiguous reads, and the ground truth as sorted
arrays. All trials on a machine share its pages. The cache lies in ``$EMGSEARCH_CACHE``, or in
``~/.cache/emgsearch``, and is keyed by content: a changed file is converted again, a renamed or
copied one is not. In a folder that holds other things it has one of its own, ``emgsearch-cache``.
To look at it:

    python -m emgmodels.windows list
    python -m emgmodels.windows clear
"""

from emgmodels.windows.batches import (
    Batch,
    Cut,
    batches,
    cut_for,
    milliseconds,
    mirrored,
    prompt_batch,
    usable_rotation,
    window_starts,
)
from emgmodels.windows.cache import open_split, prepare
from emgmodels.windows.device import DeviceRecordings, recordings_on
from emgmodels.windows.home import (
    cache_folder,
    fetched_folder,
    is_fetched,
    make_home,
    naming_cache,
    note_fetched,
    settle_paths,
)
from emgmodels.windows.prompts import longest_prompt, prompt_groups, prompt_windows
from emgmodels.windows.recording import (
    VALIDATION_SECONDS,
    Recording,
    check_recordings,
    check_times,
    frames_for_keys,
)

__all__ = [
    "VALIDATION_SECONDS",
    "Batch",
    "Cut",
    "DeviceRecordings",
    "Recording",
    "batches",
    "cache_folder",
    "check_recordings",
    "check_times",
    "cut_for",
    "fetched_folder",
    "frames_for_keys",
    "is_fetched",
    "longest_prompt",
    "make_home",
    "milliseconds",
    "mirrored",
    "naming_cache",
    "note_fetched",
    "open_split",
    "prepare",
    "prompt_batch",
    "prompt_groups",
    "prompt_windows",
    "recordings_on",
    "settle_paths",
    "usable_rotation",
    "window_starts",
]
