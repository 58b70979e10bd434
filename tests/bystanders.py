"""What must stay as it is: a folder full of what users have, and hashes of all files in it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pyarrow.fs
import torch
import yaml
from conftest import make_session

from emgmodels.config import Config
from emgmodels.notation import parse_notation
from emgmodels.sessions import write_session
from emgmodels.training.fit import fit
from emgmodels.windows.cache import prepare
from search.engine.checkpoints import BestCheckpoints
from search.results.folder import RunFolder
from search.results.record import TrialRecord
from search.storage import StoredFile

TINY = Config(
    name="tiny",
    model=parse_notation("conv:1(channels=4, kernel=3) mlp:16"),
    training={"epochs": 1, "batch_size": 4, "warmup_steps": 0},
)


def hashes(folder: Path) -> dict[str, str]:
    """Return what lies below a folder: hashes of files, targets of links."""
    return {
        str(path.relative_to(folder)): os.readlink(path)
        if path.is_symlink()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "folder"
        for path in folder.rglob("*")
    }


def make_place(made: Path) -> None:
    """Write what a user may have: sessions, a text, curves, a configuration, a checkpoint, a run.

    The run has two trials, of which the checkpoint is; paths in it are relative to ``made``.
    """
    for i in range(3):
        write_session(made / f"data/s{i}.hdf5", make_session(9, seed=i, name=f"s{i}"))
    (made / "text.txt").write_text("the quick brown fox\n" * 3)
    (made / "tiny.yaml").write_text(yaml.safe_dump(TINY.model_dump(mode="json")))
    rows = [f"{run},{epoch},{90 - epoch - run},{2 / epoch}" for run in range(8) for epoch in (1, 2)]
    (made / "curves.csv").write_text("\n".join(["run,epoch,val_cer,val_loss", *rows]) + "\n")
    recordings = prepare([made / f"data/s{i}.hdf5" for i in range(2)])
    torch.manual_seed(0)
    run = RunFolder.create(made, "run")
    run.write_space({"name": "run", "model": {"encoder": {"order": ["conv"], "conv": {}}}})
    split = {"train": ["data/s0.hdf5"], "val": ["data/s1.hdf5"], "test": ["data/s2.hdf5"]}
    resources = {"cpus": 1, "gpus": 0}
    facts = {"seed": 0, "subject": "12345678", "split": split, "resources_per_trial": resources}
    run.write_environment(facts)
    for result in fit(TINY, recordings[:1], recordings[1:]):
        result.save(made / "weights.pt")
        for number in range(2):
            config = TINY.model_copy(update={"seed": number})
            run.trials[number] = trial = TrialRecord(number, config, "complete", None, "")
            trial.add(result.metrics())
            local = pyarrow.fs.LocalFileSystem()
            trial.checkpoint = StoredFile(local, str(made / "weights.pt"))
    run.flush()
    BestCheckpoints(run.path, 2).keep(run.trials.values())
