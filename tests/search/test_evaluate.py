"""The evaluation of a run folder whose trials were trained for real, in one process."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from conftest import make_session
from pyarrow.fs import LocalFileSystem
from typer.testing import CliRunner

from emgmodels.charset import CLASSES
from emgmodels.checkpoints.exported import write_torch
from emgmodels.checkpoints.loading import load
from emgmodels.checkpoints.weights import weights_hash
from emgmodels.config import Config
from emgmodels.ctc import BeamSearch
from emgmodels.factory import build
from emgmodels.language import typed_lines, write_arpa
from emgmodels.metrics import EditCounts, count_confusions
from emgmodels.notation import parse_notation
from emgmodels.reading.sessions import Transcript
from emgmodels.sessions import write_session
from emgmodels.training.fit import fit
from emgmodels.windows.cache import prepare
from search.engine.checkpoints import BestCheckpoints
from search.evaluate.__main__ import app
from search.evaluate.evaluation import Evaluation, evaluate_trial
from search.evaluate.keyboard import keys_of
from search.evaluate.output import write_table
from search.evaluate.tuning import tune
from search.halving.ending import Ending, Why
from search.results.folder import RunFolder
from search.results.record import COMPLETE, TrialRecord
from search.storage import StoredFile

TRAINING = {
    "epochs": 5,
    "batch_size": 4,
    "learning_rate": 1e-2,
    "warmup_steps": 4,
    "aligned_start": {"epochs": 5},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run folder with two trials, and the sessions it was trained on beside it."""
    parent = tmp_path_factory.mktemp("evaluated")
    data = parent / "data"
    data.mkdir()
    for i in range(4):
        write_session(data / f"s{i}.hdf5", make_session(seconds=26, seed=i, name=f"s{i}"))
    sessions = {
        "train": [str(data / "s0.hdf5"), str(data / "s1.hdf5")],
        "val": [str(data / "s2.hdf5")],
        "test": [str(data / "s3.hdf5")],
    }
    folder = RunFolder.create(parent, "tiny")
    folder.write_space({"name": "tiny"})
    folder.write_environment({"seed": 0, "synthetic": True, "split": {"origin": "", **sessions}})
    recordings = prepare([*map(Path, sessions["train"] + sessions["val"])])
    for number, text in enumerate(("gru:1(hidden=24) hop:64 mlp:16", "conv:1 hop:64 mlp:16")):
        config = Config.model_validate({"training": TRAINING})
        config = config.model_copy(update={"model": parse_notation(text)})
        trial = TrialRecord(number, config, COMPLETE, Ending(Why.WHOLE, epoch=5), "here")
        folder.trials[number] = trial
        for result in fit(config, recordings[:2], recordings[2:]):
            trial.add(result.metrics())
            result.save(parent / f"{number}.pt")
            trial.checkpoint = StoredFile(LocalFileSystem(), str(parent / f"{number}.pt"))
    folder.flush()
    BestCheckpoints(folder.path, 3).keep(folder.trials.values())
    return folder.path


@pytest.fixture
def run(trained, tmp_path) -> Path:
    """A copy of the run folder that no earlier evaluation has touched."""
    return Path(shutil.copytree(trained, tmp_path / trained.name))


