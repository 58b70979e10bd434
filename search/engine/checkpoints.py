"""Which checkpoints are kept: those of the best trials, and those that trials go on from.

The best few are copied to ``checkpoints/`` of the run folder. Of Ray's own, a trial goes on from
the one that the newest stored snapshot names, whatever becomes of the driver. So older ones are
deleted, and all of a trial that ended, but not before a snapshot that says so is stored.
"""

from __future__ import annotations

import contextlib
import filecmp
import heapq
import math
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.fs
from ray.tune.experiment import Trial

from emgmodels.atomic import whole
from emgmodels.checkpoints.loading import BEST, CHECKPOINTS
from emgmodels.outputs import is_own
from emgmodels.training.state import CHECKPOINT_MARK
from search.engine.snapshots import TRIALS
from search.results.record import TrialRecord

_SNAPSHOTS = f"{TRIALS}*.json"
_SAVING_SHARE = 0.05
"""Part of a trial's time that saving its best weights, epoch by epoch, may take."""
_CHECKPOINTS = "checkpoint_"
"""How the names of Ray's checkpoints begin; what follows counts up."""


class BestCheckpoints:
    """Keeps the checkpoints of the best few trials in ``checkpoints/`` of a run folder."""

    def __init__(self, run: Path, count: int) -> None:
        self._folder, self._count = run / CHECKPOINTS, count
        self._sources: dict[Path, str] = {}
        self._named: tuple[object, ...] = ()  # what ``best.pt`` was found to be
        # Until the few places are taken, every trial is among the best.
        self._last = (math.inf, sys.maxsize)

    def may_keep(self, trial: TrialRecord) -> bool:
        """Return whether a trial was among the best few when they were last looked for."""
        return trial.sort_key <= self._last

    def find(self, trials: Iterable[TrialRecord]) -> list[TrialRecord]:
        """Return the best few of all trials of the search, best first."""
        best = heapq.nsmallest(self._count, trials, key=lambda trial: trial.sort_key)
        self._last = best[-1].sort_key if len(best) == self._count else (math.inf, sys.maxsize)
        return [trial for trial in best if trial.best]

    def keep(self, trials: Collection[TrialRecord], ended: TrialRecord | None = None) -> None:
        """Take in new checkpoints of the best few, delete the losers' and no other file.

        Args:
            trials: all trials of the search.
            ended: the only one with news; nothing is done unless it is one of the best few.
        """
        if ended is not None and not self.may_keep(ended):
            return
        self._folder.mkdir(exist_ok=True)
        wanted = {self._folder / f"{trial.slug}.pt": trial for trial in self.find(trials)}
        for path, trial in wanted.items():
            source = trial.checkpoint
            if source is None or not (_is_ours(path) or not os.path.lexists(path)):
                continue
            if self._sources.get(path) != source.path:
                with contextlib.suppress(OSError):  # it was replaced by a newer one
                    with whole(path) as scratch:
                        source.share_with(scratch)
                    self._sources[path] = source.path
                    trial.kept = trial.saved
        # A user may have put files of their own into this folder. So only names that a trial of
        # this search would give are deleted.
        others = {path.name: path for path in self._folder.iterdir() if path not in wanted}
        begins = tuple({name.partition("-")[0] for name in others})  # spares most trials' names
        own = {f"{t.slug}.pt" for t in trials if f"{t.number:03d}" in begins} if others else set()
        for path in others.values():
            if path.name in own and _is_ours(path):
                path.unlink()
                self._sources.pop(path, None)
        for trial in trials:
            if trial.kept and self._folder / f"{trial.slug}.pt" not in wanted:
                trial.kept = None
        self._name_best(wanted)

    def _name_best(self, wanted: Mapping[Path, TrialRecord]) -> None:
        """Copy the file with the lowest CER of those kept to ``best.pt``.

        It is the CER of the weights in the file that counts, and not what its trial is ranked by:
        the weights of a trial's best epoch may be lost where a search ended in a hurry.
        """
        named = self._folder / BEST
        if os.path.lexists(named) and not _is_ours(named):
            return  # the user's own
        there = {path: trial for path, trial in wanted.items() if _is_ours(path)}
        best = min(there, key=lambda path: _kept_key(there[path]), default=None)
        if best is None:
            named.unlink(missing_ok=True)
            return
        with contextlib.suppress(OSError):  # what can't be named now is named the next time
            # Compared by content once: copies of a folder may all have the same times.
            known = named.exists() and self._named == (best, _state(best), _state(named))
            if not known and not (named.exists() and filecmp.cmp(named, best, shallow=False)):
                with whole(named) as scratch:
                    shutil.copyfile(best, scratch)  # a link would change with what it names
            self._named = (best, _state(best), _state(named))


