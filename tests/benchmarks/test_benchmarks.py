"""The suite's command, in its short form: every benchmark checks that what it compares is alike."""

import json

import pytest
from typer.testing import CliRunner

from benchmarks import registry, results
from benchmarks.__main__ import app
from benchmarks.measure import Figure, Timings, Yardstick

SEVERAL_PROCESSES = ("trials", "scale", "trial_start", "second_trial", "threads")
"""Benchmarks that start searches, or trainings at once."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in SEVERAL_PROCESSES else ())
        for name in registry.BENCHMARKS
    ],
)
def test_a_short_run_finds_fast_and_plain_alike(name, engine, tmp_path, request):
    if name in ("trial_start", "second_trial"):
        request.getfixturevalue("all_cores")
    if name == "beam_search":
        request.getfixturevalue("kenlm")
    out = tmp_path / "out.json"
    done = CliRunner().invoke(app, ["run", name, "--short", "--threads", "1", "--json", str(out)])
    assert done.exit_code == 0, done.output
    (found,) = json.loads(out.read_text()).values()
    assert found["figures"]
    assert found["setting"]["torch"]


def test_an_unknown_benchmark_is_refused_with_those_that_exist():
    done = CliRunner().invoke(app, ["run", "windoes"])
    assert done.exit_code == 2
    assert "windoes" in done.output
    assert "windows" in done.output


def test_results_of_other_benchmarks_stay_in_the_tables(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "STORE", tmp_path / "results.json")
    monkeypatch.setattr(results, "README", tmp_path / "README.md")
    (tmp_path / "README.md").write_text("# What it is\n")
    setting = {**results.describe_setting(), "threads": 1, "clock": "wall"}
    results.record({"one": results.Entry(setting, (Figure("first", 2.0, "s", ratio=3.0),))})
    results.record({"two": results.Entry(setting, (Figure("second", None, "s"),))})
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("# What it is\n")
    assert "| first | 2 s |" in text
    assert "| second | unmeasured |" in text
    results.record({"one": results.Entry(setting, (Figure("first", 1.0, "s"),))})
    assert "| first | 1 s |" in (tmp_path / "README.md").read_text()
    assert (tmp_path / "README.md").read_text().count("## one") == 1


@pytest.mark.parametrize(("seconds", "rate", "fast"), [(0.1, 20.0, True), (50.0, 2.0, False)])
def test_the_floor_of_bfloat16_is_float32s_where_that_is_faster(seconds, rate, fast):
    yardsticks = {
        "float32": Yardstick(lambda: None, operations=2.0),
        "bfloat16": Yardstick(lambda: None, operations=2.0, reduced=True),
    }
    timings = Timings({"float32": [1.0], "bfloat16": [seconds]}, yardsticks)

    assert timings.operations_a_second(reduced=True) == pytest.approx(rate)
    assert timings.operations_a_second() == 2.0
    assert timings.multiplies_bfloat16() is fast
