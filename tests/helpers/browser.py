"""A headless Chromium, spoken to by its WebDriver, and servers to look at."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class Browser:
    """A browser's session, by the address of its WebDriver."""

    def __init__(self, address: str) -> None:
        self.address = address

    def open(self, url: str) -> None:
        """Open a page."""
        post(f"{self.address}/url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """Return what a script in the page returns."""
        return post(f"{self.address}/execute/sync", {"script": script, "args": list(arguments)})

    def barriers(self) -> list[str]:
        """Return what keeps people from the page, by axe-core: colours, names, the keyboard."""
        axe = pytest.importorskip("axe_core_python", reason="pip install axe-core-python")
        self.run((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
        script = """
            const done = arguments[0];
            axe.run().then(({violations}) => done(violations
                .filter(({impact}) => ["serious", "critical"].includes(impact))
                .map(({help, nodes}) => help + ": " + nodes[0].html)))"""
        return post(f"{self.address}/execute/async", {"script": script, "args": []})

    def command(self, name: str, **parameters: object) -> Any:
        """Send a command of Chromium's developer tools."""
        content = {"cmd": name, "params": parameters}
        return post(f"{self.address}/goog/cdp/execute", content)

    def until(self, script: str, what: str, seconds: float = 40) -> Any:
        """Return what a script returns as soon as that is true; what takes longer fails."""
        deadline = time.monotonic() + seconds
        while not (found := self.run(script)):
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
            time.sleep(0.1)
        return found


@contextlib.contextmanager
def browser(size: str = "1400,900") -> Iterator[Browser]:
    """Start a browser with a window of so many pixels; the test is skipped where there is none."""
    program = shutil.which("chromedriver")
    if program is None or shutil.which("chromium") is None:
        pytest.skip("no browser: apt-get install chromium chromium-driver to see pages in one")
    process, address = start([program], "/status", b'"ready":true')
    options = {"args": ["--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={size}"]}
    # The longest page is looked through in a few seconds, and on a busy machine in half a minute.
    match = {"goog:chromeOptions": options, "timeouts": {"script": 110_000}}
    wanted = {"capabilities": {"alwaysMatch": match}}
    try:
        session = post(f"{address}/session", wanted)["sessionId"]
        yield Browser(f"{address}/session/{session}")
    finally:
        end(process)


def start(
    command: list[str], path: str, expected: bytes, cwd: Path | None = None
) -> tuple[subprocess.Popen, str]:
    """Start a server on a free port; return it and its address once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [*command, f"--port={port}"],
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 120
    while True:
        with contextlib.suppress(OSError):
            if expected in urllib.request.urlopen(address + path, timeout=10).read():
                return process, address
        assert process.poll() is None, f"{command} ended"
        assert time.monotonic() < deadline, f"{command} did not start"
        time.sleep(0.3)


def end(process: subprocess.Popen) -> None:
    """End a server, with all that it started."""
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(30)


def post(address: str, content: dict[str, Any]) -> Any:
    """Send JSON; return the value of the answer."""
    request = urllib.request.Request(address, json.dumps(content).encode())
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)["value"]
