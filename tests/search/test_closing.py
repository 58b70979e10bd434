"""The last words of a search: what they name is there, and what they tell to type can be typed."""

from __future__ import annotations

import io
import re
import shlex
from pathlib import Path

import pytest
from rich.console import Console

from emgmodels.config import Config, TrainingConfig
from emgmodels.notation import parse_notation
from emgmodels.saying import counted
from search.halving.ending import Ending, Why
from search.results.facts import people_command
from search.results.folder import RunFolder
from search.results.record import COMPLETE, CUT_OFF, FAILED, STOPPED, TrialRecord
from search.results.session_files import is_synthetic
from search.run.ranking import _using, print_ranking

TRIALS = {
    "done": [(COMPLETE, 12.5), (COMPLETE, 20.0)],
    "cut off": [(COMPLETE, 12.5), (CUT_OFF, 30.0), (CUT_OFF, None)],
    "no epoch": [(CUT_OFF, None)],
    "failed": [(FAILED, None), (FAILED, None)],
    "none": [],
}


def closing(
    place: Path, ended: list[tuple[str, float | None]], **facts: object
) -> tuple[RunFolder, str]:
    """Return a run folder in a place with a space in its name, and what is said of it."""
    folder = RunFolder.create(place / "my runs", "tiny")
    folder.write_space({"name": "tiny"})
    sessions = {part: [f"/data of anna/{part}.hdf5"] for part in ("train", "val", "test")}
    folder.write_environment({"split": sessions, "subject": "anna", **facts})
    folder.write_split("user: anna")
    for number, (state, cer) in enumerate(ended):
        folder.trials[number] = trial = TrialRecord(number, Config(seed=number), state)
        if cer is not None:
            trial.add({"epoch": 1, "val_cer": cer, "seconds": 1.0})
    if ended:
        folder.flush()
    console = Console(file=io.StringIO(), width=140)
    print_ranking(console, folder, synthetic=False)
    return folder, console.file.getvalue()


@pytest.mark.parametrize("trials", TRIALS.values(), ids=TRIALS)
def test_what_the_closing_text_names_is_there(tmp_path, trials):
    folder, said = closing(tmp_path, trials)
    commands = [shlex.split(line) for line in re.findall(r"python -m .*|tensorboard --.*", said)]
    for command in commands:
        named = [Path(word) for word in command if word.startswith(str(tmp_path))]
        assert named, command
        assert all(path.exists() for path in named), command
    ranked = any(cer is not None for _, cer in trials)
    assert any("emgmodels.training" in command for command in commands) == ranked
    assert ("so there is neither a best.yaml nor a checkpoint" in said) == (
        not ranked and bool(trials)
    )
    cut_off = sum(state == CUT_OFF for state, _ in trials)
    words = counted(cut_off, "was", "were")
    assert (f"{words} cut off by the end of the search" in said) == bool(cut_off)
    resumes = [command for command in commands if "--resume" in command]
    assert len(resumes) == (cut_off > 0 or not trials)
    assert all(command[-1] == str(folder.path) for command in resumes)
    listed = re.search(r"^    (.*)    the tables$", said, re.M)
    assert (listed is not None) == bool(trials)
    for name in listed[1].split(", ") if listed else ():
        assert (folder.path / name).is_file(), name


def test_the_command_that_trains_the_best_again_has_all_it_needs(tmp_path):
    folder, said = closing(tmp_path, TRIALS["done"])
    [line] = re.findall(r"python -m emgmodels.training.*", said)
    assert shlex.split(line)[3:] == [
        *(str(folder.path / "best.yaml"), "--data", "/data of anna"),
        *("--split", str(folder.path / "split.yaml")),
    ]


@pytest.mark.parametrize(
    ("ended", "facts", "words"),
    [
        (
            "cut off",
            {"trials": 16},
            "by the end of the search, and 13 planned trials of 16 never",
        ),
        ("done", {"trials": 3}, "1 planned trial of 3 never began."),
        (
            "done",
            {"trials": 2, "trials_asked": 16},
            "Of 16 trials, 14 were left out: epochs took so long at that moment",
        ),
    ],
)
def test_trials_that_did_not_begin_are_told(tmp_path, ended, facts, words):
    _, said = closing(tmp_path, TRIALS[ended], **facts)
    assert words in said
    _, said = closing(tmp_path, TRIALS[ended], trials=len(TRIALS[ended]))
    assert "never began" not in said
    assert "left out" not in said


