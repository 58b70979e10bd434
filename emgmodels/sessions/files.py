"""The session file: HDF5 in the layout of emg2qwerty (Sivakumar et al. 2024).

Group ``emg2qwerty`` has the compound dataset ``timeseries`` (one row a sample: time and both bands)
and the session's attributes, keystrokes and prompts among them as JSON.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from emgmodels.atomic import whole
from emgmodels.config import BAND_ELECTRODES, BANDS, SAMPLE_RATE
from emgmodels.sessions.header import check_attributes, read_header, read_truth
from emgmodels.sessions.opening import (
    BAND_FIELDS,
    DATASET,
    GROUP,
    ROW,
    SessionError,
    check_resolution,
    ends,
    opened,
)
from emgmodels.sessions.session import Session, SessionInfo
from emgmodels.sessions.timing import wrong_clock
from emgmodels.sessions.units import LARGEST, scale_of

if TYPE_CHECKING:
    import h5py

_BLOCK_ROWS = 8192
_DIGEST_ROWS = 512


def read_session(path: str | Path) -> Session:
    """Read a session file and check it.

    Keystrokes and prompts come sorted by start; one without an end ends when it starts. What the
    session can do without may be missing: ``Session.notes`` say what stands in.

    Raises:
        SessionError: the file is missing, damaged or in another layout; its times run backwards or
            are far from 2 kHz; its EMG is not finite; its ground truth can't be read.
    """
    path = Path(path)
    with opened(path) as group:
        header = read_header(path, group)
        keystrokes, prompts, notes = read_truth(path, header)
        check_resolution(path, group[DATASET])
        time, emg = _read_signal(path, group[DATASET])
    _check_times(str(path), time)
    measured = (float(time[-1] - time[0]) + 1 / SAMPLE_RATE) / 60
    return Session(
        name=header.session_name,
        user=header.user,
        condition=header.condition,
        duration_mins=measured if header.duration_mins is None else header.duration_mins,
        time=time,
        emg=emg,
        keystrokes=keystrokes,
        prompts=prompts,
        notes=(*header.notes, *notes),
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
    with opened(path, file) as group:
        header = read_header(path, group)
        series = group[DATASET]
        check_resolution(path, series)
        first, last = ends(series)
        samples = len(series)
    if not (np.isfinite(first) and np.isfinite(last) and first <= last):
        raise SessionError(f"{path}: time runs from {first} to {last}: it must not decrease")
    return SessionInfo(
        name=header.session_name,
        user=header.user,
        condition=header.condition,
        start=first,
        duration=last - first + 1 / SAMPLE_RATE,
        samples=samples,
        keys=len(header.keystrokes),
        prompts=len(header.prompts),
        is_user_known="user" not in header.missing,
    )


def signal_digest(path: str | Path) -> str:
    """Return a digest that tells a recording's EMG from that of others, whatever its file says.

    It covers the number of samples, and in three stretches of the EMG where it rises. That takes
    milliseconds, and is the same in microvolts and in volts. Where the stretches are flat, nothing
    can be told of them: it is then that of the whole file.

    Raises:
        SessionError: as in ``read_info``.
    """
    path = Path(path)
    with opened(path) as group:
        series = group[DATASET]
        digest = hashlib.blake2b(str(len(series)).encode(), digest_size=16)
        is_flat = True
        # Three stretches are enough to tell recordings apart. Reading all of hundreds of files
        # would take minutes.
        for begin in (0, len(series) // 2, max(0, len(series) - _DIGEST_ROWS)):
            rows = series[begin : begin + _DIGEST_ROWS]
            for field in BAND_FIELDS:
                emg = np.ascontiguousarray(rows[field], dtype=np.float32)
                is_flat &= bool((emg == emg[0]).all())
                digest.update(np.packbits(emg[1:] > emg[:-1]).tobytes())
    if is_flat:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()
    return digest.hexdigest()


def session_digest(path: str | Path) -> str:
    """Return a digest that tells a session's EMG, and what was typed, from that of others.

    Raises:
        SessionError: as in ``read_info``.
    """
    path = Path(path)
    with opened(path) as group:
        header = read_header(path, group)
    # Of keys only what becomes a label: JSON of all of them would take most of the time.
    keys = (
        f"{key.get('key')} {key.get('start')}" if isinstance(key, dict) else str(key)
        for key in header.keystrokes
    )
    digest = hashlib.blake2b(signal_digest(path).encode(), digest_size=16)
    for text in (header.condition, "\n".join(keys), json.dumps(header.prompts)):
        digest.update(text.encode(errors="surrogatepass") + b"\0")
    return digest.hexdigest()


def write_session(path: str | Path, session: Session) -> None:
    """Write a session file, making its folder where needed.

    Another process sees the whole file or none. The same session always gives the same bytes.

    Raises:
        SessionError: ``read_session`` would refuse the file.
    """
    import h5py

    path = Path(path)
    _check_session(path, session)
    # A recorder that dies leaves no half of a session under its name.
    with whole(path) as scratch, h5py.File(scratch, "w") as file:
        _write(file, session)


def _read_signal(path: Path, series: h5py.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return (T,) times and (T, 2, 16) EMG, read in blocks straight into place."""
    samples = len(series)
    time = np.empty(samples, dtype=np.float64)
    emg = np.empty((samples, BANDS, BAND_ELECTRODES), dtype=np.float32)
    chunk = series.chunks[0] if series.chunks else 1
    # A whole number of chunks: HDF5 would unpack a chunk that is cut twice.
    block = min(samples, max(1, _BLOCK_ROWS // chunk) * chunk)
    rows = np.empty(block, dtype=ROW)
    largest = 0.0
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
        largest = max(largest, _check_emg(str(path), emg[part], begin))
    _check_largest(str(path), emg, largest)
    return time, emg


def _check_emg(where: str, emg: np.ndarray, first: int) -> float:
    """Return the largest magnitude of (T, 2, 16) EMG, and refuse EMG that is not finite.

    Args:
        where: the file, for messages.
        emg: what to check.
        first: index of its first sample in the session.
    """
    largest = float(max(emg.max(), -emg.min()))
    if np.isfinite(largest):
        return largest
    sample, band, electrode = np.argwhere(~np.isfinite(emg))[0]
    raise SessionError(
        f"{where}: {BAND_FIELDS[band]} is {emg[sample, band, electrode]} at sample "
        f"{first + sample} ({(first + sample) / SAMPLE_RATE:.3f} s), electrode {electrode}: "
        f"EMG must be finite"
    )


def _check_largest(where: str, emg: np.ndarray, largest: float) -> None:
    """Refuse an artefact whose power would overflow, and with it every weight that learns of it."""
    if largest <= LARGEST or largest * scale_of(emg) <= LARGEST:
        return
    sample, band, electrode = np.argwhere(np.abs(emg) == np.float32(largest))[0]
    raise SessionError(
        f"{where}: {BAND_FIELDS[band]} is {emg[sample, band, electrode]:g} at sample {sample} "
        f"({sample / SAMPLE_RATE:.3f} s), electrode {electrode}: no EMG is that large beside the "
        f"rest; write 0 in place of the artefact"
    )


def _check_times(where: str, time: np.ndarray) -> None:
    wrong = wrong_clock(time)
    if wrong is not None:
        raise SessionError(f"{where}: {wrong}")


def _check_session(path: Path, session: Session) -> None:
    shape = (len(session.time), BANDS, BAND_ELECTRODES)
    if session.time.ndim != 1 or session.emg.shape != shape or len(session.time) < 2:
        raise SessionError(
            f"{path}: not written: time is {session.time.shape}, emg {session.emg.shape}: "
            f"expected (T,) and (T, {BANDS}, {BAND_ELECTRODES}) with T of at least 2"
        )
    _check_times(f"{path}: not written", session.time)
    largest = 0.0
    for begin in range(0, len(session.emg), _BLOCK_ROWS):
        block = session.emg[begin : begin + _BLOCK_ROWS]
        largest = max(largest, _check_emg(f"{path}: not written", block, begin))
    _check_largest(f"{path}: not written", session.emg, largest)
    check_attributes(path, _header(session))


def _header(session: Session) -> dict[str, Any]:
    """Return the attributes of a session as a file has them."""
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
    # Without a time stamp inside, the same session gives the same bytes.
    series = group.create_dataset(DATASET, shape=(samples,), dtype=ROW, track_times=False)
    rows = np.empty(min(_BLOCK_ROWS, samples), dtype=ROW)
    for begin in range(0, samples, _BLOCK_ROWS):
        part = slice(begin, min(begin + _BLOCK_ROWS, samples))
        filled = rows[: part.stop - begin]
        filled["time"] = session.time[part]
        for band, field in enumerate(BAND_FIELDS):
            filled[field] = session.emg[part, band]
        series.write_direct(filled, dest_sel=part)
