"""The search that the cluster's tests disturb, and what it comes to where nothing happens."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from conftest import make_session

from emgmodels.sessions import write_session
from search.results.reading import read_curves, read_trials
from search.storage import Place

SPACE = """
name: lab
model:
  features: {hop: 64, bins: 6}
  norm: bin
  electrodes: {choice: [4, 8, 16]}
  mlp_features: 12
  encoder:
    order: [recurrent, conv]
    recurrent: {layers: 1, hidden: {choice: [8, 12]}}
    conv: {layers: {choice: [0, 1]}, channels: 4, kernel: 4}
training: {epochs: 24, batch_size: 2, learning_rate: 5.0e-3, warmup_steps: 3}
search: {trials: 3, sampler: random, seed: 3, scheduler: none, save_every: 0.01}
"""

PEOPLE = """
name: lab
data: {people: {val: [ben, dora], test: [carl]}}
model:
  features: {hop: 64, bins: 6}
  norm: bin
  mlp_features: 12
  encoder: {order: [recurrent], recurrent: {layers: 1, hidden: {choice: [8, 10, 12]}}}
training: {epochs: 16, batch_size: 2, learning_rate: 5.0e-3, warmup_steps: 3}
search: {trials: 2, sampler: random, seed: 3, rank_by: worst_user, scheduler: none, save_every: 0.01}
"""  # noqa: E501

STEADY = {"OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
"""Environment in which trials keep going on a busy machine."""


def write_search(folder: Path) -> None:
    """Write a space, ``lab.yaml``, and sessions, ``data``, into a folder."""
    (folder / "lab.yaml").write_text(SPACE)
    (folder / "data").mkdir()
    for i in range(4):
        write_session(folder / f"data/s{i}.hdf5", make_session(9, seed=i, name=f"s{i}"))


def write_people(folder: Path) -> None:
    """Write a space that holds users out, ``lab.yaml``, and sessions of each user, ``data``."""
    (folder / "lab.yaml").write_text(PEOPLE)
    (folder / "data").mkdir()
    for place, user in enumerate(("anna", "ben", "carl", "dora")):
        for i in range(3):
            name = f"{user}-{i}"
            session = make_session(9, seed=10 * place + i, name=name, user=user, keys="ab")
            write_session(folder / f"data/{name}.hdf5", session)


@functools.cache
def undisturbed() -> list[tuple[Any, ...]]:
    """Search once on this machine alone, and return what it came to."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_search(folder)
        subprocess.run(
            [
                *(sys.executable, "-m", "search.run", folder / "lab.yaml"),
                *("--data", folder / "data", "--out", folder, "--quiet"),
            ],
            check=True,
            env=os.environ | STEADY,
        )
        return outcome(folder / "lab-001")


def outcome(run: Path) -> list[tuple[Any, ...]]:
    """Return the ranking: trial, architecture, state, and every epoch's CER and loss."""
    return [
        (
            *(trial["trial"], trial["architecture"], trial["state"]),
            [(row["epoch"], row["val_cer"], row["val_loss"]) for row in trial["curve"]],
        )
        for trial in trials(run)
    ]


def trials(run: Path) -> list[dict[str, Any]]:
    """Return a run's trials, best first, each with its epochs as ``curve``."""
    curves: dict[int, list[dict[str, Any]]] = {}
    for row in read_curves(run).to_pylist():
        curves.setdefault(row["trial"], []).append(row)
    return [{**row, "curve": curves.get(row["trial"], [])} for row in read_trials(run).to_pylist()]


def resumable(place: Place) -> bool:
    """Return whether a snapshot in storage knows a checkpoint to go on from."""
    files = {name: info.mtime for name, info in place.files().items() if name.startswith(".ray/")}
    saved = [time for name, time in files.items() if "/checkpoint_" in name]
    snapshots = [time for name, time in files.items() if "experiment_state" in name]
    return bool(saved and snapshots) and max(snapshots) > min(saved)


def kept(before: dict[str, Any], run: Path) -> int:
    """Return how many epochs of a trial, as it was before, were not trained again."""
    (after,) = (trial for trial in trials(run) if trial["trial"] == before["trial"])
    return sum(epoch in after["curve"] for epoch in before["curve"])