@pytest.mark.parametrize("sessions", [2, 3])
def test_a_search_over_people_names_the_command_that_fine_tunes_to_those_with_sessions_enough(
    tmp_path, sessions
):
    people = {"rank_by": "mean_user", "windows": [["ben", 3]]}
    folder, said = closing(tmp_path, TRIALS["done"], people=people)
    assert "search.people" not in said, "nobody is held out"
    listed = "".join(f"  - {{user: cem, session: c{number}}}\n" for number in range(sessions))
    folder.write_split(f"user: 3 people\ndataset:\n  train: []\n  val: []\n  test:\n{listed}")
    command = people_command(folder.path)
    if sessions < 3:
        assert command is None
        (folder.path / "checkpoints").mkdir(exist_ok=True)
        (folder.path / "checkpoints" / "a.pt").touch()
        console = Console(file=io.StringIO(), width=140)
        print_ranking(console, folder, synthetic=False)
        assert "held out for testing with 3 sessions each" in console.file.getvalue()
    else:
        assert command is not None
        assert shlex.split(command)[2:] == [
            *("search.people", str(folder.path), "--data", "/data of anna")
        ]


def test_a_model_is_read_live_only_if_it_can_be_streamed(tmp_path):
    """A look-ahead with an end is not enough: attention may go back without one."""
    folder = RunFolder.create(tmp_path, "tiny")
    session = tmp_path / "val.hdf5"
    session.touch()
    folder.write_environment({"split": {"val": [str(session)]}})
    for number, text in enumerate(("conformer:1(right_context=0)", "conv:1", "gru:1")):
        trial = TrialRecord(number, Config(model=parse_notation(text)), COMPLETE)
        trial.add({"epoch": 1, "val_cer": 10.0 + number, "seconds": 1.0})
        folder.trials[number] = trial
        (folder.path / "checkpoints").mkdir(exist_ok=True)
        (folder.path / "checkpoints" / f"{trial.slug}.pt").touch()
    part = f"after epoch 1 of {TrainingConfig().epochs}"
    said = f"conv:1 @16ch, 11.0 % CER {part}; 20 seconds as it reads live (the winner cannot):"
    assert _using(folder, "python")[0] == said
    del folder.trials[1]
    words = _using(folder, "python")
    assert words[0] == "the winner, from Python:"
    assert str(session) in words[1]


def test_commands_say_that_code_of_a_run_may_run_where_that_is_asked(tmp_path, monkeypatch):
    """In the folder of the code it runs without; the winner may be trained in any."""
    folder, _ = closing(tmp_path, TRIALS["cut off"])
    (folder.path / "split.yaml").unlink()
    (folder.path / "code").mkdir()
    (folder.path / "checkpoints").mkdir()
    (folder.path / "checkpoints" / "best.pt").touch()
    found = []
    for place in (folder.path / "checkpoints", tmp_path):
        monkeypatch.chdir(place)
        console = Console(file=io.StringIO(), width=140)
        print_ranking(console, folder, synthetic=False)
        lines = re.findall(r"-m ([a-z.]+) .*--allow-code$", console.file.getvalue(), re.M)
        found.append((lines, "allow_code=True" in console.file.getvalue()))
    assert found == [
        (["search.run", "search.evaluate", "emgmodels.training"], True),
        (["emgmodels.training"], False),
    ]


def test_a_winner_that_the_space_named_is_told_so(tmp_path):
    """Else a search seems to have found what it was given."""
    folder, said = closing(tmp_path, TRIALS["done"])
    assert "search.start_with" not in said
    for given, is_told in ((["conv:1"], True), ([], False)):
        folder.write_space({"name": "tiny", "search": {"start_with": given}})
        console = Console(file=io.StringIO(), width=200)
        print_ranking(console, folder, synthetic=False)
        told = "names to start with (search.start_with); 1 suggestion was no better"
        assert (told in console.file.getvalue()) == is_told


def test_a_winner_that_reads_nothing_or_was_ended_by_a_rung_is_told_so(tmp_path):
    _, said = closing(tmp_path, [(COMPLETE, 76.0)])
    assert "the best hardly reads anything yet: give more epochs, or more typing" in said
    folder, said = closing(tmp_path, TRIALS["done"])
    assert "hardly" not in said
    assert "a rung ended" not in said
    best = folder.ranking()[0]
    best.state, best.ending = STOPPED, Ending(Why.OUTRANKED, epoch=1, metric="CER times loss")
    console = Console(file=io.StringIO(), width=140)
    print_ranking(console, folder, synthetic=False)
    said = console.file.getvalue()
    assert "a rung ended the best after epoch 1 of" in said
    assert "rungs compare CER times loss up to their epoch" in " ".join(said.split())


@pytest.mark.parametrize(
    ("facts", "synthetic"),
    [
        ({"synthetic": True, "subject": "anna"}, True),
        ({"synthetic": False, "subject": "synthetic"}, True),
        ({"subject": "synthetic-2"}, True),
        ({"synthetic": False, "subject": "anna"}, False),
        ({"subject": "anna-synthetic"}, False),
        ({"subject": None}, False),
        ({}, False),
    ],
)
def test_a_demo_or_a_synthetic_subject_makes_a_search_synthetic(facts, synthetic):
    assert is_synthetic(facts) is synthetic
