"""Reading a run folder where Ray is not installed, and a report where PyTorch is not either."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import make_session
from pyarrow.fs import LocalFileSystem

from emgmodels.config import Config
from emgmodels.notation import parse_notation
from emgmodels.sessions import write_session
from emgmodels.training.fit import fit
from emgmodels.windows.cache import prepare
from search.engine.checkpoints import BestCheckpoints
from search.halving.ending import Ending, Why
from search.results.folder import RunFolder
from search.results.record import COMPLETE, CUT_OFF, TrialRecord
from search.storage import StoredFile

ROOT = Path(__file__).resolve().parents[2]
WITHOUT = '''
import importlib.abc, pkgutil, runpy, sys

class Missing(importlib.abc.MetaPathFinder):
    """Finds packages as an environment does that lacks them."""
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
for room in {rooms!r}:
    package = importlib.import_module(room)
    for found in pkgutil.walk_packages(getattr(package, "__path__", ()), f"{{room}}."):
        importlib.import_module(found.name)
for words in {commands!r}:
    sys.argv = list(words)
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        assert not end.code, (words, end.code)
'''


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The folder of a search of two trials, of which one has weights."""
    parent = tmp_path_factory.mktemp("read")
    files = [parent / f"s{number}.hdf5" for number in range(3)]
    for number, file in enumerate(files):
        write_session(file, make_session(seconds=12, seed=number, name=file.stem))
    folder = RunFolder.create(parent, "tiny")
    folder.write_space({"name": "tiny", "search": {"objectives": ["val_cer", "parameters"]}})
    split = {part: [str(file)] for part, file in zip(("train", "val", "test"), files, strict=True)}
    folder.write_environment({"seed": 0, "synthetic": True, "split": split})
    config = Config.model_validate({"training": {"epochs": 1, "batch_size": 4}})
    model = parse_notation("conv:1(channels=1,kernel=5) hop:64 mlp:8 @4ch")
    config = config.model_copy(update={"model": model})
    recordings = prepare(files)
    trial = TrialRecord(0, config, COMPLETE, Ending(Why.WHOLE, epoch=1))
    for result in fit(config, recordings[:1], recordings[1:2]):
        trial.add(result.metrics())
        result.save(parent / "0.pt")
    trial.checkpoint = StoredFile(LocalFileSystem(), str(parent / "0.pt"))
    cut = Ending(Why.TIME_BUDGET).cut("waiting", 0)
    folder.trials = {0: trial, 1: TrialRecord(1, config, CUT_OFF, cut)}
    folder.flush()
    BestCheckpoints(folder.path, 3).keep(folder.trials.values())
    return folder.path


@pytest.mark.parametrize(
    ("missing", "rooms", "commands"),
    [
        (
            ("ray", "torch"),
            ("search.results", "search.report", "search.report.display", "search.storage"),
            (("search.runs", "{runs}"), ("search.report", "{run}")),
        ),
        (("ray", "torch", "optuna", "matplotlib"), (), (("search.runs", "{runs}"),)),
        (("ray",), ("search.evaluate",), (("search.evaluate", "{run}", "--test"),)),
    ],
    ids=["report", "runs", "evaluate"],
)
def test_a_run_folder_is_read_where_packages_are_missing(run, missing, rooms, commands):
    filled = [[word.format(run=run, runs=run.parent) for word in words] for words in commands]
    program = WITHOUT.format(missing=missing, rooms=rooms, commands=filled)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = {"report": "report.html", "evaluate": "evaluation.parquet", "runs": "out of time"}
    for words in commands:
        assert expected[words[0].split(".")[1]] in done.stdout
