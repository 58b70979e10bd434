"""The session file: HDF5 in the layout of emg2qwerty (Sivakumar et al. 2024).

Group ``emg2qwerty`` has the compound dataset ``timeseries`` (one row a sample: time and both bands)
and the session's attributes, keystrokes and prompts among them as JSON.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from emgmodels.config import BAND_ELECTRODES, BANDS, SAMPLE_RATE
from emgmodels.sessions.session import Keystroke, Prompt, Session, SessionInfo
from emgmodels.writing import whole

GROUP = "emg2qwerty"
DATASET = "timeseries"
BAND_FIELDS = ("emg_left", "emg_right")
ROW = np.dtype([("time", "<f8"), *((band, "<f4", (BAND_ELECTRODES,)) for band in BAND_FIELDS)])
"""One sample of both bands: 136 bytes."""

_RATE_TOLERANCE = 0.05
_BLOCK_ROWS = 8192


class SessionError(ValueError):
    """A session file is not what it should be; the message names file, place, value and rule."""


def read_session(path: str | Path) -> Session:
    """Read a session file and check it.

    Keystrokes and prompts come sorted by start; one without an end ends when it starts.

    Raises:
        SessionError: the file is missing, damaged or in another layout; its times run backwards or
            are far from 2 kHz; its EMG is not finite; its keystrokes or prompts can't be read.
    """
    path = Path(path)
    with _opened(path) as group:
        header = _read_header(path, group)
        keystrokes = [_keystroke(*item) for item in _numbered(path, header, "keystrokes")]
        prompts = [_prompt(*item) for item in _numbered(path, header, "prompts")]
        time, emg = _read_signal(path, group[DATASET])
    _check_times(str(path), time)
    return Session(
        name=header["session_name"],
        user=header["user"],
        condition=header["condition"],
        duration_mins=header["duration_mins"],
        time=time,
        emg=emg,
        keystrokes=tuple(sorted(keystrokes, key=lambda keystroke: keystroke.start)),
        prompts=tuple(sorted(prompts, key=lambda prompt: prompt.start)),
    )


def read_info(path: str | Path, file: BinaryIO | None = None) -> SessionInfo:
    """Read what a session file says of itself, without its EMG (a few milliseconds).

    Args:
        path: the session file.
        file: its content, where it is on no disk; ``path`` is then what messages call it.

    Raises:
        SessionError: as in ``read_session``, but neither samples nor single keys are looked at.
    """
    path = Path(path)
    with _opened(path, file) as group:
        header = _read_header(path, group)
        series = group[DATASET]
        first, last = (float(series[row]["time"]) for row in (0, -1))
    if not (math.isfinite(first) and math.isfinite(last) and first <= last):
        raise SessionError(f"{path}: time runs from {first} to {last}: it must not decrease")
    return SessionInfo(
        name=header["session_name"],
        user=header["user"],
        condition=header["condition"],
        start=first,
        duration=last - first + 1 / SAMPLE_RATE,
        samples=len(series),
        keys=len(header["keystrokes"]),
        prompts=len(header["prompts"]),
    )


def write_session(path: str | Path, session: Session) -> None:
    """Write a session file, making its folder where needed.

    Another process sees the whole file or none. The same session always gives the same bytes.

    Raises:
        SessionError: ``read_session`` would refuse the file.
    """
    path = Path(path)
    _check_session(path, session)
    with whole(path) as scratch, h5py.File(scratch, "w") as file:
        _write(file, session)


@contextmanager
def _opened(path: Path, file: BinaryIO | None = None) -> Iterator[h5py.Group]:
    """Open a file and yield its group, with a dataset of the right fields and some rows in it."""
    if file is None and not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise SessionError(f"{path}: {found}: expected a session file (.hdf5)")
    try:
        opened = h5py.File(file or path, "r")
    except OSError as error:
        why = str(error) if file else _why_unopened(path, error)
        raise SessionError(f"{path}: {why}") from None
    with opened:
        try:
            group = _member(path, opened, GROUP, h5py.Group)
            _check_layout(path, _member(path, group, DATASET, h5py.Dataset))
            yield group
        except (OSError, RuntimeError, KeyError) as error:
            raise SessionError(f"{path}: is damaged, copy the file again: {error}") from error


def _why_unopened(path: Path, error: OSError) -> str:
    sizes = re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", str(error))
    if sizes:
        return f"is truncated: {sizes[1]} of {sizes[2]} bytes are there; copy the file again"
    if isinstance(error, PermissionError):
        return "cannot be read: permission denied"
    if not h5py.is_hdf5(path):
        return f"is not HDF5 ({path.stat().st_size} bytes): expected a session file"
    return f"is damaged, copy the file again: {error}"


def _member(path: Path, parent: h5py.Group, name: str, kind: type) -> Any:
    member = parent.get(name)
    if not isinstance(member, kind):
        found = ", ".join(map(repr, parent)) or "nothing"
        what = kind.__name__.lower()
        raise SessionError(f"{path}: has no {what} '{name}' in '{parent.name}' (found: {found})")
    return member


def _check_layout(path: Path, series: h5py.Dataset) -> None:
    where = f"{path}: dataset '{DATASET}'"
    fields = series.dtype.fields
    if fields is None or series.ndim != 1:
        raise SessionError(
            f"{where} is {series.dtype} of shape {series.shape}: "
            f"expected one row a sample with the fields {', '.join(ROW.names or ())}"
        )
    for name in ROW.names or ():
        expected = ROW[name]
        if name not in fields:
            raise SessionError(f"{where} has no field '{name}' (found: {', '.join(fields)})")
        found = fields[name][0]
        if found.base.kind != "f" or found.shape != expected.shape:
            raise SessionError(
                f"{where}: field '{name}' is {found.base} of shape {found.shape}: "
                f"expected {expected.base} of shape {expected.shape}"
            )
    if fields["time"][0].itemsize < 8:
        raise SessionError(f"{where}: field 'time' is float32: unix seconds need float64")
    if len(series) < 2:
        raise SessionError(f"{where} has {len(series)} samples: a session needs at least 2")


def _read_header(path: Path, group: h5py.Group) -> dict[str, Any]:
    """Return the attributes, with keystrokes and prompts as lists of whatever JSON has."""
    missing = [name for name in _ATTRIBUTES if name not in group.attrs]
    if missing:
        raise SessionError(
            f"{path}: group '{GROUP}' lacks the attributes {', '.join(missing)} "
            f"(found: {', '.join(group.attrs) or 'none'})"
        )
    return {name: read(path, name, group.attrs[name]) for name, read in _ATTRIBUTES.items()}


def _text(path: Path, name: str, value: Any) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise SessionError(f"{path}: attribute '{name}' is not UTF-8: {error}") from None
    if isinstance(value, str):
        return str(value)
    if name == "user" and isinstance(value, int | np.integer):
        return str(value)
    kind = f"{value.dtype} array" if isinstance(value, np.ndarray) else type(value).__name__
    raise SessionError(f"{path}: attribute '{name}' is {kind}: expected text")


def _minutes(path: Path, name: str, value: Any) -> float:
    is_number = isinstance(value, int | float | np.integer | np.floating)
    if not is_number or not math.isfinite(value) or value < 0:
        raise SessionError(f"{path}: attribute '{name}' is {value!r}: expected minutes >= 0")
    return float(value)


def _json_list(path: Path, name: str, value: Any) -> list[Any]:
    try:
        items = json.loads(_text(path, name, value))
    except json.JSONDecodeError as error:
        raise SessionError(f"{path}: attribute '{name}' is broken JSON: {error}") from None
    if not isinstance(items, list):
        kind = type(items).__name__
        raise SessionError(f"{path}: attribute '{name}' is a JSON {kind}: expected a list")
    return items


_ATTRIBUTES = {
    "session_name": _text,
    "user": _text,
    "condition": _text,
    "duration_mins": _minutes,
    "keystrokes": _json_list,
    "prompts": _json_list,
}


def _numbered(path: Path, header: dict[str, Any], name: str) -> Iterator[tuple[str, dict]]:
    """Yield the objects of a list, each after the place to name in a message."""
    for index, item in enumerate(header[name]):
        where = f"{path}: {name}[{index}]"
        if not isinstance(item, dict):
            raise SessionError(f"{where} is {item!r}: expected an object")
        yield where, item


def _keystroke(where: str, item: dict[str, Any]) -> Keystroke:
    key = item.get("key")
    if not isinstance(key, str) or not key:
        raise SessionError(f"{where}.key is {key!r}: expected pynput's name of a key")
    return Keystroke(key, *_span(where, item))


def _prompt(where: str, item: dict[str, Any]) -> Prompt:
    payload = item.get("payload", "missing")
    text = payload.get("text", 0) if isinstance(payload, dict) else payload
    if text is not None and not (isinstance(payload, dict) and isinstance(text, str)):
        raise SessionError(f'{where}.payload is {payload!r}: expected {{"text": ...}} or null')
    return Prompt(str(item.get("name") or ""), *_span(where, item), text)


def _span(where: str, item: dict[str, Any]) -> tuple[float, float]:
    start = _seconds(f"{where}.start", item.get("start"))
    end = item.get("end")
    return start, start if end is None else _seconds(f"{where}.end", end)


def _seconds(where: str, value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise SessionError(f"{where} is {value!r}: expected unix seconds")
    return float(value)


def _read_signal(path: Path, series: h5py.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return (T,) times and (T, 2, 16) EMG, read in blocks straight into place."""
    samples = len(series)
    time = np.empty(samples, dtype=np.float64)
    emg = np.empty((samples, BANDS, BAND_ELECTRODES), dtype=np.float32)
    chunk = series.chunks[0] if series.chunks else 1
    block = min(samples, max(1, _BLOCK_ROWS // chunk) * chunk)
    rows = np.empty(block, dtype=ROW)
    for begin in range(0, samples, block):
        part = slice(begin, min(begin + block, samples))
        filled = rows[: part.stop - begin]
        try:
            series.read_direct(filled, part)
        except OSError as error:
            raise SessionError(
                f"{path}: is damaged in samples {begin} to {part.stop - 1}, "
                f"copy the file again: {error}"
            ) from None
        time[part] = filled["time"]
        for band, field in enumerate(BAND_FIELDS):
            emg[part, band] = filled[field]
        _check_emg(str(path), emg[part], begin)
    return time, emg


def _check_emg(where: str, emg: np.ndarray, first: int) -> None:
    """Refuse (T, 2, 16) EMG that is not finite; ``first`` is the index of its first sample."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(emg.sum()):
            return
    bad = np.argwhere(~np.isfinite(emg))
    if len(bad):
        sample, band, electrode = bad[0]
        raise SessionError(
            f"{where}: {BAND_FIELDS[band]} is {emg[sample, band, electrode]} at sample "
            f"{first + sample} ({(first + sample) / SAMPLE_RATE:.3f} s), electrode {electrode}: "
            f"EMG must be finite"
        )


def _check_times(where: str, time: np.ndarray) -> None:
    if not np.isfinite(time[0]):
        raise SessionError(f"{where}: time is {time[0]} at sample 0: expected unix seconds")
    ordered = (time[1:] >= time[:-1]) & (time[1:] < np.inf)
    if not ordered.all():
        sample = int(np.argmin(ordered)) + 1
        raise SessionError(
            f"{where}: time goes from {time[sample - 1]:.6f} to {time[sample]:.6f} at sample "
            f"{sample}: it must not decrease"
        )
    step = float(np.median(np.diff(time)))
    if not abs(step * SAMPLE_RATE - 1) <= _RATE_TOLERANCE:
        rate = f"{1 / step:.0f} Hz" if step else "unknown"
        raise SessionError(
            f"{where}: sampling rate is {rate} (median step {1000 * step:.3f} ms): "
            f"expected {SAMPLE_RATE} Hz within {_RATE_TOLERANCE:.0%}; resample the recording first"
        )


def _check_session(path: Path, session: Session) -> None:
    shape = (len(session.time), BANDS, BAND_ELECTRODES)
    if session.time.ndim != 1 or session.emg.shape != shape or len(session.time) < 2:
        raise SessionError(
            f"{path}: not written: time is {session.time.shape}, emg {session.emg.shape}: "
            f"expected (T,) and (T, {BANDS}, {BAND_ELECTRODES}) with T of at least 2"
        )
    _check_times(f"{path}: not written", session.time)
    for begin in range(0, len(session.emg), _BLOCK_ROWS):
        _check_emg(f"{path}: not written", session.emg[begin : begin + _BLOCK_ROWS], begin)
    header = _header(session)
    for name, check in _ATTRIBUTES.items():
        if name not in ("keystrokes", "prompts"):
            check(path, name, header[name])
    for where, item in _numbered(path, header, "keystrokes"):
        _keystroke(where, item)
    for where, item in _numbered(path, header, "prompts"):
        _prompt(where, item)


def _header(session: Session) -> dict[str, Any]:
    """Return the attributes of a session as ``_read_header`` gives them."""
    return {
        "session_name": session.name,
        "user": session.user,
        "condition": session.condition,
        "duration_mins": session.duration_mins,
        "keystrokes": [
            {"key": keystroke.key, "start": keystroke.start, "end": keystroke.end}
            for keystroke in session.keystrokes
        ],
        "prompts": [
            {
                "name": prompt.name,
                "start": prompt.start,
                "end": prompt.end,
                "payload": None if prompt.text is None else {"text": prompt.text},
            }
            for prompt in session.prompts
        ],
    }


def _write(file: h5py.File, session: Session) -> None:
    group = file.create_group(GROUP)
    for name, value in _header(session).items():
        group.attrs[name] = json.dumps(value) if isinstance(value, list) else value
    samples = len(session.time)
    series = group.create_dataset(DATASET, shape=(samples,), dtype=ROW, track_times=False)
    rows = np.empty(min(_BLOCK_ROWS, samples), dtype=ROW)
    for begin in range(0, samples, _BLOCK_ROWS):
        part = slice(begin, min(begin + _BLOCK_ROWS, samples))
        filled = rows[: part.stop - begin]
        filled["time"] = session.time[part]
        for band, field in enumerate(BAND_FIELDS):
            filled[field] = session.emg[part, band]
        series.write_direct(filled, dest_sel=part)
