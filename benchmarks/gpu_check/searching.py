"""A search of 16 trials that share the GPU, killed with SIGKILL on its way, and resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.gpu_check import data
from benchmarks.gpu_check.check import Check, Values
from emgmodels.saying import counted
from search.results.folder import RunFolder
from search.results.reading import read_trials

SPACE = Path(__file__).resolve().parents[2] / "spaces" / "deep.yaml"
SHARE = 0.25
"""Of a GPU for each trial."""
_LOOK = 0.5
"""Seconds between two looks at what was recorded."""


def run(check: Check) -> None:
    """Search, kill, resume, and look at what the run folder says."""
    # Ray alone takes ten seconds to start, twice.
    check.case("killed and resumed", lambda: killed_and_resumed(check), least=30.0)


def killed_and_resumed(check: Check) -> Values:
    """Return what the search came to; a trial that is missing or failed is an error."""
    # Enough to train that some is left when the tables first say what was trained.
    trials, epochs = (4, 8) if check.short else (16, 8)
    begin = time.monotonic()
    log = check.folder / "search.log"
    search = [*_options(check, trials, epochs), "--out", str(check.scratch / "runs")]
    with log.open("w") as file:
        process = _start(search, file)
        folder = _wait_for_epochs(check, process, trials * epochs // 4)
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = _epochs(folder)
        process = _start(["--resume", str(folder)], file)
        code = process.wait(max(1.0, check.left))
    assert code == 0, f"the resumed search ended with code {code}: {log}"
    table = read_trials(folder).to_pylist()
    states = [row["state"] for row in table]
    assert len(table) == trials, f"{counted(len(table), 'trial')} of {trials}: {states}"
    assert not any(state.startswith("failed") for state in states), states
    facts = RunFolder(folder).read_environment()
    gpu = facts["resources_per_trial"].get("gpu", 0)
    assert (gpu > 0) == check.on_gpu, facts["resources_per_trial"]
    return {
        "trials": len(table),
        "epochs before the kill": before,
        "epochs in all": _epochs(folder),
        "GPU of a trial": gpu,
        "lowest CER (%)": min(row["val_cer"] for row in table if row["val_cer"] is not None),
        "seconds": time.monotonic() - begin,
    }


def _options(check: Check, trials: int, epochs: int) -> list[str]:
    """Return the space and what it is searched on: full-size models on a GPU, else the demo."""
    wanted = [str(SPACE), "--trials", str(trials), "--epochs", str(epochs)]
    if not check.on_gpu:
        one = ["--cpus-per-trial", str(os.cpu_count())]  # at once: each starts a process
        return [*wanted, *one, "--set", "typist.sessions=3", "--set", "typist.minutes=0.5"]
    files = data.typed_files(check, 5, 1.0)
    share = ["--gpus-per-trial", str(SHARE), "--cpus-per-trial", "1"]
    return [*wanted, "--data", str(files[0].parent), *share]


def _start(options: list[str], log: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "search.run", *options]
    root = SPACE.parents[1]
    return subprocess.Popen(command, cwd=root, stdout=log, stderr=log, env=dict(os.environ))  # type: ignore[call-overload]


def _epochs(folder: Path) -> int:
    """Return how many epochs the trials of a run folder have trained so far."""
    try:
        return sum(trial.epoch for trial in RunFolder.open(folder).trials.values())
    except ValueError:  # it is only just being made
        return 0


def _wait_for_epochs(check: Check, process: subprocess.Popen[bytes], epochs: int) -> Path:
    """Return the run folder when its trials have trained that many epochs together."""
    while check.left > 0:
        assert process.poll() is None, f"the search ended with code {process.returncode}"
        for folder in (check.scratch / "runs").glob("*-*"):
            if _epochs(folder) >= epochs:
                return folder
        time.sleep(_LOOK)
    process.kill()
    raise AssertionError(f"the search did not come to {counted(epochs, 'epoch')} in its time")
