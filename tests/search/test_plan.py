"""A dry run: what it prints is what a search would do, and nothing is left behind."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import ray
from typer.testing import CliRunner

from search.run.command import app

SPACE = """
name: tiny
model:
  features: {hop: 64, bins: 6}
  mlp_features: 8
  encoder:
    order: [recurrent]
    recurrent: {layers: {int: [1, 2]}, hidden: {choice: [8, 10, 12]}}
training: {epochs: 9, batch_size: 4, learning_rate: 0.01, warmup_steps: 3}
search: {trials: 4, sampler: random, scheduler: {name: asha, grace: 2, eta: 2}}
typist: {sessions: 4, minutes: 0.5}
"""


@pytest.fixture
def space(tmp_path, monkeypatch) -> Path:
    """A space file in the current folder, with a cache and a folder of Ray's that are not there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMGSEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "ray"))
    Path("tiny.yaml").write_text(SPACE)
    return Path("tiny.yaml")


def plan_of(*arguments: object) -> dict[str, str]:
    """Return the lines of a dry run by what they are about."""
    done = CliRunner().invoke(app, [*map(str, arguments), "--dry-run"])
    assert done.exit_code == 0, done.stderr
    rows = re.findall(r"^  ([a-z]+(?: [a-z]+)?) {2,}(.*)$", done.stdout, re.MULTILINE)
    return dict(reversed(rows))


def left_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_all_that_keeps_a_search_from_beginning_is_told_at_once(space):
    given = ["--set", "search.scheduler.grace=9", "--set", "constraints.max_parameters=10"]
    done = CliRunner().invoke(app, [str(space), *given, "--set", "search.start_with=[gru:1]"])
    assert done.exit_code == 2
    assert "tiny.yaml: search.scheduler: grace 9: the first rung must stand" in done.stderr
    assert "more than max_parameters 10" in done.stderr
    assert not Path("runs").exists()


def test_a_dry_run_says_what_a_search_would_do_and_leaves_nothing_behind(
    space, session_paths, tmp_path
):
    """All four train 2 epochs, half of them 2 more, a quarter 4 more, an eighth the last one."""
    before = left_in(tmp_path), left_in(session_paths[0].parent)
    runs = ray.is_initialized()  # other tests of this process may share one
    plan = plan_of(space, "--data", session_paths[0].parent, "--cpus-per-trial", 1)
    assert plan["trials"].startswith("4, suggested by random from 6 configurations")
    assert re.fullmatch(r"gru:[12]\(.*hidden=.*\).* \([\d,]+ parameters\)", plan["for example"])
    assert plan["scheduler"] == ("asha: rungs at epochs 2, 4, 8; one in 2 passes; ranked by both")
    assert plan["epochs"] == "9 a trial, 36 in all at most; expected 4.1 a trial, 16 in all"
    assert re.match(r"\d+( to \d+)? MB a trial", plan["memory"])
    assert "at once on this machine, 1 CPU and 0 GPUs a trial" in plan["slots"]
    assert plan["training"] == "1 session, 0.01 hours"
    assert plan["test"] == "1 session, not opened"
    assert plan["results"] == "runs/tiny-001"
    assert (left_in(tmp_path), left_in(session_paths[0].parent)) == before
    assert ray.is_initialized() == runs


def test_options_of_a_dry_run_are_those_of_the_search(space, session_paths, tmp_path):
    (tmp_path / "elsewhere" / "tiny-001").mkdir(parents=True)
    changed = ("--set", "search.scheduler=none", "--trials", 40, "--epochs", 3, "--confirm", 2)
    plan = plan_of(space, "--data", session_paths[0].parent, *changed, "--out", "elsewhere")
    assert plan["trials"].startswith("6 (of 40 asked for)")
    assert plan["scheduler"] == "none: every trial trains to its last epoch"
    assert plan["epochs"] == "3 a trial, 18 in all at most; expected 18"
    assert plan["confirmation"].endswith("10 trainings of 3 epochs, 30 in all")
    assert plan["results"] == "elsewhere/tiny-002"


def test_a_single_configuration_is_one_training_that_nothing_ends_early(space, session_paths):
    one = ("--set", "model.encoder.recurrent={layers: 1, hidden: 8}", "--trials", 64)
    plan = plan_of(space, "--data", session_paths[0].parent, *one)
    assert plan["trials"].startswith("1 (of 64 asked for)")
    assert plan["epochs"] == "9 a trial, 9 in all at most; expected 9.0 a trial, 9 in all"
    assert plan["slots"].startswith("1 at once")


def test_trials_that_do_not_fit_into_memory_together_are_said(space, session_paths, monkeypatch):
    data = ("--data", session_paths[0].parent)
    assert "warning" not in plan_of(space, *data)
    there = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 1000}
    ask = os.sysconf
    monkeypatch.setattr(os, "sysconf", lambda name: there.get(name) or ask(name))
    assert "too much memory: " in plan_of(space, *data)["warning"]


def test_a_first_look_at_data_has_the_models_of_the_demo(space, session_paths):
    data = ("--data", session_paths[0].parent)
    done = CliRunner().invoke(app, [str(space), *map(str, data), "--small", "--dry-run"])
    assert done.exit_code == 2
    assert "tiny.yaml has none" in done.stderr
    with space.open("a") as file:
        file.write("demo: {training: {epochs: 4}, search: {trials: 2, time_budget: 5m}}\n")
    assert plan_of(space, *data)["epochs"].startswith("9 a trial")
    small = plan_of(space, *data, "--small")
    assert small["epochs"].startswith("4 a trial")
    assert small["training"] == "1 session, 0.01 hours"
    assert small["time budget"] == "5m 00s"
    done = CliRunner().invoke(app, ["--resume", "runs/tiny-001", "--small"])
    assert "leave out --small" in done.stderr


def test_a_dry_run_of_a_demo_does_not_write_the_typists_sessions(space, tmp_path):
    plan = plan_of(space)
    assert plan["training"] == "2 sessions, 0.02 hours"
    assert plan["validation"] == plan["test"].replace("not opened", "0.01 hours")
    assert left_in(tmp_path) == {"tiny.yaml"}


def test_a_dry_run_of_a_cluster_asks_no_cluster(space, session_paths):
    here = ("--address", "127.0.0.1:1", "--gpus-per-trial", 0.5)
    plan = plan_of(space, "--data", session_paths[0].parent, *here)
    assert plan["slots"] == (
        "0.5 GPUs a trial; as many at once as the cluster 127.0.0.1:1 has room for"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        ("--set", "model.mlp_features=none"),
        ("--set", "search.scheduler.grace=9"),
        ("--data", "nowhere"),
        ("--subject", "anna"),
        ("--cpus-per-trial", "999"),
        ("--gpus-per-trial", "auto"),
        ("--out", "tiny.yaml"),
        ("--out", "tiny.yaml/runs"),
        ("--confirm", "0"),
        ("--warm-start", "nowhere", "--data", "{data}"),
        ("--data", "{data}", "--subject", "anna"),
        ("--resume", "nowhere"),
    ],
    ids=" ".join,
)
def test_what_a_search_refuses_a_dry_run_refuses_in_the_same_words(wrong, space, session_paths):
    """The search ends before it starts Ray."""
    wrong = [word.format(data=session_paths[0].parent) for word in wrong]
    words = wrong if "--resume" in wrong else [str(space), *wrong]
    dry, real = (CliRunner().invoke(app, [*words, *more]) for more in (["--dry-run"], []))
    assert (dry.exit_code, dry.stderr) == (2, real.stderr)
    assert dry.stderr.startswith("error: ")
