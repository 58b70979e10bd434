"""Writes a synthetic typist's sessions: what is typed, when, and the EMG of it."""

from __future__ import annotations

import filecmp
import os
import re
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from emgmodels.config import SAMPLE_RATE
from emgmodels.saying import counted
from emgmodels.sessions import Keystroke, Prompt, Session, write_session
from emgmodels.synthetic.forearm import USUAL_PLACE, Forearm, record
from emgmodels.synthetic.text import sentence
from emgmodels.synthetic.typist import USUAL, Rhythm, type_text

VERSION = 2
"""Counts up when the same arguments give other sessions than before."""
SHORTEST = 0.25
"""Shortest session (minutes): a sentence takes about 12 seconds."""
OFF_KEYBOARD = "on_table"
"""Condition of sessions without a keyboard: the ground truth is the prompts."""

_FIRST_DAY = 1.7e9  # unix seconds of session 0; one session a day
_ATTEMPTS = 20  # sentences that may be too long for the rest of a session before it stays empty


def generate_session(
    index: int,
    minutes: float = 2.0,
    subject: str = "synthetic",
    seed: int = 0,
    off_keyboard: bool = False,
    varied: bool = False,
) -> Session:
    """Return one session of a synthetic typist, always the same for the same arguments.

    Args:
        index: Which session; each has its own sentences and placement of the bands.
        minutes: Its length.
        subject: Who types: anatomy and habits follow from the name and the seed.
        seed: Seed of the person and of the session.
        off_keyboard: Typed on a table: prompts and EMG, no keystrokes.
        varied: One of several people: rhythm and the usual place of the bands are the subject's own
            too, and not the usual ones.

    Raises:
        ValueError: an argument is out of range.
    """
    _check(index=index, minutes=minutes, subject=subject, seed=seed)
    person = [seed, zlib.crc32(subject.encode())]
    anatomy = np.random.default_rng([*person, 0])
    arms, rhythm = (Forearm.draw(anatomy), Forearm.draw(anatomy)), USUAL
    if varied:
        rhythm = Rhythm.draw(anatomy)
        left, right = anatomy.uniform(-USUAL_PLACE, USUAL_PLACE, 2).tolist()
        arms = arms[0].worn(left), arms[1].worn(right)
    rng = np.random.default_rng([*person, index + 1])
    samples = round(minutes * 60 * SAMPLE_RATE)
    prompts, strokes = _type_prompts(samples / SAMPLE_RATE, rng, rhythm)
    emg = record(strokes, samples, arms, rng)
    begin = _FIRST_DAY + 86_400.0 * index
    keystrokes = [Keystroke(key.key, begin + key.start, begin + key.end) for key in strokes]
    return Session(
        name=f"{subject}-{index:03d}",
        user=subject,
        condition=OFF_KEYBOARD if off_keyboard else "on_keyboard",
        duration_mins=minutes,
        time=begin + np.arange(samples) / SAMPLE_RATE,
        emg=emg,
        keystrokes=() if off_keyboard else tuple(keystrokes),
        prompts=tuple(
            Prompt(prompt.name, begin + prompt.start, begin + prompt.end, prompt.text)
            for prompt in prompts
        ),
    )


def write_subject(
    out: str | Path,
    sessions: int = 6,
    minutes: float = 2.0,
    subject: str = "synthetic",
    seed: int = 0,
    off_keyboard: int = 0,
    progress: Callable[[Path], None] | None = None,
    varied: bool = False,
) -> list[Path]:
    """Write sessions of one synthetic typist; the same arguments write the same bytes.

    Args:
        out: Folder to write to, made if it is missing.
        sessions: How many sessions.
        minutes: Length of each.
        subject: Who types.
        seed: Seed of the person and of the sessions.
        off_keyboard: That many of the last sessions are typed on a table, without keystrokes.
        progress: Called with each file when it is written.
        varied: As of ``generate_session``.

    Returns:
        The session files, in order.

    Raises:
        ValueError: an argument is out of range, or another session lies where one would go.
        OSError: the folder can't be written to.
    """
    _check(sessions=sessions, minutes=minutes, subject=subject, seed=seed)
    if not 0 <= off_keyboard <= sessions:
        of_all = f"of {counted(sessions, 'session')}, 0 to {sessions}"
        raise ValueError(f"off_keyboard {off_keyboard}: {of_all}")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(sessions):
        on_table = index >= sessions - off_keyboard
        session = generate_session(index, minutes, subject, seed, on_table, varied)
        path = out / f"{session.name}.hdf5"
        _write(path, session)
        paths.append(path)
        if progress is not None:
            progress(path)
    return paths


