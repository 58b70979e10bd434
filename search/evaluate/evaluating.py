"""What the winners of a search read in whole sessions, validation and test."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import torch
from rich.console import Console
from rich.progress import Progress as Bars

from emgmodels.checkpoints.loading import load
from emgmodels.checkpoints.weights import weights_hash
from emgmodels.compute.devices import find_device
from emgmodels.ctc import BeamSearch
from emgmodels.ctc.beam import BONUS, WEIGHT, WIDTH
from emgmodels.language import LanguageModel
from emgmodels.network.network import Network
from emgmodels.own_code import asks_for_code
from emgmodels.reading.reader import Reader
from emgmodels.saying import counted
from emgmodels.scoring import RankBy, Scoring
from emgmodels.windows.cache import prepare
from emgmodels.windows.recording import Recording, check_times
from search.evaluate.evaluation import Evaluation, evaluate_trial
from search.evaluate.looks import looks, new_look, note_look
from search.evaluate.output import show, write_table
from search.evaluate.page import page_paths, write_files
from search.evaluate.tuning import tune, validation_emissions
from search.report.display.words import say, with_room
from search.results.demo_sessions import written_again
from search.results.folder import RunFolder
from search.results.own_files import check_own
from search.results.record import TrialRecord, Weights
from search.results.session_files import (
    SETS,
    check_recordings,
    is_synthetic,
    session_files,
)
from search.storage import is_uri, local_file, local_path

_TABLE = "evaluation.parquet"


@asks_for_code
def evaluate(
    run: str | Path,
    *,
    top: int = 1,
    test: bool = False,
    lm: str | Path | None = None,
    beam: int | None = None,
    lm_weight: float = WEIGHT,
    insertion_bonus: float = BONUS,
    tune_lm: bool = False,
    data: str | Path | None = None,
    adapt: Literal["norm"] | None = None,
    lines: int = 3,
    device: str | None = None,
    allow_code: bool = False,
    quiet: bool = False,
) -> pa.Table:
    """Evaluate the best trials of a search, print what was found, and return it as a table.

    The table is in the run folder as ``evaluation.parquet`` too, beside the rows of earlier
    evaluations of other trials and sets; ``evaluation.json`` says what was looked at and when, and
    ``evaluation/`` holds a page with all texts, and the keyboard as picture, of each trial and set.

    Args:
        run: the run folder.
        top: trials, best first, of those whose checkpoints were kept.
        test: look at the test sessions too.
        lm: a language model, ARPA or KenLM's binary: decode by beam search too.
        beam: width of the beam; None: 50 with a language model, else no beam search.
        lm_weight: weight of the language model's log10 probabilities, as emg2qwerty counts it.
        insertion_bonus: for each key that the language model scores.
        tune_lm: find weight and bonus on the validation sessions, for each trial.
        data: folder that holds the session files now, or its URI; None: where the search found
            them.
        adapt: also read each session with the norm's statistics of that session, computed before
            it is read and without its labels.
        lines: lines of text to show for each trial and set.
        device: where to compute; None: the GPU if there is one.
        allow_code: import code of their own that checkpoints name, wherever they lie.
        quiet: print nothing.

    Returns:
        One row a trial, set, session (null: the whole set) and way: CER (%) with its 95 % interval
        and parts, time and look-ahead. ``test_cer`` is the trial's CER on the whole test set,
        stitched.

    Raises:
        ValueError: it is not a run folder, it has no checkpoint, session files are missing, the
            language model can't be read, or there is no such device. Or the folder can't be
            written and ``test`` is asked for: without ``test`` nothing is kept then.
    """
    # Options are checked before anything is opened: opening a test session is noted for good.
    where = find_device(device)
    search = _beam_search(lm, beam, lm_weight, insertion_bonus, tune_lm)
    console = with_room(Console(quiet=quiet))
    folder = RunFolder.open(local_path(run))
    facts = folder.read_environment()
    is_kept = _is_kept(folder.path, test)
    trials = _with_checkpoints(folder, top)
    subsets = ("val", "test") if test else ("val",)
    paths = _files(folder, facts, subsets, data)
    for trial in trials if is_kept else ():
        for subset in subsets:
            # A file that may not be replaced must be found before hours of decoding.
            page_paths(folder.path / "evaluation", trial, subset)
    synthetic, people = is_synthetic(facts), Scoring.in_facts(facts)
    say(console, _introduction(paths, where, synthetic))
    if len(trials) < top:
        say(
            console, f"note: checkpoints are there of {counted(len(trials), 'trial')}, not of {top}"
        )
    # All are loaded first, so that a damaged checkpoint does not end the evaluation in the
    # middle.
    readers = {trial.number: load(_checkpoint(folder, trial), where) for trial in trials}
    opened = _Sessions(
        folder, paths, new_look([t.number for t in trials], search), console, is_kept
    )
    evaluations: list[Evaluation] = []
    for trial in trials:
        reader, decoder = readers[trial.number], search
        if tune_lm and search:
            decoder = _tuned(console, trial, reader.model, opened["val"], search)
        searches = (None, decoder) if decoder else (None,)
        for subset in subsets:
            title, recordings = f"{trial.name}, {SETS[subset]}", opened[subset]
            with Bars(console=console, transient=True, disable=not console.is_terminal) as bars:
                sessions = bars.track(recordings, description=title)
                found = evaluate_trial(
                    *(trial, reader.model, subset, sessions, searches, _weights(reader)),
                    rank_by=people.by if people else _unsaid(opened["val"]),
                    adapts=adapt is not None,
                )
            evaluations.append(found)
            table = write_table(
                folder.path / _TABLE, [found], where, synthetic, is_kept
            )  # whatever follows
            show(console, found, synthetic, lines)
    _say_what_is_kept(console, folder, evaluations if is_kept else None, synthetic)
    return table


def _files(
    folder: RunFolder, facts: dict[str, Any], subsets: Sequence[str], data: str | Path | None
) -> dict[str, list[Path]]:
    """Return the session files of each set, here; a demo's are written again if they are gone."""
    if data is None:
        data = written_again(folder.path, facts)
    found = {}
    for subset in subsets:
        files = session_files(folder.path, facts, subset, data)
        found[subset] = [local_file(file) for file in files]
        if any(map(is_uri, files)):
            check_recordings(facts, subset, found[subset])
    return found


