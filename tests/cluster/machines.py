"""Machines on one machine: network namespaces, each with its address, home, SSH daemon and Ray.

Nothing is installed here. ``missing()`` says what keeps them from being had.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

NETWORK = "10.77.0"
BRIDGE = "emgsearch0"
ROOT = Path(__file__).parents[2]


def missing() -> str:
    """Return why machines can't be had here, or nothing."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    needed = ("ip", "unshare", "rsync", "ssh", "ssh-keygen", "sshd", "tmux")
    if lacking := [tool for tool in needed if not which(tool)]:
        packages = "openssh-server rsync iproute2 tmux"
        return f"not installed: {', '.join(lacking)} (apt-get install {packages})"
    done = subprocess.run(
        ["unshare", "--net", "--pid", "--fork", "--mount", "--uts", "true"], capture_output=True
    )
    return "" if done.returncode == 0 else f"unshare: {done.stderr.decode().strip()}"


def which(tool: str) -> str | None:
    return shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


@dataclass
class Machine:
    """A network namespace that is reached over SSH."""

    name: str
    address: str
    folder: Path
    environment: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def over_ssh(self, line: str) -> list[str]:
        """Return the command that types a line of bash at a terminal of the machine."""
        trust = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
        options = [word for option in trust for word in ("-o", option)]
        key = self.folder.with_name("id_ed25519")
        return [
            "ssh",
            "-tt",
            "-i",
            str(key),
            *options,
            f"root@{self.address}",
            f"bash -c {quote(line)}",
        ]

    def start(self) -> None:
        """Bring up the network and the SSH daemon."""
        link = f"v{self.name}"
        sh("ip", "netns", "add", self.name)
        sh("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        sh("ip", "link", "set", link, "master", BRIDGE, "up")
        sh("ip", "-n", self.name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        sh("ip", "-n", self.name, "link", "set", "eth0", "up")
        sh("ip", "-n", self.name, "link", "set", "lo", "up")
        sh("ip", "-n", self.name, "route", "add", "default", "via", f"{NETWORK}.1")
        for name in ("home", "ray"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        Path("/tmp/ray").mkdir(exist_ok=True)
        Path("/run/sshd").mkdir(exist_ok=True)
        key = self.folder / "host_key"
        if not key.exists():
            sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
        settings = " ".join(f'{name}="{value}"' for name, value in self.environment.items())
        (self.folder / "sshd_config").write_text(
            f"HostKey {key}\nListenAddress {self.address}\nPasswordAuthentication no\n"
            f"PermitRootLogin prohibit-password\nStrictModes no\nPidFile none\nUsePAM no\n"
            f"SetEnv {settings}\n"
        )
        begin = (
            f"hostname {self.name}; {self._keep_python()} mount --rbind {self.home} /root; "
            f"mount --bind {self.folder / 'ray'} /tmp/ray; "
            f"exec {which('sshd')} -D -e -f {self.folder / 'sshd_config'}"
        )
        with open(self.folder / "sshd.log", "ab") as log:
            self.processes.append(
                subprocess.Popen(
                    [
                        *("ip", "netns", "exec", self.name, "unshare", "--pid", "--fork"),
                        *("--mount", "--uts", "--mount-proc", "--kill-child", "bash", "-c", begin),
                    ],
                    stdout=log,
                    stderr=log,
                )
            )
        wait_for(self.address, 22)

    def _keep_python(self) -> str:
        """Return the command that leaves an interpreter below /root where it is."""
        python = Path(sys.base_prefix).resolve()
        if not python.is_relative_to("/root"):
            return ""
        kept = self.home / python.relative_to("/root")
        kept.mkdir(parents=True, exist_ok=True)
        return f"mount --bind {python} {kept};"

    def kill(self) -> None:
        """Take away the power: every process of the machine ends at once."""
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes.clear()

    def cut(self) -> None:
        """Pull the network cable."""
        sh("ip", "link", "set", f"v{self.name}", "down")

    def mend(self) -> None:
        """Plug the network cable in again."""
        sh("ip", "link", "set", f"v{self.name}", "up")

    def stop(self) -> None:
        """Leave nothing of the machine; connections that it had could keep its link."""
        self.kill()
        subprocess.run(["ip", "link", "del", f"v{self.name}"], capture_output=True)
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True)


@contextlib.contextmanager
def network() -> Iterator[str]:
    """Make the wire between machines, and yield this machine's address on it."""
    subprocess.run(["ip", "link", "del", BRIDGE], capture_output=True)
    sh("ip", "link", "add", BRIDGE, "type", "bridge")
    try:
        sh("ip", "addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        sh("ip", "link", "set", BRIDGE, "up")
        yield f"{NETWORK}.1"
    finally:
        sh("ip", "link", "del", BRIDGE)


@contextlib.contextmanager
def machines(
    names: Sequence[str], folder: Path, environment: dict[str, str]
) -> Iterator[list[Machine]]:
    """Start machines that open each other, and to this one, with one SSH key."""
    key = folder / "id_ed25519"
    sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
    made = []
    try:
        for number, name in enumerate(names):
            machine = Machine(name, f"{NETWORK}.{10 + number}", folder / name, environment)
            machine.stop()  # what an earlier, killed run left behind
            made.append(machine)
            ssh = machine.home / ".ssh"
            ssh.mkdir(parents=True)
            shutil.copy(key, ssh)
            (ssh / "authorized_keys").write_text((folder / "id_ed25519.pub").read_text())
            (ssh / "config").write_text("StrictHostKeyChecking accept-new\n")
            lend_venv(machine.home / "emgsearch/.venv")
            machine.start()
        yield made
    finally:
        for machine in made:
            machine.stop()


def lend_venv(folder: Path) -> None:
    """Set up a machine's ``.venv`` with what is installed here, as ``make cluster-setup`` would."""
    folder.mkdir(parents=True)
    for path in Path(sys.executable).parents[1].iterdir():
        (folder / path.name).symlink_to(path)
    stamp = folder / ".cluster-ready"
    stamp.unlink(missing_ok=True)
    stamp.touch()


def wait_for(address: str, port: int, seconds: float = 30) -> None:
    """Wait until something listens."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((address, port), timeout=2).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on {address}:{port}"
            time.sleep(0.2)


def sh(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
