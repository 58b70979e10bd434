"""Stages, schedulers, samplers and augmentations of the user's own, searched for real.

The files and the space are those of docs/extend.md, as they stand there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import search.engine.ray_session
from search import run
from search.report.run import read_run
from search.results.listing import list_runs
from search.results.reading import read_trials

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "extend.md").read_text()
BLOCKS, SEARCH = re.findall(r"^```python\n(.*?)^```", PAGE, re.S | re.M)
SPACE = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.S | re.M)[0]
SMALL = (
    *("model.features={hop: 64, bins: 6}", "model.norm=bin", "model.mlp_features=8"),
    *("model.encoder.gated.layers={int: [1, 2]}", "model.encoder.recurrent.hidden=4"),
    *("model.encoder.recurrent.bidirectional=false", "training.epochs=2", "training.batch_size=4"),
    *("search.trials=3", "search.scheduler.grace=1"),
)


@pytest.fixture(scope="module")
def searched(session_paths, tmp_path_factory) -> Path:
    """The folder of a search of the page's space, whose own files are gone."""
    folder = tmp_path_factory.mktemp("own")
    for name, text in (("my_blocks.py", BLOCKS), ("my_search.py", SEARCH), ("gated.yaml", SPACE)):
        (folder / name).write_text(text)
    with search.engine.ray_session.engine(None, None):
        run.search(
            folder / "gated.yaml",
            data=session_paths[0].parent,
            out=folder,
            overrides=SMALL,
            allow_code=True,
            quiet=True,
        )
    for name in ("my_blocks.py", "my_search.py"):
        (folder / name).unlink()
    return folder / "gated-001"


def in_new_process(folder: Path, program: str) -> str:
    """Run a program in a folder, in a process that has no code of anybody yet."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        **{"cwd": folder, "env": environment, "capture_output": True, "text": True},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_run_keeps_its_code_and_says_what_it_was(searched):
    rows = read_trials(searched).to_pylist()
    assert {row["state"] for row in rows} <= {"complete", "stopped"}
    assert len(rows) == 3
    assert {row["model.encoder.gated.dropout"] for row in rows} <= {0.0, 0.1}
    facts = json.loads((searched / "environment.json").read_text())
    texts = {"my_blocks.py": BLOCKS, "my_search.py": SEARCH}
    for name, text in texts.items():
        assert facts["code"][name] == hashlib.sha256(text.encode()).hexdigest()
        assert (searched / "code" / name).read_text() == text
    written = yaml.safe_load((searched / "space.yaml").read_text())
    sha256 = facts["code"]["my_blocks.py"]
    assert written["stages"] == {"gated": f"code/my_blocks.py:GatedStage@{sha256}"}
    assert written["search"]["sampler"] == {"name": "near_best", "keep": 0.5}
    assert "code" not in written["model"]["encoder"]["gated"]


def test_reports_and_lists_read_a_run_without_its_code(searched, tmp_path):
    folder = tmp_path / "gated-001"
    shutil.copytree(searched, folder)
    shutil.rmtree(folder / "code")
    (folder / "code").mkdir()
    for name in ("my_blocks.py", "my_search.py"):
        (folder / "code" / name).write_text("raise SystemExit('imported')")
    [listed] = list_runs(tmp_path)
    assert "gated:" in listed.architecture
    in_new_process(tmp_path, "from search.report.run import read_run; read_run('gated-001')")
    assert all("gated:" in trial.label for trial in read_run(searched).trials)


GOES_ON = """
import sys
from pathlib import Path
import emgmodels
from emgmodels.config import load_config
from emgmodels.own_code import NotAllowedError, code_allowed
from search import run
from search.evaluate.evaluating import evaluate
from search.run.confirm import confirm_winners
from search.space import SpaceError
from search.results.folder import RunFolder

folder = Path(FOLDER)
model = next((folder / "checkpoints").glob("*.pt"))
for act in (
    lambda: run.resume(folder, add_trials=1, quiet=True),
    lambda: confirm_winners(folder, top=1, repeats=2, quiet=True),
    lambda: evaluate(folder, quiet=True),
    lambda: emgmodels.load(model),
    lambda: load_config(folder / "best.yaml"),
):
    try:
        act()
    except (NotAllowedError, SpaceError) as error:
        assert "--allow-code" in str(error) and str(folder) in str(error), error
    else:
        raise AssertionError("imported without being asked")
assert not [name for name in sys.modules if name.startswith("own_code_")]
table = evaluate(folder, allow_code=True, quiet=True, device="cpu")
print("evaluated", table.num_rows > 0)
reader = emgmodels.load(model, allow_code=True)
from emgmodels.export.targets import TARGETS
TARGETS["torch"][1](reader, Path("small.pt"))
from emgmodels.export.folder import export_folder
export_folder(model, Path("shared"), allow_code=True)
card = Path("shared/README.md").read_text()
assert 'emgmodels.load("shared", allow_code=True)' in card
assert " --allow-code" in card, "of the command that trains it again"
try:
    load_config(Path("shared/config.yaml"))
except NotAllowedError:
    pass
else:
    raise AssertionError("imported without being asked")
with code_allowed(True):  # the code lies where the training looks for it
    assert load_config(Path("shared/config.yaml")).model == reader.config.model
print("stream", reader.stream() is not None)
run.resume(folder, add_trials=1, allow_code=True, quiet=True)
confirm_winners(folder, top=1, repeats=2, allow_code=True, quiet=True)
with code_allowed(True):
    best = RunFolder.open(folder).ranking()[0]
    print("again", load_config(folder / "best.yaml").model == best.config.model)
"""


ALONE = """
import emgmodels
from emgmodels.own_code import NotAllowedError

try:
    emgmodels.load("shared")
except NotAllowedError as error:
    assert "'code' in shared/config.json holds it" in str(error), error
else:
    raise AssertionError("imported without being asked")
try:
    emgmodels.load("small.pt")
except NotAllowedError as error:
    assert str(error).startswith("small.pt: names code of its own"), error
else:
    raise AssertionError("imported without being asked")
print(emgmodels.load("small.pt", allow_code=True).card()["format"])
"""


def test_a_moved_run_goes_on_where_its_code_is_allowed(searched, tmp_path):
    """Resumed, confirmed, evaluated, read, exported, each in a process that never saw its files."""
    folder, elsewhere = tmp_path / "moved" / "anna", tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder.parent.mkdir()
    shutil.copytree(searched, folder)
    printed = in_new_process(elsewhere, GOES_ON.replace("FOLDER", repr(str(folder))))
    assert printed.split() == ["evaluated", "True", "stream", "True", "again", "True"]
    assert read_trials(folder).num_rows == 4
    assert read_trials(folder / "confirm").num_rows == 2
    assert (folder / "confirm" / "code" / "my_blocks.py").read_text() == BLOCKS
    facts = json.loads((folder / "confirm" / "environment.json").read_text())
    assert facts["code"] == json.loads((folder / "environment.json").read_text())["code"]
    assert "emgsearch" in in_new_process(elsewhere, ALONE)
    own = f"import emgmodels; emgmodels.load({str(next((folder / 'checkpoints').glob('*.pt')))!r})"
    in_new_process(folder, own)


def test_a_changed_copy_is_refused_at_resume(searched, tmp_path):
    folder = tmp_path / "gated-001"
    shutil.copytree(searched, folder)
    with (folder / "code" / "my_blocks.py").open("a") as file:
        file.write("# changed\n")
    with pytest.raises(ValueError, match=r"code/my_blocks.py: has changed: its sha256 is"):
        run.resume(folder, add_trials=1, allow_code=True, quiet=True)
