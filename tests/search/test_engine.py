"""What Ray's processes do around a search."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyarrow.fs import LocalFileSystem
from ray import cloudpickle
from ray.train._internal.storage import _FilesystemSyncer
from ray.tune.execution.experiment_state import _ExperimentCheckpointManager

from benchmarks.idle import IdleTrial, search_idly
from search.engine.patching import left_out, missing
from search.engine.ray_patches import whole_snapshots
from search.results.record import COMPLETE

LISTEN = """
import json, os, time
from pathlib import Path
from search.engine.ray_session import engine
import psutil, ray

@ray.remote
def work():
    return os.nice(0)

with engine(None, 1):
    stands_back = ray.get(work.remote()) - os.nice(0)
    own = psutil.Process()
    processes = own, *own.children(recursive=True)
    found = {
        c.laddr.ip
        for process in processes
        for c in process.net_connections("inet")
        if c.status == "LISTEN"
    }
    words = {Path(word).name for process in processes for word in process.cmdline()[:4]}
print(json.dumps([sorted(found), sorted(words), stands_back]))
"""


def test_a_local_search_joins_no_other_cluster_listens_on_loopback_only_and_starts_little():
    elsewhere = {**os.environ, "RAY_ADDRESS": "127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-c", LISTEN],
        capture_output=True,
        text=True,
        timeout=150,
        check=True,
        env=elsewhere,
    )
    addresses, words, stands_back = json.loads(done.stdout.splitlines()[-1])
    assert not stands_back, "other programs would leave trials a thirtieth of a core"
    assert addresses
    assert {address.removeprefix("::ffff:") for address in addresses} == {"127.0.0.1"}
    assert "raylet" in words
    assert "ray_agent.py" in words
    assert not {"monitor.py", "log_monitor.py", "dashboard.py"} & set(words)


HOOKED = """
import os, ray
from search.engine.ray_session import engine

@ray.remote
def work():
    return os.environ.get("ASKED")

with engine(None, 1):
    print(ray.get(work.remote()))
"""


@pytest.mark.slow
def test_an_environment_that_the_user_asks_ray_for_is_prepared(tmp_path):
    """Otherwise nothing of Ray's that could prepare one runs."""
    (tmp_path / "hooks.py").write_text("def asked(env): return {'env_vars': {'ASKED': 'yes'}}\n")
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    asking = {**os.environ, "RAY_RUNTIME_ENV_HOOK": "hooks.asked", "PYTHONPATH": paths}
    program = [sys.executable, "-c", HOOKED]
    done = subprocess.run(
        program, capture_output=True, text=True, timeout=150, check=True, env=asking
    )
    assert done.stdout.split() == ["yes"]


CONTROLLER = "ray.tune.execution.tune_controller:TuneController"


class TellingTrial(IdleTrial):
    """Says which credentials its process finds."""

    told: Path

    def step(self):
        self.told.write_text(os.environ.get("AWS_SECRET_ACCESS_KEY", "none"))
        return super().step()


def test_trials_are_not_handed_the_drivers_credentials(engine, tmp_path, monkeypatch):
    """Ray would also log them on every node."""
    monkeypatch.setattr(TellingTrial, "told", tmp_path / "told", raising=False)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    search_idly(tmp_path, ["search.trials=1", "training.epochs=1"], trial=TellingTrial)
    assert (tmp_path / "told").read_text() == "none"


def test_all_patches_apply_to_the_installed_ray():
    assert left_out() == {}


@pytest.mark.parametrize(
    ("piece", "says"),
    [
        ("ray.tune.gone:Thing", "ray.tune.gone:Thing is missing"),
        (f"{CONTROLLER}.gone(self)", f"{CONTROLLER}.gone is missing"),
        (f"{CONTROLLER}._gone", f"{CONTROLLER}._gone is missing"),
        (f"{CONTROLLER}._storage", ""),
        (f"{CONTROLLER}.cleanup(self)", ""),
        (f"{CONTROLLER}.cleanup(self, now)", f"{CONTROLLER}.cleanup takes (self)"),
    ],
)
def test_a_piece_of_ray_that_is_missing_or_takes_something_else_is_named(piece, says):
    assert missing(piece) == says


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_search_goes_on_without_a_patch_that_does_not_apply(tmp_path, monkeypatch):
    """As with a release of Ray in which a method takes one argument more."""
    known = _ExperimentCheckpointManager._update_auto_checkpoint_time

    def changed(self, time_taken, now=None):
        known(self, time_taken)

    monkeypatch.setattr(_ExperimentCheckpointManager, "_update_auto_checkpoint_time", changed)
    folder = search_idly(tmp_path, ["search.trials=2", "training.epochs=1"])
    assert [trial.state for trial in folder.trials.values()] == [COMPLETE] * 2
    [(name, why)] = folder.read_environment()["ray_patches_left_out"].items()
    assert name == "frequent_snapshots"
    assert "_update_auto_checkpoint_time takes (self, time_taken, now)" in why
    assert why.endswith("needed with Ray 2.60.0")


class BriefTrial(IdleTrial):
    """Takes a fraction of what its process takes to start, and says which process that is."""

    processes: Path

    def step(self):
        time.sleep(0.2)
        own = self.processes / str(os.getpid())
        with own.open("a") as file:
            file.write(f"{self.suggestion.name}\n")
        if len(own.read_text().split()) >= 20:  # on a busy machine the other may start late
            deadline = time.monotonic() + 120
            while len(list(self.processes.iterdir())) < 2 and time.monotonic() < deadline:
                time.sleep(0.1)
        return super().step()