def _say_what_is_kept(
    console: Console, folder: RunFolder, kept: Sequence[Evaluation] | None, synthetic: bool
) -> None:
    """Write the pages of what is kept, and say where all of it lies; None: nothing is kept."""
    if kept is None:
        say(console, f"note: {folder.path} cannot be written by you: nothing of this is kept")
    else:
        say(console, f"Written: {folder.path / _TABLE}")
    for found in kept or ():
        pages = write_files(folder.path / "evaluation", found, synthetic)
        say(console, f"Written: {pages[0]}, with the keyboard as {pages[1].name} and .svg")
    if touched := _touched(folder):
        say(console, f"The test sessions have been looked at {_times(touched)}.")


def _is_kept(run: Path, test: bool) -> bool:
    """Return whether what is found can be written into the run folder.

    Raises:
        ValueError: something that no search wrote is in its place, or the folder can't be written
            and test sessions are asked for.
    """
    if os.access(run, os.W_OK | os.X_OK) or test:
        check_own(run)  # a look at test sessions is noted there, or not taken
        return True
    return False


def _times_notes(recordings: Sequence[Recording], files: Sequence[Path]) -> Iterator[str]:
    """Yield what to know of sessions whose keys or prompts are not inside; refuse where none is."""
    typed = 0
    for recording, file in zip(recordings, files, strict=True):
        yield from check_times(recording, file)
        low, high = recording.label_span(0, recording.samples)
        typed += high - low
        if high == low:
            yield f"{file}: nothing was typed in it, so it has no CER of its own"
        elif not recording.has_key_times:
            yield f"{recording.name} has no key times: its windows and intervals are whole prompts"
    if not typed:
        names = ", ".join(str(file) for file in files)
        raise ValueError(f"nothing was typed in these sessions, so they have no CER: {names}")


def _unsaid(val: Sequence[Recording]) -> RankBy | None:
    """Return what a run ranked by that does not say it; None: one user, which is every figure."""
    # Searches of an older version ranked several users by all windows together.
    return "pooled" if len({recording.user for recording in val}) > 1 else None