def _kept_key(trial: TrialRecord) -> tuple[float, int]:
    """Return what ranks the file of a trial: the CER of its weights, as far as it is known."""
    return (trial.kept.cer, trial.number) if trial.kept else trial.sort_key


def _state(path: Path) -> tuple[int, int, int]:
    """Return what changes when a file is replaced."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _is_ours(path: Path) -> bool:
    """Return whether a file is a checkpoint that a training wrote."""
    return not path.is_symlink() and is_own(path, CHECKPOINT_MARK)


class _Save(NamedTuple):
    """A checkpoint that a trial wrote because its weights were among the best."""

    seconds: float
    """What it cost, from asking until it was stored (s)."""
    trained: float
    """Seconds that the trial had trained until then."""


class TimelySaves:
    """Says when a trial is to save the weights of its best epoch, so that they outlive it.

    They are saved as soon as they are there, whatever then becomes of trial and search. Where an
    epoch is so short that saving would take a good part of it, they wait for a later epoch, or for
    the end of the search.
    """

    def __init__(self) -> None:
        self._asked: dict[int, float] = {}
        self._saves: dict[int, _Save] = {}
        self._tried: set[int] = set()
        self._is_ending = False

    def is_owed(self, trial: TrialRecord) -> bool:
        """Return whether a trial's newest checkpoint lacks its best weights."""
        if trial.best is None or trial.number in self._tried:
            return False
        return trial.saved is None or trial.saved.epoch != int(trial.best["epoch"])

    def is_due(self, trial: TrialRecord) -> bool:
        """Return whether a trial is to save them now, at the end of an epoch."""
        last = self._saves.get(trial.number)
        trained = trial.seconds - last.trained if last else math.inf
        cheap = last is None or last.seconds <= _SAVING_SHARE * trained
        if not self.is_owed(trial) or not (cheap or self._is_ending):
            return False
        self._asked[trial.number] = time.monotonic()
        return True

    def saved(self, trial: TrialRecord) -> None:
        """Take in that a trial has a new checkpoint, whatever asked for it."""
        if (asked := self._asked.pop(trial.number, None)) is not None:
            self._saves[trial.number] = _Save(time.monotonic() - asked, trial.seconds)
        # One try for each trial: a trial whose best epoch cannot be saved must not hold up the
        # end of the search.
        if self._is_ending:
            self._tried.add(trial.number)

    def forget(self, trial: TrialRecord) -> None:
        """Take in that a trial ended."""
        self._asked.pop(trial.number, None)
        self._saves.pop(trial.number, None)

    def end(self) -> None:
        """Let each trial save what it owes after its running epoch, once: the search ends."""
        self._is_ending = True


class _Spent(NamedTuple):
    """What a snapshot does not need of a trial."""

    after: int
    """How many snapshots must have been stored before it is deleted."""
    folder: str
    """Where the trial's checkpoints lie."""
    needed: str | None
    """The oldest that is needed; None: the trial ended."""


