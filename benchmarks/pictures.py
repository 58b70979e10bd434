"""Draws the pictures of README and docs, all from one search, and writes what they are captioned.

python -m benchmarks.pictures               # searches spaces/deep.yaml as a demo, then draws
python -m benchmarks.pictures runs/deep-001 # draws from a search that is over

What the caption says is recorded beside the pictures, with a hash of each, and a test compares
them. It needs Chromium.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image

from emgmodels.command import CommandLine
from emgmodels.outputs import write_text
from emgmodels.saying import counted

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
RECORD = IMAGES / "pictures.json"
"""What the pictures show: numbers of the search, and a hash of each picture."""
BEGIN, END = "<!-- pictures: begin -->", "<!-- pictures: end -->"
"""Around the pictures in README.md."""
_CURVES = ("search.png", "Learning curves: most trials end at a rung, the best go on")
_VIEWS = {
    "report.png": ("report.html", "Outcome, ranking with intervals, learning curves"),
    "tensorboard-curves.png": ("TensorBoard", "CER of every trial by epoch"),
    "tensorboard-text.png": ("what was read", "What the best trial read, beside what was typed"),
    "tensorboard-hparams.png": ("every setting", "Trials by setting, with their best CER"),
}
"""Other pictures: what stands above each, and what a reader without pictures is told."""
_SEARCH = ("spaces/deep.yaml", "--trials", "16", "--time-budget", "2h")
_BOARDS = {
    "tensorboard-curves.png": ("timeseries", 1400, 1000),
    "tensorboard-hparams.png": ("hparams", 1640, 850),
    "tensorboard-text.png": ("text", 1400, 1250),
}
_WAIT = 20_000
"""Milliseconds that a page is given to draw itself."""

app = CommandLine()


@app.command()
def pictures(
    run: Annotated[
        Path | None, typer.Argument(help="A demo's run folder; without it, one is searched.")
    ] = None,
) -> None:
    """Draw the pictures of README and docs from one search, and write their captions."""
    browser = shutil.which("chromium")
    if browser is None:
        raise ValueError("there is no Chromium to look at pages with: apt-get install chromium")
    with tempfile.TemporaryDirectory() as scratch:
        run = _searched(Path(scratch)) if run is None else run
        facts = facts_of(run)
        report = Path(scratch) / "report"
        _python("search.report", str(run), "--out", str(report))
        shutil.copyfile(report / "learning_curves.png", IMAGES / "search.png")
        _look(browser, (report / "report.html").absolute().as_uri(), "report.png", 1280, 1560)
        with _tensorboard(run / "tensorboard") as address:
            for name, (view, width, height) in _BOARDS.items():
                _look(browser, f"{address}/#{view}", name, width, height)
    facts["pictures"] = {
        name: hashlib.sha256((IMAGES / name).read_bytes()).hexdigest()
        for name in ("search.png", "report.png", *_BOARDS)
    }
    write_text(RECORD, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    readme = ROOT / "README.md"
    write_text(readme, captioned(readme.read_text(encoding="utf-8"), facts))
    typer.echo(f"{IMAGES}: drawn from {run}: {caption(facts)}")


def facts_of(run: Path) -> dict[str, Any]:
    """Return the numbers of a search that captions name.

    Raises:
        ValueError: trials were cut off, or none has a CER.
    """
    from emgmodels.notation import brief_notation
    from search.results import read_trials

    trials = read_trials(run).to_pylist()
    if any(trial["state"] == "cut off" for trial in trials) or not trials[0]["val_cer"]:
        raise ValueError(f"{run}: is not a search that ended with all of its trials")
    return {
        "trials": len(trials),
        "ended_early": sum(trial["state"] == "stopped" for trial in trials),
        "epochs": sum(trial["epochs"] for trial in trials),
        "epochs_of_all": sum(json.loads(t["config"])["training"]["epochs"] for t in trials),
        "val_cer": round(trials[0]["val_cer"], 1),
        "architecture": brief_notation(trials[0]["architecture"]),
    }


def caption(facts: dict[str, Any]) -> str:
    """Return what a search came to, in a sentence."""
    return (
        f"*A demo of `spaces/deep.yaml`, drawn by `python -m search.report`: "
        f"{counted(facts['trials'], 'architecture')},\n{facts['epochs']} of "
        f"{counted(facts['epochs_of_all'], 'epoch')}, best validation "
        f"CER {facts['val_cer']} % ({facts['architecture']}).*"
    )


def captioned(text: str, facts: dict[str, Any]) -> str:
    """Return a page with the recorded pictures and their caption between its marks."""
    shown = [f"![{_CURVES[1]}](docs/images/{_CURVES[0]})", "", caption(facts)]
    views = {name: view for name, view in _VIEWS.items() if name in facts["pictures"]}
    if views:
        headers, cells = [head for head, _ in views.values()], []
        cells = [f"![{said}](docs/images/{name})" for name, (_, said) in views.items()]
        rows = [headers, ["---"] * len(views), cells]
        shown += ["", *(f"| {' | '.join(row)} |" for row in rows)]
    block = "\n".join([BEGIN, *shown, END])
    marks = rf"{re.escape(BEGIN)}\n.*?{re.escape(END)}"
    return re.sub(marks, lambda _: block, text, flags=re.S)


def _searched(scratch: Path) -> Path:
    _python("search.run", *_SEARCH, "--out", str(scratch))
    return scratch / "deep-001"


def _python(module: str, *words: str) -> None:
    subprocess.run([sys.executable, "-m", module, *words], cwd=ROOT, check=True)


def _look(browser: str, address: str, name: str, width: int, height: int) -> None:
    """Write what a browser's window shows of a page."""
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    options += [f"--window-size={width},{height}", f"--virtual-time-budget={_WAIT}"]
    words = [browser, *options, f"--screenshot={IMAGES / name}", address]
    subprocess.run(words, check=True, capture_output=True)
    # Of a page's few colours, 256 show all; the file is less than half as large.
    Image.open(IMAGES / name).convert("RGB").quantize(256).save(IMAGES / name, optimize=True)


@contextlib.contextmanager
def _tensorboard(folder: Path) -> Iterator[str]:
    """Yield the address of a TensorBoard that has read a folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-m", "tensorboard.main", "--logdir", str(folder), "--port", str(port)]
    server = subprocess.Popen([sys.executable, *words], stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"{address}/data/runs", timeout=10) as answer,
            ):
                if b"search" in answer.read():
                    break
            time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    app(prog_name="python -m benchmarks.pictures")
