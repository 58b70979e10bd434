"""A lab as cluster/README.md means it: three machines, a desk, and what is typed at the desk.

All are network namespaces of this machine. Ray is started on the three as the README says, line by
line; an S3 server keeps results.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machines import ROOT, Machine, machines, network
from objects import s3_server
from searches import STEADY, trials, write_search

SECTION = "A lab's machines"
_NOT_SOURCE = shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__", ".*_cache")


@dataclass
class Lab:
    """Machines on which Ray runs, the first of them the head, and a desk to use them from."""

    nodes: list[Machine]
    desk: Machine
    folder: Path
    environment: dict[str, str]

    @property
    def head(self) -> Machine:
        return self.nodes[0]

    @property
    def runs(self) -> Path:
        """Where the head makes run folders."""
        return self.head.home / "emgsearch/runs"

    def start(self, line: str, to: Any = subprocess.PIPE) -> subprocess.Popen[str]:
        """Type a line at the desk, in the project's folder."""
        return subprocess.Popen(
            self.desk.over_ssh(f"cd ~/emgsearch && source .venv/bin/activate && {line}"),
            stdin=subprocess.PIPE,
            stdout=to,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def type(self, line: str, seconds: float = 300) -> tuple[int, str]:
        """Type a line, and wait for its exit code and what it prints."""
        process = self.start(line)
        with _ended(process):
            printed, _ = process.communicate(timeout=seconds)
        return process.returncode, printed.replace("\r\n", "\n")

    def look(self, line: str, text: str, keys: str) -> None:
        """Type a line that fills the screen until keys are pressed, and wait for a text on it."""
        process = self.start(f"export TERM=xterm && {line}")
        with _ended(process):
            seen = ""
            while text not in seen:
                read = process.stdout.read(1)
                assert read, seen
                seen += read
            process.stdin.write(keys)
            process.stdin.flush()
            assert process.wait(30) == 0, seen

    def visit(self, line: str, url: str) -> None:
        """Type a line that serves a page to the desk, and wait until it can be opened there."""
        with _ended(self.start(line)):
            deadline = time.monotonic() + 60
            while self.type(f"python -c 'import urllib.request as u; u.urlopen(\"{url}\")'")[0]:
                assert time.monotonic() < deadline, url

    def search(self, *options: object) -> str:
        """Return the line that searches from the head."""
        what = (f"{self.folder}/lab.yaml", "--data", f"{self.folder}/data", *options)
        return f"ray submit cluster/onprem.yaml cluster/submit.py -- {' '.join(map(str, what))}"

    @contextlib.contextmanager
    def searching(self, *options: object) -> Iterator[Search]:
        """Search from the head while something else happens."""
        before = set(self.runs.glob("lab-*"))
        printed = self.folder / f"search-{len(before)}.log"
        with open(printed, "w") as file, _ended(self.start(self.search(*options), file)) as process:
            while not (made := set(self.runs.glob("lab-*")) - before):
                assert process.poll() is None, printed.read_text()
                time.sleep(0.2)
            yield Search(process, printed, made.pop())

    def wait_for_nodes(self, count: int, seconds: float = 240) -> None:
        """Wait until Ray counts so many machines."""
        deadline = time.monotonic() + seconds
        while (alive := self._alive()) != count:
            assert time.monotonic() < deadline, f"{alive} instead of {count} machines"

    def readme(self) -> list[list[str]]:
        """Return the README's lines for a lab, block by block, with what a reader fills in."""
        text = (ROOT / "cluster/README.md").read_text()
        (section,) = re.findall(rf"^## {SECTION}\n(.*?)^## ", text, flags=re.M | re.S)
        for blank, filled in {
            "HEAD WORKER1 WORKER2": " ".join(node.address for node in self.nodes),
            "USER@": "root@",
            "spaces/deep.yaml": f"{self.folder}/lab.yaml",
            "deep-001": "lab-001",
            "/shared/emg2qwerty --subject 89335547": f"{self.folder}/data",
            "/shared/runs": f"{self.folder}/shared/runs",
            "\\\n": " ",
        }.items():
            assert blank in section, f"the README no longer says {blank}"
            section = section.replace(blank, filled)
        blocks = re.findall(r"^```\n(.*?)^```", section, flags=re.M | re.S)
        return [block.splitlines() for block in blocks]

    def fill_in(self) -> None:
        """Change the three lines of cluster/onprem.yaml that are marked."""
        path = self.desk.home / "emgsearch/cluster/onprem.yaml"
        text, number = path.read_text(), 0
        for key, value in {
            "head_ip": self.head.address,
            "worker_ips": f"[{', '.join(node.address for node in self.nodes[1:])}]",
            "ssh_user": "root",
        }.items():
            text, changed = re.subn(rf"{key}: .*# <-", f"{key}: {value} # <-", text)
            number += changed
        assert number == text.count("# <-") == 3
        one_core = "--num-cpus=1 --disable-usage-stats"  # so that trials spread
        path.write_text(text.replace("--disable-usage-stats", one_core))

    def _alive(self) -> int:
        _, printed = self.type(
            "ray exec cluster/onprem.yaml 'RAY_AUTH_MODE=token ~/emgsearch/.venv/bin/ray status'"
        )
        active = re.search(r"^Active:\n((?: .+\n)+)", printed, flags=re.M)
        return sum(map(int, re.findall(r"^ (\d+) local", active[1], flags=re.M))) if active else 0


@contextlib.contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@dataclass
class Search:
    """A search that runs on a lab's head."""

    process: subprocess.Popen[str]
    printed: Path
    """What it prints; read by nobody, a terminal would hold it up."""
    run: Path
    """Its folder, as this machine sees it."""

    def wait_for(
        self, what: str, seen: Callable[[list[dict[str, Any]]], Any], seconds: float = 240
    ) -> Any:
        """Wait until something is seen in the trials so far, and return it."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(FileNotFoundError, ValueError):  # before the first epoch
                if found := seen(trials(self.run)):
                    return found
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
            assert self.process.poll() is None, self.printed.read_text()
            time.sleep(0.2)

    def end(self, seconds: float = 240) -> None:
        """Wait for its end."""
        assert self.process.wait(seconds) == 0, self.printed.read_text()


@contextlib.contextmanager
def laboratory(folder: Path) -> Iterator[Lab]:
    """Set up desk and machines, and start Ray on them as the README says."""
    write_search(folder)
    with network() as here, s3_server(here) as environment:
        given = {
            **environment,
            **STEADY,
            **{"PYTHONPATH": "/root/emgsearch", "TMUX_TMPDIR": "/root"},
        }
        with machines(("emg0", "emg1", "emg2", "desk"), folder, given) as (*nodes, desk):
            lab = Lab(nodes, desk, folder, environment)
            shutil.copytree(ROOT, desk.home / "emgsearch", ignore=_NOT_SOURCE, dirs_exist_ok=True)
            (lab.head.home / ".bashrc").write_text("export PATH=~/bin:$PATH\n")
            (lab.head.home / "bin").mkdir()
            (lab.head.home / "bin/python").symlink_to("/usr/bin/python3")
            for line in lab.readme()[0]:
                if line.startswith("nano"):
                    lab.fill_in()
                    continue
                code, printed = lab.type(line)
                assert code == 0, f"{line}\n{printed}"
            lab.wait_for_nodes(3)
            yield lab
