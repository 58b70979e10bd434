"""What tests of session files share: a session, and ways to spoil its file."""

import dataclasses

import h5py
import numpy as np

from emgmodels.sessions import (
    Keystroke,
    Prompt,
    Session,
)

BEGIN = 1.6e9


def make_session(samples=2000, **changes):
    session = Session(
        name="s",
        user="u",
        condition="on_keyboard",
        duration_mins=samples / 120_000,
        time=BEGIN + np.arange(samples) / 2000,
        emg=np.random.default_rng(0).standard_normal((samples, 2, 16), dtype=np.float32),
        keystrokes=(
            Keystroke("Key.shift_l", BEGIN + 0.1, BEGIN + 0.3),
            Keystroke("A", BEGIN + 0.2, BEGIN + 0.25),
            Keystroke("Key.space", BEGIN + 0.4, BEGIN + 0.5),
        ),
        prompts=(
            Prompt("text_prompt", BEGIN, BEGIN + 0.5, "“Hi” you"),
            Prompt("pause", BEGIN + 0.5, BEGIN + 0.6, None),
            Prompt("text_prompt", BEGIN + 0.6, BEGIN + 0.9, "done⏎"),
        ),
    )
    return dataclasses.replace(session, **changes)


def edit(path, change):
    """Apply ``change`` to the open group of a session file."""
    with h5py.File(path, "r+") as file:
        change(file["emg2qwerty"])


def replace_timeseries(path, rows):
    def change(group):
        del group["timeseries"]
        group["timeseries"] = rows

    edit(path, change)


def change_rows(field, sample, value):
    def change(group):
        rows = group["timeseries"][:]
        rows[field][sample] = value
        group["timeseries"][:] = rows

    return change
