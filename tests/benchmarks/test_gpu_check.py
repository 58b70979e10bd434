"""``python -m benchmarks gpu-check`` in its short form on the CPU, as on a machine without Ray."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.gpu_check import ITEMS, searching
from benchmarks.gpu_check.check import FAILED, LEFT_OUT, PASSED, Check, read_findings
from benchmarks.gpu_check.configs import LARGE, small_configs
from benchmarks.gpu_check.wheels import NEEDED, needed
from emgmodels.config import STAGE_NAMES, AugmentationConfig, ModelConfig, TrainingConfig
from emgmodels.notation import parse_notation

ROOT = Path(__file__).resolve().parents[2]


def gpu_check(folder: Path, *options: str) -> tuple[int, dict]:
    """Run the command; return its exit code and what it found, by item, each in its process."""
    words = ["gpu-check", *options, "--device", "cpu", "--out", str(folder / "out")]
    done = CliRunner().invoke(app, words)
    path = folder / "out" / "gpu-check.json"
    assert path.is_file(), done.output
    return done.exit_code, json.loads(path.read_text())["items"]


EVERY_ITEM = """
import importlib, sys
from pathlib import Path
import torch
from benchmarks.gpu_check import ITEMS
from benchmarks.gpu_check.check import Check

folder = Path(sys.argv[1])
for name, item in ITEMS.items():
    check = Check(torch.device("cpu"), True, folder, folder, 500, folder / f"{name}.jsonl")
    importlib.import_module(item.module).run(check)

import benchmarks.__main__  # the command itself
from benchmarks.gpu_check.runner import run_check

(only,) = run_check(2, folder / "out", names=["decoding"], device="cpu", short=True).values()
assert only.problem == "", only
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_item_runs_without_ray_and_optuna(tmp_path):
    """All in one process, so torch is loaded once; and one as the command runs each."""
    for name in ("ray", "optuna"):
        (tmp_path / "blocked" / name).mkdir(parents=True)
        text = f"raise ImportError('no {name}')"
        (tmp_path / "blocked" / name / "__init__.py").write_text(text)
    path = f"{tmp_path / 'blocked'}:{ROOT}"
    done = subprocess.run(
        [sys.executable, "-c", EVERY_ITEM, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = {name: list(read_findings(tmp_path / f"{name}.jsonl")) for name in ITEMS}
    assert all(found.values())
    wrong = [(name, each) for name in found for each in found[name] if each.state != PASSED]
    assert wrong == []
    assert "Self CPU time" in next(tmp_path.glob("profile-*.txt")).read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_is_killed_and_resumed(tmp_path):
    findings = tmp_path / "findings.jsonl"
    searching.run(Check(torch.device("cpu"), True, tmp_path, tmp_path, 500, findings))
    (case,) = read_findings(findings)
    assert (case.state, case.error) == (PASSED, "")
    assert case.values["trials"] == 4
    assert case.values["epochs before the kill"] < case.values["epochs in all"]


def test_an_item_without_time_says_so_and_the_check_fails(tmp_path):
    code, found = gpu_check(tmp_path, "decoding", "--short", "--minutes", "0.1", "--search")
    assert list(found) == ["decoding", "search"]
    for item in found.values():
        assert code == 1 or item["problem"] == ""
        assert {each["state"] for each in item["findings"]} <= {PASSED, LEFT_OUT}
    assert "decoding" in (tmp_path / "out" / "gpu-check.txt").read_text()


def test_a_full_check_without_a_gpu_is_refused():
    done = CliRunner().invoke(app, ["gpu-check", "--device", "cpu"])
    assert done.exit_code == 2
    assert "--short" in done.stderr


def test_a_case_that_fails_is_noted_and_the_next_one_runs(tmp_path):
    findings = tmp_path / "findings.jsonl"
    check = Check(torch.device("cpu"), True, tmp_path, tmp_path, 60, findings)
    assert check.case("bad", lambda: {"share": 1 / 0}) == {}
    assert check.case("good", lambda: {"share": 0.5}) == {"share": 0.5}
    check.case("late", dict, least=100)
    with findings.open("a") as file:
        file.write('{"case": "cut off in the mid')  # a process that is killed while it writes
    bad, good, late = read_findings(findings)
    assert (bad.state, good.state, late.state) == (FAILED, PASSED, LEFT_OUT)
    assert "ZeroDivisionError" in bad.error
    assert "Traceback" in bad.error


def test_every_stage_and_setting_is_tried(tmp_path):
    configs = [config for _, config in small_configs(tmp_path, short=False)]
    stages = {name for config in configs for name in config.model.encoder.kinds()}
    assert stages == set(STAGE_NAMES)
    for kind, pick, known in (
        (ModelConfig, lambda config: config.model, {"mlp_features", "encoder"}),
        (AugmentationConfig, lambda config: config.training.augmentation, {"time_mask_ms"}),
        (TrainingConfig, lambda config: config.training, UNTRIED),
    ):
        for name in set(kind.model_fields) - known:
            values = {repr(getattr(pick(config), name)) for config in configs}
            assert len(values) > 1 or name == "frequency_mask_bins", f"{kind.__name__}.{name}"


UNTRIED = {"epochs", "precision", "compile", "learning_rate", "past_seconds", "future_seconds"}
UNTRIED |= {"batch_size", "window_seconds", "warmup_steps", "warmup_epochs", "recipe"}
UNTRIED |= {"schedule", "schedule_by", "start_learning_rate", "final_learning_rate"}
UNTRIED |= {"start_from", "freeze", "freeze_epochs", "learning_rate_factors", "unshare", "balance"}
"""Settings that take no other code, need a checkpoint, or that items set by themselves."""


def test_large_architectures_are_written_as_people_write_them():
    assert all(parse_notation(text).encoder.order for text in LARGE.values())


def test_what_a_bare_machine_lacks_is_all_that_its_packages_need():
    found = needed(list(NEEDED), "3.12")
    assert {"pydantic", "pydantic-core", "annotated-types", "rapidfuzz", "rich"} <= set(found)
    assert not {"torch", "numpy", "ray", "optuna", "pyarrow"} & set(found)
