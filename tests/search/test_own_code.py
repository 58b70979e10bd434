"""Stages, schedulers, samplers and augmentations of the user's own, in real searches.

The files and the space are those of docs/extend.md, as they stand there.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import emgmodels
import search.engine.ray_session
from emgmodels.config import code_of, load_config
from emgmodels.notation import notation
from emgmodels.own_code import CodeError, NotAllowedError, code_allowed
from search import run
from search.evaluate.evaluating import evaluate
from search.report.run import read_run
from search.results.folder import RunFolder
from search.results.listing import listed
from search.results.reading import read_trials
from search.run.confirm import confirm_winners
from search.space import SpaceError, load_space

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "extend.md").read_text()
BLOCKS, SEARCH = re.findall(r"^```python\n(.*?)^```", PAGE, re.S | re.M)
SPACE = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.S | re.M)[0]
SMALL = (
    *("model.features={hop: 64, bins: 6}", "model.norm=bin", "model.mlp_features=8"),
    *("model.encoder.recurrent={layers: 1, hidden: 4}", "model.encoder.gated.layers={int: [1, 2]}"),
    *("training.epochs=2", "training.batch_size=4", "training.warmup_steps=3"),
    *("search.trials=3", "search.scheduler.grace=1"),
)


def write_files(folder: Path, *, blocks: str = BLOCKS, space: str = SPACE) -> Path:
    """Write what the page shows into a folder, and return the space."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "my_blocks.py").write_text(blocks)
    (folder / "my_search.py").write_text(SEARCH)
    (folder / "gated.yaml").write_text(space)
    return folder / "gated.yaml"


@pytest.fixture(scope="module")
def searched(session_paths, tmp_path_factory) -> Path:
    """The folder of a search of the page's space, whose own files are gone."""
    folder = tmp_path_factory.mktemp("own")
    space = write_files(folder)
    with search.engine.ray_session.engine(None, None):
        run.search(
            space,
            data=session_paths[0].parent,
            out=folder,
            overrides=SMALL,
            allow_code=True,
            quiet=True,
        )
    for name in ("my_blocks.py", "my_search.py"):
        (folder / name).unlink()
    return folder / "gated-001"


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a Python of its own, which knows of no code yet, in a folder."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**dict(__import__("os").environ), "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_keeps_its_code_and_says_what_it_was(searched):
    rows = read_trials(searched).to_pylist()
    assert {row["state"] for row in rows} <= {"complete", "stopped"}
    assert any(row["state"] == "complete" for row in rows)
    assert {row["model.encoder.gated.dropout"] for row in rows} <= {0.0, 0.1}
    facts = json.loads((searched / "environment.json").read_text())
    assert facts["code"] == {
        name: hashlib.sha256(text.encode()).hexdigest()
        for name, text in (("my_blocks.py", BLOCKS), ("my_search.py", SEARCH))
    }
    assert (searched / "code" / "my_blocks.py").read_text() == BLOCKS
    written = yaml.safe_load((searched / "space.yaml").read_text())
    sha256 = facts["code"]["my_blocks.py"]
    assert written["stages"] == {"gated": f"code/my_blocks.py:GatedStage@{sha256}"}
    assert written["search"]["sampler"] == {"name": "near_best", "keep": 0.5}
    assert "code" not in written["model"]["encoder"]["gated"]
