"""Why a trial ended: a value that is stored and read back, in the words that tables always had."""

from __future__ import annotations

import json
import math

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emgmodels.config import Config
from search.engine.failures import PassingError, ending_noted, explain
from search.halving.ending import Ending, Why, ending_of
from search.halving.halving import Halving, Progress, State
from search.results.folder import RunFolder
from search.results.reading import read_trials
from search.results.record import CUT_OFF, TrialRecord, ending_in

SENTENCES = {
    "trained all 50 epochs": Ending(Why.WHOLE, epoch=50),
    "stopped at rung 9: rank 7 of 9": Ending(Why.OUTRANKED, rung=9, rank=7, reached=9),
    "stopped at rung 4: rank 9 of 10 by CER times loss": Ending(
        Why.OUTRANKED, rung=4, rank=9, reached=10, metric="CER times loss"
    ),
    "diverged at epoch 2: val_loss is -inf": Ending(
        Why.DIVERGED, epoch=2, metric="val_loss", value="-inf"
    ),
    "stopped by the scheduler at epoch 3": Ending(Why.STOPPED, epoch=3),
    "ended in an earlier run": Ending(Why.EARLIER),
    "ended after 4 epochs": Ending(Why.ENDED, epoch=4),
    "ended while it waited": Ending(Why.UNSTARTED),
    "ended at epoch 6, for the search to end in its time": Ending(Why.IN_TIME, epoch=6),
    "failed after 5 epochs": Ending(Why.FAILED, epoch=5),
    "out of memory": Ending(Why.MEMORY),
    "out of GPU memory, 3 times": Ending(Why.GPU_MEMORY, times=3),
    "out of memory: Ray ended its process before the machine ran out": Ending(Why.EVICTED),
    "starts again: its process was killed, or crashed": Ending(Why.CRASHED, again=True),
    "hung: no report within 600 s (search.hang_after), 3 times": Ending(
        Why.HUNG, seconds=600, times=3
    ),
    "paused at epoch 2 when the time budget was spent": Ending(
        Why.TIME_BUDGET, state="paused", epoch=2
    ),
    "waiting at epoch 0 when the search was interrupted": Ending(
        Why.INTERRUPTED, state="waiting", epoch=0
    ),
    "running at epoch 1 when the disk was full": Ending(Why.DISK_FULL, state="running", epoch=1),
    "running at epoch 4 when the target CER was reached (search.stop.target_cer: 12.5)": Ending(
        Why.TARGET, value="12.5", state="running", epoch=4
    ),
    "paused at epoch 4 when 20 trials in a row were no better (search.stop.patience)": Ending(
        Why.PATIENCE, reached=20, state="paused", epoch=4
    ),
    "waiting at epoch 0 when a better trial had a chance of 4.1% (search.stop.improvement)": Ending(
        Why.IMPROVEMENT, value="4.1%", state="waiting", epoch=0
    ),
    "running at epoch 1 when no trial could be trained": Ending(
        Why.NONE_TRAINS, state="running", epoch=1
    ),
    "the search failed: KeyError: 'x'": Ending(Why.SEARCH_FAILED, message="KeyError: 'x'"),
    "ValueError: it was interrupted": Ending(Why.ERROR, message="ValueError: it was interrupted"),
}


@pytest.mark.parametrize(("words", "ending"), SENTENCES.items(), ids=list(SENTENCES))
def test_every_ending_has_its_words_and_is_read_from_them(words, ending):
    assert str(ending) == words
    assert ending_of(words) == ending
    assert ending_of(json.loads(json.dumps(ending.facts))) == ending


