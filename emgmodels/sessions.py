"""Session files: one typing session's EMG of both wrists with the keys that were pressed.

A session is an HDF5 file in the layout of emg2qwerty (Sivakumar et al. 2024): group ``emg2qwerty``
with the compound dataset ``timeseries`` and the session's attributes.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from emgmodels import charset
from emgmodels.config import BAND_ELECTRODES, BANDS

GROUP = "emg2qwerty"
DATASET = "timeseries"
ROW = np.dtype(
    [
        ("time", "<f8"),
        ("emg_left", "<f4", (BAND_ELECTRODES,)),
        ("emg_right", "<f4", (BAND_ELECTRODES,)),
    ]
)
"""One sample of both bands: 136 bytes."""
_BLOCK = 1 << 14


class SessionError(ValueError):
    """A session file is not what it should be; the message names file, place and rule."""


@dataclass(frozen=True)
class Keystroke:
    """One key: pynput's name, when it was pressed and released (absolute unix seconds)."""

    key: str
    start: float
    end: float


@dataclass(frozen=True)
class Prompt:
    """One text shown to the typist, and when (absolute unix seconds)."""

    name: str
    start: float
    end: float
    text: str | None


@dataclass(frozen=True, eq=False)
class Labels:
    """What was typed, as labels with times.

    Attributes:
        label: (K,) int64, labels of ``charset``.
        start: (K,) float64, absolute seconds, non-decreasing: when the key was pressed, or when
            the prompt began that the character belongs to.
        end: (K,) float64, absolute seconds: when the key was released, or the prompt ended.
        has_key_times: False where the ground truth is prompts.
    """

    label: np.ndarray
    start: np.ndarray
    end: np.ndarray
    has_key_times: bool


@dataclass(frozen=True, eq=False)
class Session:
    """One recorded session.

    Attributes:
        name: Name of the session, also of its file.
        user: The subject.
        condition: How was typed; ``on_keyboard`` has the keys pressed as ground truth, every other
            condition the prompts.
        duration_mins: Length as the recorder noted it (minutes).
        time: (T,) float64, absolute unix seconds, non-decreasing.
        emg: (T, 2, 16) float32, bands left and right.
        keystrokes: Keys, in the order they were pressed.
        prompts: Prompts, in the order they were shown.
    """

    name: str
    user: str
    condition: str
    duration_mins: float
    time: np.ndarray
    emg: np.ndarray
    keystrokes: tuple[Keystroke, ...]
    prompts: tuple[Prompt, ...]

    def labels(self) -> Labels:
        """Return the ground truth: the keys pressed, or the prompts each ended by an enter."""
        has_key_times = self.condition == "on_keyboard"
        rows: list[tuple[int, float, float]] = []
        if has_key_times:
            for key in self.keystrokes:
                label = charset.label_of(key.key)
                if label is not None:
                    rows.append((label, key.start, key.end))
        else:
            for prompt in self.prompts:
                if prompt.text is not None:
                    for label in charset.encode(prompt.text + "\n"):
                        rows.append((label, prompt.start, prompt.end))
        columns = list(zip(*rows, strict=True)) or [(), (), ()]
        return Labels(
            label=np.array(columns[0], dtype=np.int64),
            start=np.array(columns[1], dtype=np.float64),
            end=np.array(columns[2], dtype=np.float64),
            has_key_times=has_key_times,
        )


def write_session(path: str | Path, session: Session) -> None:
    """Write a session file; readers see the whole file or none, and equal sessions equal bytes."""
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    try:
        with h5py.File(temporary, "w") as file:
            _fill(file, session)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_session(path: str | Path) -> Session:
    """Read a session file."""
    with h5py.File(path, "r") as file:
        group = file[GROUP]
        series = group[DATASET]
        time = np.empty(len(series), dtype=np.float64)
        emg = np.empty((len(series), BANDS, BAND_ELECTRODES), dtype=np.float32)
        buffer = np.empty(min(_BLOCK, len(series)), dtype=ROW)
        for begin in range(0, len(series), _BLOCK):
            end = min(begin + _BLOCK, len(series))
            rows = buffer[: end - begin]
            series.read_direct(rows, np.s_[begin:end])
            time[begin:end] = rows["time"]
            emg[begin:end, 0] = rows["emg_left"]
            emg[begin:end, 1] = rows["emg_right"]
        attributes = dict(group.attrs)
    keystrokes = [
        Keystroke(item["key"], item["start"], item["end"])
        for item in json.loads(attributes["keystrokes"])
    ]
    prompts = [
        Prompt(item["name"], item["start"], item["end"], (item["payload"] or {}).get("text"))
        for item in json.loads(attributes["prompts"])
    ]
    return Session(
        name=attributes["session_name"],
        user=attributes["user"],
        condition=attributes["condition"],
        duration_mins=float(attributes["duration_mins"]),
        time=time,
        emg=emg,
        keystrokes=tuple(sorted(keystrokes, key=lambda key: key.start)),
        prompts=tuple(sorted(prompts, key=lambda prompt: prompt.start)),
    )


def _fill(file: h5py.File, session: Session) -> None:
    group = file.create_group(GROUP)
    group.attrs["session_name"] = session.name
    group.attrs["user"] = session.user
    group.attrs["condition"] = session.condition
    group.attrs["duration_mins"] = float(session.duration_mins)
    group.attrs["keystrokes"] = json.dumps(
        [{"key": key.key, "start": key.start, "end": key.end} for key in session.keystrokes]
    )
    group.attrs["prompts"] = json.dumps(
        [
            {
                "name": prompt.name,
                "start": prompt.start,
                "end": prompt.end,
                "payload": None if prompt.text is None else {"text": prompt.text},
            }
            for prompt in session.prompts
        ]
    )
    samples = len(session.time)
    series = group.create_dataset(DATASET, shape=(samples,), dtype=ROW, track_times=False)
    rows = np.empty(min(_BLOCK, samples), dtype=ROW)
    for begin in range(0, samples, _BLOCK):
        end = min(begin + _BLOCK, samples)
        rows["time"][: end - begin] = session.time[begin:end]
        rows["emg_left"][: end - begin] = session.emg[begin:end, 0]
        rows["emg_right"][: end - begin] = session.emg[begin:end, 1]
        series[begin:end] = rows[: end - begin]
