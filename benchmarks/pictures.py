"""Draws the pictures of README and docs, all from one search, and writes what they are captioned.

python -m benchmarks.pictures               # searches spaces/deep.yaml as a demo, then draws
python -m benchmarks.pictures runs/deep-001 # draws from a search that is over

What the caption says is recorded beside the pictures, with a hash of each, and a test compares
them. It needs Chromium and its driver, as the tests do.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image

from emgmodels.command import CommandLine
from emgmodels.outputs import write_text
from emgmodels.saying import counted
from tests.helpers.browser import browser, end, start

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
_WAIT = 10
"""Seconds that a page is given to draw itself: its charts are drawn by workers of the browser."""

app = CommandLine()


@app.command()
def pictures(
    run: Annotated[
        Path | None, typer.Argument(help="A demo's run folder; without it, one is searched.")
    ] = None,
) -> None:
    """Draw the pictures of README and docs from one search, and write their captions."""
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        raise ValueError("no browser to look at pages: apt-get install chromium chromium-driver")
    with tempfile.TemporaryDirectory() as scratch:
        run = _searched(Path(scratch)) if run is None else run.resolve()
        facts = facts_of(run)
        report = Path(scratch) / "report"
        _python("search.report", str(run), "--out", str(report))
        shutil.copyfile(report / "learning_curves.png", IMAGES / "search.png")
        _look((report / "report.html").absolute().as_uri(), "report.png", 1280, 1560)
        with _tensorboard(run) as address:
            for name, (view, width, height) in _BOARDS.items():
                _look(f"{address}/#{view}", name, width, height)
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
    _python("search.run", *_SEARCH, "--out", str(scratch / "runs"))
    return scratch / "runs" / "deep-001"


def _python(module: str, *words: str) -> None:
    subprocess.run([sys.executable, "-m", module, *words], cwd=ROOT, check=True)


def _look(address: str, name: str, width: int, height: int) -> None:
    """Write what a browser shows of a page."""
    with browser() as window:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        window.command("Emulation.setDeviceMetricsOverride", **size)
        window.command("Emulation.setScrollbarsHidden", hidden=True)
        window.open(address)
        time.sleep(_WAIT)
        shown = window.command("Page.captureScreenshot", format="png")
    (IMAGES / name).write_bytes(base64.b64decode(shown["data"]))
    # A page has few colours: with the 256 that it has most of, those of curves stay what they are,
    # and the file is half as large.
    image = Image.open(IMAGES / name).convert("RGB")
    counts: Any = image.getcolors(width * height)
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for _, colour in sorted(counts)[-256:] for part in colour])
    image.quantize(palette=palette, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)


@contextlib.contextmanager
def _tensorboard(run: Path) -> Iterator[str]:
    """Yield the address of a TensorBoard that has read a run folder."""
    # It shows the path that it was given.
    logs, place = Path(run.parent.name, run.name, "tensorboard"), run.parents[1]
    words = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logs)]
    server, address = start(words, "/data/runs", b"search", cwd=place)
    try:
        yield address
    finally:
        end(server)


if __name__ == "__main__":
    app(prog_name="python -m benchmarks.pictures")
