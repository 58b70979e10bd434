"""Opens a session file as far as its group and dataset, and says why where it can't be opened."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from emgmodels.config import BAND_ELECTRODES, SAMPLE_RATE
from emgmodels.installing import python_here
from emgmodels.saying import counted

if TYPE_CHECKING:
    import h5py

GROUP = "emg2qwerty"
DATASET = "timeseries"
BAND_FIELDS = ("emg_left", "emg_right")
ROW = np.dtype([("time", "<f8"), *((band, "<f4", (BAND_ELECTRODES,)) for band in BAND_FIELDS)])
"""One sample of both bands: 136 bytes."""

_LFS_POINTER = b"version https://git-lfs.github.com/"


class SessionError(ValueError):
    """A session file is not what it should be; the message names file, place, value and rule."""


@contextmanager
def opened(path: Path, file: BinaryIO | None = None) -> Iterator[h5py.Group]:
    """Open a file and yield its group, with a dataset of the right fields and some rows in it."""
    import h5py

    if file is None and not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        if path.is_symlink() and not path.exists():
            found = f"is a link to {path.readlink()}, which does not exist"
        elif path.exists() and not path.is_dir():
            found = "is no regular file"
        raise SessionError(f"{path}: {found}: expected a session file (.hdf5)")
    try:
        hdf5 = h5py.File(file or path, "r")
    except OSError as error:
        raise SessionError(f"{path}: {_why_unopened(path, file, error)}") from None
    with hdf5:
        try:
            group = _member(path, hdf5, GROUP, h5py.Group)
            series = _member(path, group, DATASET, h5py.Dataset)
            _check_layout(path, series)
            _check_filters(path, series)
            yield group
        except (OSError, RuntimeError, KeyError) as error:
            raise SessionError(f"{path}: is damaged, copy the file again: {error}") from error


def _why_unopened(path: Path, file: BinaryIO | None, error: OSError) -> str:
    import h5py

    text = str(error)
    sizes = re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", text)
    if sizes:
        return f"is truncated: {sizes[1]} of {sizes[2]} bytes are there; copy the file again"
    if isinstance(error, PermissionError):
        return "cannot be read: permission denied"
    if "unable to lock file" in text:
        return (
            "is locked: another program has it open for writing; read it when that program has "
            "closed it"
        )
    if "consistency flags" in text:
        return (
            "was not closed by the program that wrote it: wait while that program still runs; "
            "after a crash mend it with 'h5clear -s' or record it again"
        )
    if file is not None:
        return text
    with open(path, "rb") as content:
        # Looked at only now: HDF5's own message calls a pointer a damaged file.
        beginning = content.read(len(_LFS_POINTER))
    if beginning == _LFS_POINTER:
        return "is a Git LFS pointer, not the session itself: fetch the session with 'git lfs pull'"
    if not beginning:
        return "is empty (0 bytes): expected a session file"
    if not h5py.is_hdf5(path):
        return f"is not HDF5 ({counted(path.stat().st_size, 'byte')}): expected a session file"
    return f"is damaged or half-written, copy the file again or record it again: {error}"


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
        kinds = "f" if name == "time" else "fiu"
        if found.base.kind not in kinds or found.shape != expected.shape:
            raise SessionError(
                f"{where}: field '{name}' is {found.base} of shape {found.shape}: "
                f"expected {expected.base} of shape {expected.shape}"
            )
    if len(series) < 2:
        raise SessionError(
            f"{where} has {counted(len(series), 'sample')}: a session needs at least 2"
        )


def _check_filters(path: Path, series: h5py.Dataset) -> None:
    """Refuse a compression that needs a plugin of HDF5 which is not installed."""
    import h5py

    created = series.id.get_create_plist()
    for index in range(created.get_nfilters()):
        code, _, _, name = created.get_filter(index)
        if not h5py.h5z.filter_avail(code):
            called = name.decode(errors="replace").strip("\0") or "without a name"
            raise SessionError(
                f"{path}: dataset '{DATASET}' is compressed with HDF5's filter {code} ({called}), "
                f"which is not installed here: point HDF5_PLUGIN_PATH to its plugin "
                f"({python_here()} -m pip install hdf5plugin has many), or write the file again "
                f"with gzip"
            )


def ends(series: h5py.Dataset) -> tuple[float, float]:
    """Return the first and the last time of a dataset (s)."""
    first, last = (float(series[row]["time"]) for row in (0, -1))
    return first, last


def check_resolution(path: Path, series: h5py.Dataset) -> None:
    """Refuse times that are stored in steps too coarse to tell samples apart."""
    stored = series.dtype.fields["time"][0].base
    first, last = ends(series)
    if stored.itemsize >= 8 or not np.isfinite(last):
        return
    step = float(np.spacing(np.asarray(abs(last), dtype=stored)))
    if step > 0.5 / SAMPLE_RATE or first == last:
        raise SessionError(
            f"{path}: dataset '{DATASET}': field 'time' is {stored}: unix seconds need float64, "
            f"since {stored} has steps of {step:.3g} s at {last:.0f} s; write the recorder's times "
            f"again as float64"
        )