def evaluate(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


def rows_of(run: Path) -> list[dict]:
    return pyarrow.parquet.read_table(run / "evaluation.parquet").to_pylist()


def test_every_way_of_reading_a_session_stands_in_the_table(run):
    printed = evaluate(run, "--top", 2)
    best = RunFolder.open(run).ranking()[0]
    rows = [row for row in rows_of(run) if row["trial"] == best.number]
    assert {(row["set"], row["session"], row["way"]) for row in rows} == {
        ("val", session, way)
        for session in (None, "s2")
        for way in ("stitched", "one pass", "windows")
    }
    for row in rows:
        assert row["cer"] == pytest.approx(row["ier"] + row["der"] + row["ser"])
        edits = row["insertions"] + row["deletions"] + row["substitutions"]
        assert row["cer"] == pytest.approx(100 * edits / row["characters"])
        assert row["cer_low"] <= row["cer"] <= row["cer_high"]
        assert row["test_cer"] is None
        assert 0 < row["real_time_factor"] < 1
        if row["way"] == "windows":
            assert row["cer"] == pytest.approx(best.best["val_cer"])
    assert "synthetic" in printed
    assert "000 " in printed
    assert "001 " in printed
    assert "Look-ahead" in printed
    assert "the search recorded" not in printed
    assert evaluate(run, "--quiet") == ""


def test_the_text_is_shown_with_its_errors(run):
    printed = evaluate(run, "--lines", 1)
    true = next(line for line in printed.splitlines() if line.startswith(" true "))
    assert len(true.split()[1].replace("·", "")) > 40
    assert set(true.split()[1]) <= set("abcd·")
    assert " read " in printed
    assert " true " not in evaluate(run, "--lines", 0)


def test_test_sessions_are_opened_only_when_asked_and_that_is_recorded(run, trained, tmp_path):
    data = Path(shutil.copytree(trained.parent / "data", tmp_path / "data"))
    (data / "s3.hdf5").write_bytes(b"nobody reads this")
    evaluate(run, "--data", data)
    (record,) = json.loads((run / "evaluation.json").read_text())
    assert record["sessions"] == {"val": ["s2"]}
    message = evaluate(run, "--data", data, "--test", code=2)
    assert "s3.hdf5" in message
    touched = json.loads((run / "evaluation.json").read_text())[-1]
    assert touched["sessions"]["test"] == ["s3"]
    assert touched["when"].startswith("20")


def test_the_test_cer_is_there_for_the_report_and_stays(run):
    assert "looked at once" in evaluate(run, "--test")
    best = RunFolder.open(run).ranking()[0].number
    (tested,) = (
        row["cer"]
        for row in rows_of(run)
        if (row["set"], row["session"], row["way"]) == ("test", None, "stitched")
    )
    evaluate(run, "--top", 2)
    assert {row["trial"] for row in rows_of(run)} == {0, 1}
    assert {row["test_cer"] for row in rows_of(run) if row["trial"] == best} == {tested}
    assert {row["test_cer"] for row in rows_of(run) if row["trial"] != best} == {None}
    assert "looked at 2 times" in evaluate(run, "--test")


def test_a_run_that_does_not_say_what_ranked_its_users_ranked_all_windows(run, tmp_path):
    """A search of an older version did; a newer one says it in ``environment.json``."""
    write_session(tmp_path / "t.hdf5", make_session(seconds=12, seed=9, name="t", user="other"))
    place = run / "environment.json"
    facts = json.loads(place.read_text())
    facts["split"]["val"].append(str(tmp_path / "t.hdf5"))
    people = {"rank_by": "mean_user", "windows": [["12345678", 6], ["other", 3]]}
    for added, ranks in (({}, "cer"), ({"people": people}, "cer_mean_user")):
        place.write_text(json.dumps({**facts, **added}))
        evaluate(run)
        rows = [row for row in rows_of(run) if (row["session"], row["user"]) == (None, None)]
        [row] = [row for row in rows if row["way"] == "windows"]
        assert row["cer"] != pytest.approx(row["cer_mean_user"], abs=0.01)
        assert row["cer_ranked"] == pytest.approx(row[ranks])


def test_a_call_that_fails_before_it_opens_a_session_is_no_look(run):
    assert "device 'cuda:99'" in evaluate(run, "--test", "--device", "cuda:99", code=2)
    assert not (run / "evaluation.json").exists()
    next((run / "checkpoints").iterdir()).write_bytes(b"no checkpoint")
    evaluate(run, "--test", "--top", 2, code=2)
    assert not (run / "evaluation.json").exists()


def test_a_look_that_is_interrupted_is_recorded_and_what_was_read_stays(run, monkeypatch):
    from search.evaluate import evaluating as command

    def fail(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "write_files", fail)
    with pytest.raises(KeyboardInterrupt):
        command.evaluate(run, test=True, quiet=True)
    (record,) = json.loads((run / "evaluation.json").read_text())
    assert record["sessions"] == {"val": ["s2"], "test": ["s3"]}
    assert {row["set"] for row in rows_of(run)} == {"val", "test"}


def test_rows_carry_the_hash_of_the_weights_and_a_test_cer_stays_with_its_own(run, trained):
    evaluate(run, "--test", "--quiet")
    best = RunFolder.open(run).ranking()[0]
    path = run / "checkpoints" / f"{best.slug}.pt"
    known = weights_hash(load(path).model.state_dict())
    assert {row["weights"] for row in rows_of(run)} == {known}
    assert {(row["epoch"], row["val_cer"]) for row in rows_of(run)} == {
        (best.best["epoch"], best.best["val_cer"])
    }
    export = run.parent / "export.pt"
    write_torch(load(path), export)
    assert weights_hash(load(export).model.state_dict()) == known
    state = torch.load(path, weights_only=True)
    state["best"] = {name: value + value.ne(0) for name, value in state["best"].items()}
    state["best_epoch"], state["best_cer"] = 6, 99.0
    torch.save(state, path)
    printed = evaluate(run)
    assert f"is ranked by epoch {best.best['epoch']:.0f}" in printed
    assert "its checkpoint is of epoch 6 (99.00 %)" in printed
    rows = rows_of(run)
    assert {row["weights"] == known for row in rows if row["set"] == "test"} == {True}
    assert {row["test_cer"] for row in rows if row["set"] == "val"} == {None}


def transcript(way: str, errors: int) -> Transcript:
    return Transcript(way, None, [0] * 100, [0] * 100, [EditCounts(0, 0, errors, 100)], 1.0, 60.0)


def test_a_model_that_reads_otherwise_in_one_pass_is_told(run):
    best = RunFolder.open(run).ranking()[0]
    windows = transcript("windows", round(best.best["val_cer"]))

    def warnings(stitched, one_pass, windows=windows):
        found = [transcript("stitched", stitched), transcript("one pass", one_pass), windows]
        return list(Evaluation(best, "val", (None,), [("s2", each) for each in found]).warnings())

    assert warnings(37, 38) == []
    assert "37.0 % stitched and 94.0 % in one pass" in warnings(37, 94)[0]
    assert "another epoch" in warnings(37, 37, transcript("windows", 99))[0]


def test_a_session_that_a_stage_cannot_take_at_once_is_said(run, session_paths, language_models):
    text = f"pretrained:1(name={language_models['GPT2']}) hop:16 mlp:16"
    config = Config.model_validate({"training": TRAINING})
    config = config.model_copy(update={"model": parse_notation(text)})
    trial = TrialRecord(7, config)
    recordings = prepare(session_paths[:1])
    found = evaluate_trial(trial, build(config.model).eval(), "val", recordings)
    assert {row.way for row in found.rows()} == {"stitched", "windows"}
    (note,) = found.notes
    assert "s0 was not read in one pass" in note
    assert "1024 at most" in note


@pytest.fixture(scope="module")
def language_model(kenlm, tmp_path_factory) -> Path:
    """A model of the keys that the sessions have, and of a few that they lack."""
    path = tmp_path_factory.mktemp("lm") / "keys.arpa"
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcdefghijkl"), size=40)) for _ in range(40)]
    write_arpa(typed_lines(texts), 3, path)
    return path


def test_beam_search_stands_beside_greedy_decoding(run, language_model):
    arguments = (run, "--lm", language_model, "--beam", 8, "--lm-weight", 0.3)
    printed = evaluate(*arguments, "--insertion-bonus", 0.5)
    rows = rows_of(run)
    name = "beam 8 + keys.arpa"
    assert {(row["decoder"], row["way"]) for row in rows} == {
        (decoder, way)
        for decoder in ("greedy", name)
        for way in ("stitched", "one pass", "windows")
    }
    assert {row["lm_weight"] for row in rows} == {None, 0.3}
    assert {row["insertion_bonus"] for row in rows} == {None, 0.5}
    assert f"s2 from its beginning, {name}" in printed
    (record,) = json.loads((run / "evaluation.json").read_text())
    assert record["decoders"] == ["greedy", name]
    assert record["language_model"] == str(language_model)
    best = RunFolder.open(run).ranking()[0]
    for row in rows:
        if (row["decoder"], row["way"]) == ("greedy", "windows"):
            assert row["cer"] == pytest.approx(best.best["val_cer"])
    evaluate(run, "--beam", 8, "--quiet")
    assert {row["decoder"] for row in rows_of(run)} == {"greedy", "beam 8"}


def test_the_page_has_every_text_with_its_errors_and_the_keyboard(run):
    printed = evaluate(run)
    slug = RunFolder.open(run).ranking()[0].slug
    files = {path.name for path in (run / "evaluation").iterdir()}
    assert files == {f"{slug}-val{end}" for end in (".html", "-keyboard.png", "-keyboard.svg")}
    assert f"{slug}-val.html" in printed
    page = (run / "evaluation" / f"{slug}-val.html").read_text()
    assert "Synthetic data." in page
    assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")
    (row,) = (r for r in rows_of(run) if (r["session"], r["way"]) == ("s2", "stitched"))
    for kind, name in ("S", "substitutions"), ("D", "deletions"), ("I", "insertions"):
        assert page.count(f'<span class="{kind}"') == 2 * row[name]
    assert (run / "evaluation" / f"{slug}-val-keyboard.png").read_bytes()[1:4] == b"PNG"
    svg = (run / "evaluation" / f"{slug}-val-keyboard.svg").read_text()
    assert svg.count('<g id="patch_') > 51


def test_tuning_looks_at_validation_sessions_and_holds_for_test(run, language_model):
    printed = evaluate(run, "--lm", language_model, "--tune-lm", "--test")
    found = re.search(
        r"CER (\S+) % on validation .* --lm-weight (\S+) --insertion-bonus (\S+),", printed
    )
    cer, weight, bonus = map(float, found.groups())
    rows = [row for row in rows_of(run) if row["lm_weight"] is not None]
    assert {row["set"] for row in rows} == {"val", "test"}
    assert {(row["lm_weight"], row["insertion_bonus"]) for row in rows} == {(weight, bonus)}
    (tuned,) = (
        row["cer"]
        for row in rows
        if (row["set"], row["session"], row["way"]) == ("val", None, "stitched")
    )
    assert round(tuned, 2) == cer
    assert "no language model to tune" in evaluate(run, "--tune-lm", code=2)
    assert "nothing.arpa" in evaluate(run, "--lm", run / "nothing.arpa", code=2)


class Scored:
    """Emissions whose errors depend on weight and bonus alone: a bowl."""

    def __init__(self, weight, bonus):
        self.at, self.tried = (weight, bonus), []

    def read(self, search):
        self.tried.append((search.weight, search.bonus))
        far = 100 * (search.weight - self.at[0]) ** 2 + 20 * (search.bonus - self.at[1]) ** 2
        return transcript("stitched", round(100 * far))


def test_weights_of_natural_logarithms_in_older_tables_are_converted(tmp_path):
    """A table without the scale in its metadata: 0.6 there is 0.6 ln 10 of log10."""
    path = tmp_path / "evaluation.parquet"
    older = {
        "trial": 3,
        "set": "val",
        "session": None,
        "way": "stitched",
        "decoder": "beam",
        "lm_weight": 0.6,
    }
    greedy = {**older, "decoder": "greedy", "lm_weight": None}
    pa.parquet.write_table(pa.Table.from_pylist([greedy, older]), path)
    for _ in range(2):  # the second time it is written in the new scale already
        rows = write_table(path, [], torch.device("cpu"), True).to_pylist()
        assert [row["lm_weight"] for row in rows] == [None, pytest.approx(0.6 * math.log(10))]
        assert pa.parquet.read_table(path).to_pylist() == rows


@pytest.mark.parametrize("bottom", [(0.0, -1.0), (0.9, 1.75), (2.1, 3.0), (4.9, 2.0)])
def test_tuning_walks_to_the_bottom(bottom):
    emissions = Scored(*bottom)
    found, cer = tune([emissions], BeamSearch())
    assert abs(found.weight - bottom[0]) <= 0.2
    assert abs(found.bonus - bottom[1]) <= 0.25
    assert cer <= 225
    assert len(emissions.tried) == len(set(emissions.tried)) < 45


def test_a_press_belongs_to_its_key_with_and_without_shift():
    """Two presses of A, one read as s; one of 1 left out; one enter too many."""
    keys = keys_of(count_confusions([("aA", "sA"), ("1b", "b"), ("b", "⏎b")]))
    by_name = {key.characters: key for key in keys}
    assert len(keys) == 47 + 4
    assert set("".join(by_name)) == set(CLASSES)
    a, one, enter = by_name["aA"], by_name["1!"], by_name["⏎"]
    assert (a.pressed, a.rate, a.confused["s"]) == (2, 0.5, 1)
    assert (one.deleted, one.rate, enter.inserted, enter.pressed) == (1, 1.0, 1, 0)


def test_what_cannot_be_evaluated_is_said_in_one_message(run, tmp_path):
    assert "is not the folder of a search" in evaluate(tmp_path, code=2)
    assert "does not exist" in evaluate(run, "--data", tmp_path / "no", code=2)
    write_session(tmp_path / "other.hdf5", make_session(seconds=5, name="other"))
    assert "s2.hdf5" in evaluate(run, "--data", tmp_path, code=2)
    missing = evaluate(run, "--data", run.parent / run.name / "checkpoints", code=2)
    assert "no session files" in missing
    assert "device" in evaluate(run, "--device", "abacus", code=2)
    facts = json.loads((run / "environment.json").read_text())
    for test, message in ([], "has no test sessions"), (None, "does not say which sessions"):
        facts["split"]["test"] = test
        if test is None:
            del facts["split"]["test"]
        (run / "environment.json").write_text(json.dumps(facts))
        assert message in evaluate(run, "--test", code=2)
    assert not (run / "evaluation.parquet").exists()
    shutil.rmtree(run / "checkpoints")
    assert "holds no checkpoint" in evaluate(run, code=2)