@pytest.mark.slow
def test_each_slot_has_one_process_also_where_trials_are_brief(all_cores, tmp_path, monkeypatch):
    """Ray would stop one that starts when another is free, and start it again."""
    processes = tmp_path / "processes"
    processes.mkdir()
    monkeypatch.setattr(BriefTrial, "processes", processes, raising=False)
    overrides = ["search.trials=40", "training.epochs=1", "search.scheduler=none"]
    search_idly(tmp_path, [*overrides, "search.sampler=random"], trial=BriefTrial, slots=2)
    trained = [len(file.read_text().split()) for file in processes.iterdir()]
    assert len(trained) == 2
    assert sum(trained) == 40
    assert min(trained) >= 3


class OnceBrokenTrial(IdleTrial):
    """Breaks, once, when it is handed the second trial of a search."""

    marks: Path
    how: str

    def _start(self, checkpoint):
        mark = self.marks / f"trial-{self.suggestion.name}"
        if len(list(self.marks.iterdir())) == 1 and not mark.exists():
            mark.touch()
            if self.how == "hangs":
                time.sleep(3600)
            raise OSError("Stale file handle")
        mark.touch()
        super()._start(checkpoint)


@pytest.mark.slow  # as one dies in test_faults.py; the process of one that hangs is ended
@pytest.mark.parametrize(("how", "noted"), [("raises", "Stale file handle"), ("hangs", "died")])
def test_a_trial_that_a_used_process_cannot_begin_is_started_again(
    how, noted, all_cores, tmp_path, monkeypatch
):
    marks = tmp_path / "marks"
    marks.mkdir()
    monkeypatch.setattr(OnceBrokenTrial, "marks", marks, raising=False)
    monkeypatch.setattr(OnceBrokenTrial, "how", how, raising=False)
    overrides = ["search.trials=4", "training.epochs=2", "search.scheduler=none"]
    overrides += ["search.sampler=random", "search.hang_after=20"]
    folder = search_idly(tmp_path, overrides, trial=OnceBrokenTrial, slots=1)
    assert [(trial.state, trial.epoch) for trial in folder.trials.values()] == [(COMPLETE, 2)] * 4
    [failure] = (folder.path / "failures").iterdir()
    assert noted in failure.read_text()


def test_a_trial_goes_on_from_a_checkpoint_that_ray_deletes_at_once(session_paths, tmp_path):
    """From an object store Ray brings a checkpoint to a temporary folder."""
    import shutil

    from emgmodels.config import Config
    from search.engine.trial import EmgTrial, TrialData

    config = Config.model_validate(
        {
            "model": {
                "features": {"hop": 64, "bins": 6},
                "mlp_features": 8,
                "encoder": {"order": ["conv"], "conv": {"layers": 1, "channels": 2, "kernel": 3}},
            },
            "training": {"epochs": 3, "batch_size": 4},
        }
    )
    paths = [str(path) for path in session_paths]
    arguments = {"data": TrialData(tuple(paths[:2]), tuple(paths[2:])), "save_every": 1e-6}
    first, second = EmgTrial.__new__(EmgTrial), EmgTrial.__new__(EmgTrial)
    for trial in (first, second):
        trial.setup({"config": config.model_dump_json()}, **arguments)
    assert first.step()["should_checkpoint"]
    first.save_checkpoint(str(tmp_path))
    expected = first.step()
    second.load_checkpoint(str(tmp_path))
    shutil.rmtree(tmp_path)
    result = second.step()
    assert (result["epoch"], result["val_cer"]) == (2, expected["val_cer"])


def test_a_folder_too_long_for_rays_sockets_is_said_with_the_remedy(tmp_path):
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    code = (
        "from search.engine.failures import EngineError\n"
        "from search.engine.ray_session import engine\n"
        "try:\n"
        "    engine(None, None).__enter__()\n"
        "except EngineError as error:\n"
        "    print(error)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "RAY_TMPDIR"}
    environment["TMPDIR"] = str(folder)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )
    assert f"TMPDIR: {folder} is too long" in done.stdout, done.stderr
    assert "RAY_TMPDIR=/tmp" in done.stdout


def test_a_snapshot_is_replaced_whole_as_it_was_when_it_was_taken(tmp_path):
    """A search that is killed meanwhile must find all of it, the old one or the new."""
    staged, stored = tmp_path / "staged", tmp_path / "stored"
    staged.mkdir()
    with whole_snapshots():
        syncer = _FilesystemSyncer(LocalFileSystem())
        (staged / "state.json").write_text("the first")
        assert syncer.sync_up(str(staged), str(stored))
        syncer.wait()
        with (stored / "state.json").open() as old:
            (staged / "state.json").write_text("the second, which is longer")
            assert syncer.sync_up(str(staged), str(stored))
            (staged / "state.json").write_text("a third that is not to be sto")  # cut off
            syncer.wait()
            assert (stored / "state.json").read_text() == "the second, which is longer"
            assert old.read() == "the first"
        (staged / "state.json").write_text("x" * 100_000)
        assert syncer.sync_up(str(staged), str(stored))
        syncer.wait()
        # Ray pickles it into the next snapshot, which must not have the last one in it.
        assert len(cloudpickle.dumps(syncer)) < 10_000
    assert [path.name for path in stored.iterdir()] == ["state.json"]
    assert (stored / "state.json").read_text() == "x" * 100_000
