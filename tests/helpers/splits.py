"""What tests of splits share: small session files, split files, the published sessions."""

from __future__ import annotations

import dataclasses

import numpy as np
import yaml

from emgmodels.sessions import Session, write_session

RECORDED = """
06-02-1622679967 06-02-1622681518 06-02-1622682789 06-03-1622764398 06-03-1622765527
06-03-1622766673
06-04-1622861066 06-04-1622862148 06-04-1622863166 06-05-1622884635 06-05-1622885888
06-05-1622889105
07-21-1626915176 07-21-1626916256 07-21-1626917264 07-22-1627001995 07-22-1627003020
07-22-1627004019
"""
PUBLISHED = [
    f"2021-{recorded}-keystrokes-dca-study@1-0efbe614-9ae6-4131-9192-4398359b4f5f"
    for recorded in RECORDED.split()
]


def add(folder, *names, user="u"):
    for name in names:
        session = Session(
            name=name,
            user=user,
            condition="on_keyboard",
            duration_mins=0.0,
            time=1.6e9 + np.arange(4) / 2000,
            emg=np.zeros((4, 2, 16), np.float32),
            keystrokes=(),
            prompts=(),
        )
        write_session(folder / f"{name}.hdf5", session)


def write_split(path, train, val, test=(), user="u"):
    dataset = {
        subset: [{"user": owner, "session": name} for owner, name in entries]
        for subset, entries in (("train", train), ("val", val), ("test", test))
    }
    path.write_text(yaml.safe_dump({"user": user, "dataset": dataset}))
    return path


def recorded(path, seed=0, scale=1, **changes):
    """Write a session whose EMG follows from a seed, in the unit of a scale."""
    rng = np.random.default_rng(seed)
    session = Session(
        name=path.stem,
        user="anna",
        condition="on_keyboard",
        duration_mins=0.0,
        time=1.6e9 + np.arange(2000) / 2000,
        emg=rng.standard_normal((2000, 2, 16), dtype=np.float32) * np.float32(scale),
        keystrokes=(),
        prompts=(),
    )
    write_session(path, dataclasses.replace(session, **changes))
    return path
