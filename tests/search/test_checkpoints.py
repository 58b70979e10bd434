"""Which checkpoints of Ray's are deleted: never one that a stored snapshot of the search names."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pyarrow.fs
from hypothesis import given, settings
from hypothesis import strategies as st

from search.engine.checkpoints import SpentCheckpoints


class Trained:
    """A trial as Ray knows it: what it saved, and whether it ended."""

    def __init__(self, number: int, staging: Path, stored: Path) -> None:
        self.trial_id = str(number)
        self.folder = stored / f"{number:04d}"
        self.storage = SimpleNamespace(
            storage_filesystem=pyarrow.fs.LocalFileSystem(),
            experiment_fs_path=str(stored),
            experiment_driver_staging_path=str(staging),
            trial_fs_path=str(self.folder),
        )
        manager = SimpleNamespace(best_checkpoint_results=[])
        self.run_metadata = SimpleNamespace(checkpoint_manager=manager)
        self.checkpoint: SimpleNamespace | None = None
        self.saves, self.ended = 0, False

    def is_finished(self) -> bool:
        return self.ended

    def save(self) -> None:
        path = self.folder / f"checkpoint_{self.saves:06d}"
        path.mkdir(parents=True)
        (path / "checkpoint.pt").write_text("weights")
        self.checkpoint = SimpleNamespace(path=str(path))
        self.saves += 1

    @property
    def kept(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("checkpoint_*"))


class Unbegun(Trained):
    """A trial that waits for its first slot: Ray refuses to name its folder."""

    def __init__(self, number: int, staging: Path, stored: Path) -> None:
        super().__init__(number, staging, stored)
        del self.storage.trial_fs_path


class Search:
    """A search as Ray leaves it on the disk: trials that save and end, snapshots stored late."""

    def __init__(self, folder: Path) -> None:
        staging, stored = folder / "staging", folder / "stored"
        staging.mkdir()
        stored.mkdir()
        self.trials = [Trained(number, staging, stored) for number in range(2)]
        self.waiting = Unbegun(2, staging, stored)
        self.snapshot = staging / "experiment_state-now.json"
        self.stored = stored / self.snapshot.name
        self.is_storing = False
        self.spent = SpentCheckpoints()

    def do(self, event: str) -> None:
        if event == "snapshot":
            named = {t.trial_id: t.checkpoint.path for t in self.trials if t.checkpoint}
            ended = [t.trial_id for t in self.trials if t.ended]
            self.snapshot.write_text(json.dumps({"named": named, "ended": ended}))
            self.spent.on_snapshot([*self.trials, self.waiting])
            self.begin_storing()
        elif event == "stored":
            self.end_storing()
        else:
            trial = self.trials[int(event[-1])]
            if not trial.ended:
                trial.save() if event.startswith("save") else None
                trial.ended = event.startswith("end")
                self.spent.note(trial)

    def begin_storing(self) -> None:
        if not self.is_storing:  # as Ray: one at a time, the others are left out
            self.is_storing, self.content = True, self.snapshot.read_text()

    def end_storing(self) -> None:
        if self.is_storing:
            self.is_storing = False
            self.stored.write_text(self.content)

    def check(self) -> None:
        """Go on as after a kill: what the stored snapshot names must be there."""
        if self.stored.exists():
            state = json.loads(self.stored.read_text())
            for trial_id, path in state["named"].items():
                assert trial_id in state["ended"] or (Path(path) / "checkpoint.pt").is_file()


EVENTS = st.sampled_from(["save 0", "save 1", "end 0", "end 1", *["snapshot"] * 3, *["stored"] * 3])


@settings(max_examples=300, deadline=None)
@given(st.lists(EVENTS, max_size=40))
def test_whenever_a_search_is_killed_its_trials_can_go_on(events):
    with tempfile.TemporaryDirectory() as folder:
        search = Search(Path(folder))
        for event in events:
            search.do(event)
            search.check()
        search.do("stored")
        search.do("snapshot")
        search.do("stored")
        search.spent.finish()
        search.check()
        for trial in search.trials:
            assert trial.kept == ([] if trial.ended else trial.kept[-1:])


def test_while_a_search_runs_little_more_is_kept_than_its_trials_go_on_from(tmp_path):
    search = Search(tmp_path)
    for event in ["save 0", "save 1", "save 0", *["snapshot", "stored"] * 3, "end 1"]:
        search.do(event)
    assert [trial.kept for trial in search.trials] == [["checkpoint_000001"], ["checkpoint_000000"]]
    for event in ["snapshot", "stored"] * 3:
        search.do(event)
    assert [trial.kept for trial in search.trials] == [["checkpoint_000001"], []]


def test_a_last_snapshot_that_could_not_be_stored_keeps_what_the_one_before_names(tmp_path):
    search = Search(tmp_path)
    for event in ["save 0", "snapshot", "stored", "save 0", "snapshot"]:
        search.do(event)
    search.stored.write_text(search.content[:9])  # the disk is full
    search.spent.finish()
    assert search.trials[0].kept == ["checkpoint_000000", "checkpoint_000001"]


def test_trials_that_ran_until_ctrl_c_keep_what_they_go_on_from(tmp_path):
    """Ray stops them behind its last snapshot, in which they still run."""
    search = Search(tmp_path)
    for event in ["save 0", "save 1", "end 1", "snapshot", "stored", "snapshot", "stored"]:
        search.do(event)
    search.trials[0].ended = True
    search.spent.finish()
    search.check()
    assert [trial.kept for trial in search.trials] == [["checkpoint_000000"], []]