def test_no_ending_is_without_words():
    assert {ending.why for ending in SENTENCES.values()} == set(Why)
    assert ending_of("") is None
    assert ending_of(None) is None


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (Ending(Why.WHOLE, epoch=1), "trained all 1 epoch"),
        (Ending(Why.ENDED, epoch=1), "ended after 1 epoch"),
        (Ending(Why.FAILED, epoch=1), "failed after 1 epoch"),
        (
            Ending(Why.PATIENCE, reached=1, state="running", epoch=4),
            "running at epoch 4 when 1 trial in a row was no better (search.stop.patience)",
        ),
    ],
)
def test_one_of_something_is_no_plural_and_both_are_read(ending, words):
    assert str(ending) == words
    assert ending_of(words) == ending
    older = words.replace("1 epoch", "1 epochs").replace(
        "1 trial in a row was", "1 trials in a row were"
    )
    assert ending_of(older) == ending


@settings(max_examples=60)
@given(
    st.lists(
        st.sampled_from(
            [*SENTENCES, ", 03 times", "starts again: ", "\n", "paused at epoch 01 when "]
        )
        | st.text(),
        min_size=1,
    ).map("".join)
)
def test_whatever_an_older_version_wrote_keeps_its_words(text):
    assert str(ending_of(text) or "") == text


def test_what_an_error_says_is_not_taken_for_what_ended_the_search(tmp_path):
    """Nor is a search that was interrupted known by any trial whose error says so."""
    folder = RunFolder.create(tmp_path, "small")
    error = explain(ValueError("what follows was interrupted"))
    folder.trials[0] = TrialRecord(0, Config(), CUT_OFF, error)
    assert not folder.is_interrupted
    folder.trials[0].ending = Ending(Why.INTERRUPTED).cut("running", 1)
    assert folder.is_interrupted


@pytest.mark.parametrize("text", ["out of GPU memory", "out of memory", "OSError: [Errno 5] no"])
def test_an_error_that_may_pass_is_known_from_what_ray_noted(text):
    noted = (
        f"ray.exceptions.RayTaskError\n{PassingError.__module__}.{PassingError.__name__}: {text}\n"
    )
    assert ending_noted(noted) == SENTENCES.get(text, ending_of(text))


def test_the_table_holds_the_value_and_an_older_one_its_sentence(tmp_path):
    folder = RunFolder.create(tmp_path, "small")
    folder.write_space({"name": "small"})
    for number, ending in enumerate([*SENTENCES.values(), None]):
        folder.trials[number] = TrialRecord(number, Config(), CUT_OFF, ending)
    folder.flush()
    table = read_trials(folder.path)
    ends = table["ending"].to_pylist()
    assert ends == [*(ending.why.value for ending in SENTENCES.values()), None]
    assert table["reason"].to_pylist() == [*SENTENCES, ""]
    older = table.drop_columns(["ending", "ending_facts"])
    for written in (table, older):
        pa.parquet.write_table(written, folder.path / "trials.parquet")
        again = RunFolder.open(folder.path)
        found = [again.trials[number].ending for number in range(len(SENTENCES) + 1)]
        assert found == [*SENTENCES.values(), None]
    again.flush()  # a search that goes on writes values beside older rows
    again.trials[0].ending = Ending(Why.CRASHED)
    again.flush()
    assert read_trials(folder.path)["ending"].to_pylist()[0] == "crashed"


@pytest.mark.parametrize(
    ("ending", "facts"), [("abducted", '{"by": 3}'), ("crashed", '{"by": 3}'), ("hung", "[1]")]
)
def test_an_ending_that_only_a_newer_version_knows_keeps_its_words(ending, facts):
    row = {"ending": ending, "ending_facts": facts, "reason": "taken away by 3"}
    assert str(ending_in(row)) == "taken away by 3"


def test_the_progress_that_an_older_version_saved_is_restored():
    saved = vars(Progress(0, epoch=5, state=State.STOPPED)) | {"why": "ended while it waited"}
    del saved["ended"]
    halving = Halving([5], 50, eta=2)
    halving.add("old", Progress.restored(saved))
    assert halving.ending("old") == Ending(Why.UNSTARTED)
    halving.add("new")
    halving.report("new", 1, math.nan, 1.0)
    again = Progress.restored(json.loads(json.dumps(vars(halving["new"]))))
    assert again == halving["new"]
