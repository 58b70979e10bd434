"""Runs the items one after the other, each in a process with a limit, and tells what they found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.gpu_check import ITEMS, SEARCH, Item
from benchmarks.gpu_check.check import FAILED, PASSED, Finding, read_findings, used_bytes
from benchmarks.results import describe_setting
from emgmodels.atomic import whole

_GRACE = 10.0
"""Seconds after which an item that is over its limit is killed."""
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Outcome:
    """What an item came to.

    Attributes:
        title: what it was to find out.
        seconds: how long it ran.
        problem: why it ended before its end, if it did.
        findings: case by case.
    """

    title: str
    seconds: float
    problem: str
    findings: tuple[Finding, ...]

    @property
    def is_good(self) -> bool:
        """Whether it ran to its end and nothing failed."""
        return not self.problem and all(each.state != FAILED for each in self.findings)


def run_check(
    minutes: float,
    out: Path,
    *,
    names: Sequence[str] = (),
    device: str,
    short: bool = False,
    search: bool = False,
    console: Console | None = None,
) -> dict[str, Outcome]:
    """Run the items and write ``gpu-check.json`` and ``gpu-check.txt``.

    Args:
        minutes: for all of them; the process that is under way then is killed soon after.
        out: folder for the results.
        names: which items; all where none is named.
        device: such as ``cuda``, or ``cpu`` to try the check itself.
        short: fewer cases, each once, on small inputs.
        search: also run ``SEARCH``.
        console: where to tell what was found.
    """
    console = console or Console(quiet=True)
    chosen = {name: item for name, item in ITEMS.items() if not names or name in names}
    if search:
        chosen["search"] = SEARCH
    out.mkdir(parents=True, exist_ok=True)
    setting = {**describe_setting(), "device": device, **_gpu()}
    begin, found = time.monotonic(), {}
    with tempfile.TemporaryDirectory(prefix="emgsearch-gpu-") as scratch:
        order = {"device": device, "short": short, "folder": str(out), "scratch": scratch}
        weight = sum(item.share for item in chosen.values())
        for name, item in chosen.items():
            left = 60 * minutes - (time.monotonic() - begin)
            seconds = max(0.0, left * item.share / weight)
            weight -= item.share
            console.print(f"[bold]{name}[/]: {item.title} ({seconds:.0f} s at most)")
            found[name] = _run(name, item, order, seconds)
            console.print(table(name, found[name]))
            _write(out, setting, found)
    return found


def table(name: str, outcome: Outcome) -> Table:
    """Return what an item found as a table for the terminal."""
    counts = [sum(each.state == state for each in outcome.findings) for state in (PASSED, FAILED)]
    title = f"{name}: {counts[0]} passed, {counts[1]} failed, {outcome.seconds:.0f} s"
    grid = Table(title=f"{title}; {outcome.problem}" if outcome.problem else title)
    for column in ("case", "state", "found"):
        grid.add_column(column, overflow="fold")
    for each in outcome.findings:
        values = ", ".join(f"{key} {_text(value)}" for key, value in each.values.items())
        grid.add_row(each.case, each.state, values or each.error.strip().rpartition("\n")[2])
    return grid


def _run(name: str, item: Item, order: Mapping[str, Any], seconds: float) -> Outcome:
    scratch = Path(order["scratch"])
    findings, log = scratch / f"{name}.jsonl", scratch / f"{name}.log"
    order = {**order, "seconds": seconds, "findings": str(findings), "used": used_bytes()}
    command = [sys.executable, "-m", "benchmarks.gpu_check", name, json.dumps(order)]
    begin, problem = time.monotonic(), ""
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=_ROOT, stdout=file, stderr=file, start_new_session=True
        )
        try:
            code = process.wait(seconds + _GRACE)
        except subprocess.TimeoutExpired:
            _kill(process)
            problem = f"was over its {seconds:.0f} s"
        else:
            if code:
                tail = log.read_text(errors="replace").strip()[-2000:]
                problem = f"ended with code {code}: {tail}"
    return Outcome(item.title, time.monotonic() - begin, problem, tuple(read_findings(findings)))


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and those that it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _write(out: Path, setting: Mapping[str, Any], found: Mapping[str, Outcome]) -> None:
    values = {name: asdict(outcome) for name, outcome in found.items()}
    with whole(out / "gpu-check.json") as scratch:
        scratch.write_text(json.dumps({"setting": setting, "items": values}, indent=1) + "\n")
    with whole(out / "gpu-check.txt") as scratch, scratch.open("w", encoding="utf-8") as file:
        console = Console(file=file, width=200)
        console.print(", ".join(f"{key} {value}" for key, value in setting.items()))
        for name, outcome in found.items():
            console.print(table(name, outcome))
            for each in outcome.findings:
                if each.state == FAILED:
                    console.print(f"{name}, {each.case}:\n{each.error}", markup=False)


def _gpu() -> dict[str, Any]:
    """Return what the first GPU is."""
    if not torch.cuda.is_available():
        return {}
    properties = torch.cuda.get_device_properties(0)
    return {
        "gpu": properties.name,
        "GPU memory (GB)": round(properties.total_memory / 1e9, 1),
        "multiprocessors": properties.multi_processor_count,
        "CUDA": torch.version.cuda,
        "cuDNN": torch.backends.cudnn.version(),
    }


def _text(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
