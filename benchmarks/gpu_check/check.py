"""What an item finds, written case by case, so that a killed item leaves what it found before."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from emgmodels.compute.devices import find_device

Values = Mapping[str, float | int | str | bool | None]
PASSED, FAILED, LEFT_OUT = "passed", "failed", "left out"


@dataclass(frozen=True)
class Finding:
    """What one case came to.

    Attributes:
        case: what was tried.
        state: ``PASSED``, ``FAILED`` or ``LEFT_OUT``.
        seconds: how long it took.
        values: figures by name, the unit at the name's end.
        error: why it failed, the traceback included.
    """

    case: str
    state: str
    seconds: float = 0.0
    values: Values = field(default_factory=dict)
    error: str = ""


@dataclass
class Check:
    """What an item runs on.

    Attributes:
        device: the GPU, or the CPU where the check itself is tried.
        short: run once, fewer cases, on small inputs; nothing is timed well.
        folder: for files that the user may want: profiles, logs.
        scratch: for files that are gone when the whole check is over; all items share it.
        seconds: how long the item may take; cases that would begin later are left out.
        findings: file for one JSON line a case.
        used: bytes of the GPU in use before the item's process began; None if nobody can tell.
    """

    device: torch.device
    short: bool
    folder: Path
    scratch: Path
    seconds: float
    findings: Path
    used: float | None = None
    begin: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds that the item still has."""
        return self.seconds - (time.monotonic() - self.begin)

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    def case(self, name: str, body: Callable[[], Values], least: float = 0.0) -> Values:
        """Run one case and note what it found; a failure is noted and raises nothing.

        Args:
            name: what it tries.
            body: returns its figures; an AssertionError says what disagrees.
            least: seconds that it needs; with fewer left it is left out.

        Returns:
            Its figures; none if it failed or was left out.
        """
        if self.left < least or self.left <= 0:
            self._note(Finding(name, LEFT_OUT, error="no time was left"))
            return {}
        begin = time.monotonic()
        try:
            values = body()
            self.synchronize()
        except Exception:  # whatever it is: the next case may still run
            trace = traceback.format_exc()
            self._note(Finding(name, FAILED, time.monotonic() - begin, error=trace))
            return {}
        self._note(Finding(name, PASSED, time.monotonic() - begin, dict(values)))
        return values

    def synchronize(self) -> None:
        """Wait until the GPU has done all it was given."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def time(self, part: Callable[[], object], seconds: float = 1.0) -> float:
        """Return the seconds that a part takes, the median of as many turns as fit.

        Args:
            part: what to time; it has run before.
            seconds: how long to go on; three turns at least, one in a short check.
        """
        taken: list[float] = []
        while len(taken) < (1 if self.short else 3) or (not self.short and sum(taken) < seconds):
            self.synchronize()
            begin = time.perf_counter()
            part()
            self.synchronize()
            taken.append(time.perf_counter() - begin)
        return sorted(taken)[len(taken) // 2]

    def _note(self, finding: Finding) -> None:
        with self.findings.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(finding)) + "\n")


def read_findings(path: Path) -> Iterator[Finding]:
    """Yield what an item noted; a line that was cut off by its end is left out."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield Finding(**json.loads(line))
        except (ValueError, TypeError):
            return


@contextmanager
def set_to(holder: object, name: str, value: object) -> Iterator[None]:
    """Give an attribute another value for a while."""
    before = getattr(holder, name)
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, before)


def open_check(order: Mapping[str, Any]) -> Check:
    """Return the check that a process was started for."""
    return Check(
        device=find_device(order["device"]),
        short=order["short"],
        folder=Path(order["folder"]),
        scratch=Path(order["scratch"]),
        seconds=order["seconds"],
        findings=Path(order["findings"]),
        used=order["used"],
    )


def used_bytes() -> float | None:
    """Return what all processes use of the first GPU, as its driver says; None where none says."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i", "0"]
    done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    text = done.stdout.strip()
    return float(text) * 2**20 if done.returncode == 0 and text.isdigit() else None