class SpentCheckpoints:
    """Follows the checkpoints of a search's trials, and deletes those that are spent.

    What storage refuses is left for the next time, at the latest for the end of the search.
    """

    def __init__(self) -> None:
        self._storage: Any = None  # Ray's, of any trial: all have one file system
        self._news: dict[str, Trial] = {}
        self._spent: deque[_Spent] = deque()
        self._named: set[tuple[str, str | None]] = set()  # in the newest snapshot
        # Ray's own `num_to_keep` counts the checkpoints of each trial. It keeps those of ended
        # trials for good, and each deletion would force a whole snapshot.
        self._snapshot: Path | None = None
        self._stored_at: int | None = None
        self._stored = 0

    def note(self, trial: Trial) -> None:
        """Take in that a trial has a new checkpoint, or ended."""
        self._storage = trial.storage
        self._news[trial.trial_id] = trial

    def on_snapshot(self, trials: Iterable[Trial]) -> None:
        """Take in that Ray is writing a snapshot and will store it; delete what is spent.

        Snapshots are stored in the background, one after another, and some never: what shows is
        that another one was. The next to appear may have been on its way already, the one after it
        is this snapshot or a newer.
        """
        if self._storage is None:
            return
        # One that waits for its first slot has no folder yet, and so no checkpoint.
        begun = [trial for trial in trials if trial.checkpoint is not None]
        self._named = {(_folder(trial), _needed(trial)) for trial in begun}
        with contextlib.suppress(OSError):
            self._look()
            for trial in self._news.values():
                # A killed driver goes on from the newest stored snapshot. What that one names
                # must still be there, so deleting waits until two others have appeared.
                self._spent.append(_Spent(self._stored + 2, _folder(trial), _needed(trial)))
                # Otherwise a later snapshot would name checkpoints that are deleted by then.
                _forget_older(trial)
            self._news = {}
            while self._spent and self._spent[0].after <= self._stored:
                _, folder, needed = self._spent.popleft()
                found = self._find(folder)
                self._delete(path for path in found if needed is None or path.name < needed)

    def finish(self) -> None:
        """Delete all that the search's last snapshot does not name, if it was stored.

        Behind that snapshot Ray stops the trials that still ran, which then look as if they ended.
        """
        if self._storage is None:
            return
        with contextlib.suppress(OSError):
            if self._look():
                found = self._find(self._storage.experiment_fs_path)
                self._delete(
                    path for path in found if (str(path.parent), path.name) not in self._named
                )

    def _look(self) -> bool:
        """Return whether a snapshot was stored since the last look, as it was written."""
        if self._snapshot is None:
            written = Path(self._storage.experiment_driver_staging_path).glob(_SNAPSHOTS)
            self._snapshot = max(written)
        path = f"{self._storage.experiment_fs_path}/{self._snapshot.name}"
        stored = self._files.get_file_info(path)
        is_new = stored.mtime_ns != self._stored_at
        self._stored += is_new
        self._stored_at = stored.mtime_ns
        # A size that differs shows an upload that was cut short: the snapshot before it is then
        # the one that counts.
        return is_new and stored.size == self._snapshot.stat().st_size

    def _find(self, folder: str) -> set[PurePosixPath]:
        """Return the checkpoints below a folder, and nothing that the folder itself lies in."""
        selector = pa.fs.FileSelector(folder, recursive=True, allow_not_found=True)
        paths = [PurePosixPath(i.path) for i in self._files.get_file_info(selector)]
        return {
            path
            for each in paths
            for path in (each, *each.parents)
            if path.name.startswith(_CHECKPOINTS) and PurePosixPath(folder) in path.parents
        }

    def _delete(self, checkpoints: Iterable[PurePosixPath]) -> None:
        for path in checkpoints:
            self._files.delete_dir(str(path))

    @property
    def _files(self) -> Any:
        return self._storage.storage_filesystem


def _folder(trial: Trial) -> str:
    """Return where a trial's checkpoints lie."""
    storage: Any = trial.storage
    return storage.trial_fs_path


def _needed(trial: Trial) -> str | None:
    """Return the name of the checkpoint that a trial would go on from."""
    if trial.is_finished() or trial.checkpoint is None:
        return None
    return PurePosixPath(trial.checkpoint.path).name


def _forget_older(trial: Trial) -> None:
    """Leave only the latest checkpoint in what Ray's next snapshot says of a trial."""
    manager: Any = trial.run_metadata.checkpoint_manager
    del manager.best_checkpoint_results[:-1]