def names_of(subject: str, users: int) -> list[str]:
    """Return what several synthetic typists are called; one has the subject's own name."""
    return [subject] if users == 1 else [f"{subject}-{user:02d}" for user in range(1, users + 1)]


def write_subjects(
    out: str | Path,
    users: int,
    sessions: int = 6,
    minutes: float = 2.0,
    subject: str = "synthetic",
    seed: int = 0,
    off_keyboard: int = 0,
    progress: Callable[[Path], None] | None = None,
) -> list[Path]:
    """Write sessions of several synthetic typists, who differ in anatomy, habits and rhythm.

    Args:
        out: Folder to write to, made if it is missing.
        users: How many; one is as ``write_subject`` writes it.
        sessions: How many sessions of each.
        minutes: Length of each.
        subject: What the names of the users begin with.
        seed: Seed of the people and of the sessions.
        off_keyboard: As of ``write_subject``, of each user.
        progress: Called with each file when it is written.

    Raises:
        ValueError: as ``write_subject``.
        OSError: the folder can't be written to.
    """
    if not 1 <= users <= 1000:
        raise ValueError(f"users {users}: 1 to 1000")
    names, rest = names_of(subject, users), (seed, off_keyboard, progress, users > 1)
    return [path for name in names for path in write_subject(out, sessions, minutes, name, *rest)]


def _write(path: Path, session: Session) -> None:
    """Write a session where nothing lies; one that lies there may only be the same.

    Raises:
        ValueError: another lies there.
    """
    if not os.path.lexists(path):
        write_session(path, session)
        return
    with tempfile.TemporaryDirectory(prefix="emgsearch-") as scratch:
        own = Path(scratch) / path.name
        write_session(own, session)
        if path.is_symlink() or not path.is_file() or not filecmp.cmp(own, path, shallow=False):
            raise ValueError(
                f"{path}: is there already and is not the session that would be written: name "
                f"another folder or subject, or delete it first"
            )


def _check(
    minutes: float, subject: str, seed: int, index: int | None = None, sessions: int | None = None
) -> None:
    if index is not None and index < 0:
        raise ValueError(f"index {index}: sessions are counted from 0")
    if sessions is not None and sessions < 1:
        raise ValueError(f"sessions {sessions}: at least 1")
    if not SHORTEST <= minutes <= 600:
        raise ValueError(f"minutes {minutes:g}: a session has {SHORTEST:g} to 600 minutes")
    if not re.fullmatch(r"[\w-][\w.-]*", subject):
        raise ValueError(f"subject {subject!r}: letters, digits, '_', '-', '.', not '.' first")
    if seed < 0:
        raise ValueError(f"seed {seed}: a whole number from 0 on")


def _type_prompts(
    seconds: float, rng: np.random.Generator, rhythm: Rhythm
) -> tuple[list[Prompt], list[Keystroke]]:
    """Return prompts and the keys typed for them, in seconds from the session's start."""
    prompts: list[Prompt] = []
    strokes: list[Keystroke] = []
    shown = 1.0
    misfits = 0
    while misfits < _ATTEMPTS:
        text = sentence(rng)
        typed = type_text(text, shown + rng.uniform(0.4, 1.0), rng, rhythm)
        end = typed[-1].end
        if end + 0.5 > seconds:
            misfits += 1  # a shorter one may still fit
            continue
        prompts.append(Prompt(f"prompt-{len(prompts):03d}", shown, end, text))
        strokes += typed
        shown = end + rng.uniform(0.1, 0.3)
    return prompts, strokes