def _weights(reader: Reader) -> Weights:
    """Return which weights a checkpoint has."""
    origin = reader.origin
    cer = math.nan if origin.val_cer is None else origin.val_cer
    return Weights(origin.epoch or 0, cer, weights_hash(reader.model.state_dict()))


def _with_checkpoints(folder: RunFolder, top: int) -> list[TrialRecord]:
    """Return the best trials of those that have a checkpoint."""
    # The best trial may have no checkpoint. Others are read then rather than none.
    kept = [trial for trial in folder.ranking() if _checkpoint(folder, trial).is_file()]
    if not kept:
        raise ValueError(
            f"{folder.path}: holds no checkpoint: checkpoints/ keeps those of the best trials once "
            f"a trial has ended or paused"
        )
    return kept[:top]


def _checkpoint(folder: RunFolder, trial: TrialRecord) -> Path:
    return folder.path / "checkpoints" / f"{trial.slug}.pt"


def _beam_search(
    lm: str | Path | None, beam: int | None, weight: float, bonus: float, tune_lm: bool
) -> BeamSearch | None:
    if lm is None:
        if tune_lm:
            raise ValueError("--tune-lm: there is no language model to tune: name one with --lm")
        return BeamSearch(width=beam) if beam else None
    return BeamSearch(beam or WIDTH, language=LanguageModel(lm), weight=weight, bonus=bonus)


def _tuned(
    console: Console,
    trial: TrialRecord,
    model: Network,
    recordings: Sequence[Recording],
    search: BeamSearch,
) -> BeamSearch:
    """Return the search with weight and bonus found on validation sessions."""
    emissions = validation_emissions(trial, model, recordings)
    with Bars(console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(f"{trial.name}, tuning", total=None)
        found, cer = tune(emissions, search, lambda search, cer: bars.advance(task))
    say(
        console,
        f"{trial.name}: CER {cer:.2f} % on validation sessions with --lm-weight {found.weight:g} "
        f"--insertion-bonus {found.bonus:g}, which were chosen on them",
    )
    return found


class _Sessions:
    """The sessions of each set, opened when they are asked for, which is noted first.

    A call that ends before it opens a session has looked at none, and one that is interrupted
    afterwards has.
    """

    def __init__(
        self,
        folder: RunFolder,
        paths: dict[str, list[Path]],
        entry: dict[str, Any],
        console: Console,
        is_kept: bool,
    ) -> None:
        self._console, self._is_kept = console, is_kept
        self._run, self._paths, self._entry = folder.path, paths, entry
        self._earlier = looks(folder.path)
        self._opened: dict[str, list[Recording]] = {}

    def __getitem__(self, subset: str) -> list[Recording]:
        if subset not in self._opened:
            names = [file.stem for file in self._paths[subset]]
            self._entry["sessions"] = {**self._entry["sessions"], subset: names}
            if self._is_kept:
                note_look(self._run, self._earlier, self._entry)
            self._opened[subset] = prepare(self._paths[subset])
            for note in _times_notes(self._opened[subset], self._paths[subset]):
                say(self._console, f"note: {note}")
        return self._opened[subset]


def _touched(folder: RunFolder) -> list[str]:
    """Return when the test sessions were looked at."""
    return [entry["when"] for entry in looks(folder.path) if "test" in entry["sessions"]]


def _introduction(paths: dict[str, list[Path]], device: torch.device, synthetic: bool) -> str:
    counts = " and ".join(f"{len(files)} {SETS[subset]}" for subset, files in paths.items())
    threads = f" with {counted(torch.get_num_threads(), 'thread')}" if device.type == "cpu" else ""
    note = "\nSynthetic data: its error rates say nothing about people." if synthetic else ""
    return (
        f"Sessions: {counts}. Decoding on {device}{threads}; 95 % intervals by bootstrap "
        f"over the sessions' windows.{note}"
    )


def _times(touched: list[str]) -> str:
    if len(touched) == 1:
        return f"once, on {touched[0]}"
    return f"{counted(len(touched), 'time')}, first on {touched[0]}"
