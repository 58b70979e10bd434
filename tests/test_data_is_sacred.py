"""No command deletes or overwrites what the project did not write, whatever it is given."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.fs
import pytest
from bystanders import TINY, hashes
from conftest import ROOT, make_session
from typer.testing import CliRunner

import emgmodels.export.__main__ as export
import emgmodels.language.__main__ as language
import emgmodels.sessions.__main__ as sessions
import emgmodels.synthetic.__main__ as synthetic
import emgmodels.training.__main__ as training
import search.report.__main__ as report
import search.simulate.__main__ as simulate
import search.space.__main__ as space
from emgmodels.sessions import write_session
from emgmodels.synthetic import write_subject
from emgmodels.training.state import CHECKPOINT_MARK
from search.engine.checkpoints import BestCheckpoints, SpentCheckpoints
from search.halving.ending import Ending, Why
from search.report import figures
from search.results.folder import RunFolder
from search.results.lock import running
from search.results.record import TrialRecord
from search.storage import StoredFile
from search.storage.mirror import fetch

COMMANDS = {
    "language": (language.app, ["build", "text.txt", "--order", "2", "--out"], "text.txt", ".arpa"),
    "inspect": (sessions.app, ["inspect", "data/s0.hdf5", "--plot"], "data/s0.hdf5", ".png"),
    "simulate": (
        simulate.app,
        ["curves.csv", "--scheduler", "none", "--repeats", "2", "--figure"],
        "curves.csv",
        ".svg",
    ),
    "export": (export.app, ["weights.pt", "--to", "torch", "--out"], "weights.pt", ".pt"),
    "export-emg2qwerty": (
        export.app,
        ["weights.pt", "--to", "emg2qwerty", "--out"],
        "weights.pt",
        ".ckpt",
    ),
    "export-onnx": (export.app, ["weights.pt", "--to", "onnx", "--out"], "weights.pt", ".onnx"),
    "training": (
        training.app,
        ["tiny.yaml", "--data", "data", "--device", "cpu", "--out"],
        "tiny.yaml",
        ".pt",
    ),
}
"""Commands that write one file: the words up to that file, what they read, the file's ending."""


def refused_targets(place: Path, source: str, ending: str) -> dict[str, Path]:
    """Return outputs that are, or lead to, something that no command wrote."""
    foreign = place / f"foreign{ending}"
    foreign.write_bytes(b"years of work")
    os.link(place / source, place / f"hard{ending}")
    os.link(foreign, place / f"other{ending}")
    (place / f"soft{ending}").symlink_to(place / source)
    (place / f"near{ending}").symlink_to(foreign)
    (place / f"broken{ending}").symlink_to(place / "nowhere")
    (place / f".dot{ending}").write_bytes(b"hidden work")
    os.mkfifo(place / f"pipe{ending}")
    (place / "way").symlink_to(place)
    (place / f"folder{ending}").mkdir()
    (place / f"folder{ending}/mine").write_text("mine")
    return {
        "its input": Path(source),
        "its input, absolute": place / source,
        "its input by another way": place / "way" / source,
        "its input through the parent": place / "data/.." / source,
        "a hard link to its input": place / f"hard{ending}",
        "a link to its input": place / f"soft{ending}",
        "a foreign file": foreign,
        "a hard link to a foreign file": place / f"other{ending}",
        "a link to a foreign file": place / f"near{ending}",
        "a hidden file": place / f".dot{ending}",
        "a pipe": place / f"pipe{ending}",
        "a file of a run": place / "run-001/trials.csv",
        "a checkpoint of a run": next(place.glob("run-001/checkpoints/*.pt")),
        "a broken link": place / f"broken{ending}",
        "a folder": place / f"folder{ending}",
        "its folder": place,
        "a session": place / "data/s1.hdf5",
        "below a file": foreign / f"out{ending}",
        "a device": Path("/dev/null"),
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_an_output_never_replaces_what_the_command_did_not_write(place, name):
    app, words, source, ending = COMMANDS[name]
    targets = refused_targets(place, source, ending)
    before = hashes(place)
    for kind, target in targets.items():
        done = CliRunner().invoke(app, [*words, str(target)])
        assert done.exit_code == 2, f"{kind}: {done.output}"
        assert str(target) in done.output.replace("\n", ""), kind
        assert hashes(place) == before, kind
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name == "export-onnx" else ())
        for name in COMMANDS
    ],
)
def test_a_command_may_replace_its_own_output(place, name):
    app, words, _, ending = COMMANDS[name]
    out = place / f"new/out{ending}"
    out.parent.mkdir()
    before = hashes(place)
    for _ in range(2):
        done = CliRunner().invoke(app, [*words, str(out)])
        assert done.exit_code == 0, done.output
        assert out.is_file()
    found = hashes(place)
    assert found.keys() - before.keys() == {f"new/out{ending}"}
    assert before.items() <= found.items()


def test_a_picture_without_an_ending_is_a_png_and_says_so(place):
    done = CliRunner().invoke(sessions.app, ["inspect", "data/s0.hdf5", "--plot", "picture"])
    assert "picture.png" in done.output
    (place / "other.png").write_bytes(b"mine")
    done = CliRunner().invoke(sessions.app, ["inspect", "data/s0.hdf5", "--plot", "other"])
    assert done.exit_code == 2
    assert (place / "other.png").read_bytes() == b"mine"


def test_pictures_are_drawn_whatever_a_matplotlibrc_asks_for(place):
    """One that asks for LaTeX, which is on few machines, and for other fonts and sizes."""
    (place / "matplotlibrc").write_text(
        "text.usetex: True\nfont.family: serif\nsavefig.format: pdf\nfigure.dpi: 9\n"
        "axes.formatter.use_mathtext: True\nbackend: tkagg\n"
    )
    code = (
        "from typer.testing import CliRunner; from search.__main__ import app; import matplotlib\n"
        "from search.report import figures\n"
        "figures.FIGURES = dict(list(figures.FIGURES.items())[:1])\n"
        "for line in ('sessions inspect data/s0.hdf5 --plot new.png',\n"
        "    'simulate curves.csv --scheduler none --repeats 2 --figure new.pdf',\n"
        "    'report run-001 --quiet', 'evaluate run-001 --device cpu'):\n"
        "    done = CliRunner().invoke(app, line.split())\n"
        "    assert done.exit_code == 0, (line, done.output)\n"
        "assert matplotlib.rcParams['text.usetex'], 'the file was not read'\n"
    )
    surroundings = {**os.environ, "MATPLOTLIBRC": str(place), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=surroundings, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for name in ("new.png", "run-001/report/learning_curves.png"):
        assert (place / name).read_bytes().startswith(b"\x89PNG")
    assert (place / "new.pdf").read_bytes().startswith(b"%PDF")
    assert list(place.glob("run-001/evaluation/*-keyboard.svg"))


def test_a_training_does_not_replace_checkpoints_of_a_search(place):
    (place / "run/checkpoints").mkdir(parents=True)
    (place / "run/space.yaml").write_text("name: run")
    shutil.copy("weights.pt", "run/checkpoints/000-conv-1.pt")
    before = hashes(place)
    done = CliRunner().invoke(
        training.app, ["tiny.yaml", "--data", "data", "--out", "run/checkpoints/000-conv-1.pt"]
    )
    assert done.exit_code == 2
    assert "belongs to the search" in done.output
    assert hashes(place) == before


def test_sessions_of_others_are_not_replaced_by_synthetic_ones(tmp_path):
    options = ["--sessions", "1", "--minutes", "0.25", "--subject", "anna"]
    write_subject(tmp_path / "same", 1, 0.25, "anna")
    shutil.copytree(tmp_path / "same", tmp_path / "other")
    (tmp_path / "link").mkdir()
    (tmp_path / "link/anna-000.hdf5").symlink_to(tmp_path / "same/anna-000.hdf5")
    write_session(tmp_path / "other/anna-000.hdf5", make_session(9, name="anna-000", user="anna"))
    before = hashes(tmp_path)
    for folder, status in {"same": 0, "other": 2, "link": 2}.items():
        done = CliRunner().invoke(synthetic.app, [str(tmp_path / folder), *options])
        assert done.exit_code == status, folder
        assert hashes(tmp_path) == before, folder


def test_a_page_keeps_all_but_its_generated_part(tmp_path):
    from search.space.reference import BEGIN, END

    page, link, plain = (tmp_path / name for name in ("page.md", "link.md", "plain.md"))
    page.write_bytes(f"mine\r\n{BEGIN}\nold\n{END}\r\nmine too".encode())
    page.chmod(0o600)
    link.symlink_to(page)
    plain.write_text("mine")
    before = hashes(tmp_path)
    for target in (link, plain, tmp_path):
        assert CliRunner().invoke(space.app, ["--write", str(target)]).exit_code == 2
    assert hashes(tmp_path) == before
    assert CliRunner().invoke(space.app, ["--write", str(page)]).exit_code == 0
    written = page.read_bytes()
    assert written.startswith(b"mine\r\n")
    assert written.endswith(b"\r\nmine too")
    assert b"learning_rate" in written
    assert page.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def run(tmp_path) -> RunFolder:
    """A finished search of two trials."""
    folder = RunFolder.create(tmp_path / "runs", "tiny")
    folder.write_space({"name": "tiny", "model": {"encoder": {"order": ["conv"], "conv": {}}}})
    folder.write_environment({"seed": 0, "synthetic": True, "subject": "anna", "split": {}})
    for number in range(2):
        trial = TrialRecord(number, TINY.model_copy(update={"seed": number}), "complete", None, "")
        trial.add({"epoch": 1, "val_cer": 50.0 + number, "val_loss": 1.0, "seconds": 1.0})
        folder.trials[number] = trial
    folder.flush()
    return folder


def test_a_report_does_not_replace_files_of_others(run, tmp_path, monkeypatch):
    drawn = dict(list(figures.FIGURES.items())[:1])
    monkeypatch.setattr(figures, "FIGURES", drawn)
    out = tmp_path / "out"
    out.mkdir()
    words = [str(run.path), "--quiet", "--out", str(out)]
    names = ("report.html", "leaderboard.md", "leaderboard.csv", f"{next(iter(drawn))}.png")
    for i, name in enumerate(names):
        (out / name).symlink_to("nowhere") if i % 2 else (out / name).write_text("mine")
        before = hashes(tmp_path)
        done = CliRunner().invoke(report.app, words)
        assert done.exit_code == 2
        assert name in done.output
        assert hashes(tmp_path) == before
        (out / name).unlink()
    for _ in range(2):
        done = CliRunner().invoke(report.app, words)
        assert done.exit_code == 0, done.output
        assert {path.name for path in out.iterdir()} >= set(names)


def test_only_losers_checkpoints_are_deleted(run, tmp_path):
    """A file with a loser's name stays unless a training wrote it."""
    folder = run.path / "checkpoints"
    folder.mkdir()
    names = [f"{trial.slug}.pt" for trial in run.ranking()]
    others = ("000-conv-1-model.pt", "notes.txt", "mine.pt")
    for name in (*names, *others):
        (folder / name).write_text(CHECKPOINT_MARK if name in names else name)
    (folder / "sub").mkdir()
    BestCheckpoints(run.path, 1).keep(run.trials.values())
    left = {path.name for path in folder.iterdir()}
    assert left == {names[0], *others, "sub", "best.pt"}
    assert (folder / "best.pt").read_text() == (folder / names[0]).read_text()
    (folder / names[1]).write_text("mine")
    trial = run.trials[0]
    trial.checkpoint = StoredFile(pa.fs.LocalFileSystem(), str(folder / "notes.txt"))
    (folder / names[0]).write_text("mine too")
    BestCheckpoints(run.path, 1).keep(run.trials.values())
    assert (folder / names[0]).read_text() == "mine too"
    assert (folder / names[1]).read_text() == "mine"
    assert trial.kept is None, "it is shown to have no checkpoint"
    assert not (folder / "best.pt").exists(), "it would be of weights that nobody kept"
    (folder / "best.pt").write_text("mine as well")
    BestCheckpoints(run.path, 1).keep(run.trials.values())
    assert (folder / "best.pt").read_text() == "mine as well"


def test_a_run_folder_may_lie_in_a_folder_that_is_named_like_a_checkpoint(tmp_path):
    from types import SimpleNamespace

    trial = tmp_path / "checkpoint_tests/runs/tiny-001/.ray/0000"
    (trial / "checkpoint_000001").mkdir(parents=True)
    (trial / "checkpoint_000001/state.pt").write_text("x")
    spent = SpentCheckpoints()
    spent._storage = SimpleNamespace(storage_filesystem=pa.fs.LocalFileSystem())
    assert [path.name for path in spent._find(str(trial))] == ["checkpoint_000001"]


@pytest.mark.parametrize("name", [".running", ".trials.rows", ".reserve"])
def test_a_run_folder_is_not_written_through_links(run, tmp_path, name):
    mine = tmp_path / "mine"
    mine.write_text("mine\nunfinished")
    (run.path / name).unlink(missing_ok=True)
    (run.path / name).symlink_to(mine)
    folder = RunFolder.open(run.path) if name == ".reserve" else run
    if name == ".running":
        with pytest.raises(OSError, match="symbolic links"), running(run.path):
            pass
    elif name == ".trials.rows":
        folder.trials[0].ending = Ending(Why.CRASHED)
        with pytest.raises((OSError, ValueError)):
            folder.append(folder.trials[0])
    else:
        folder.reserve()
        folder.release()
    assert mine.read_text() == "mine\nunfinished"


class Store:
    """An object store that is a folder of this machine."""

    uri = "s3://bucket/runs/tiny-001"

    def __init__(self, folder: Path, **more: str) -> None:
        self._folder = folder
        for name, text in more.items():
            (folder / name).write_text(text)

    def open(self):
        """Return the file system and the folder in it."""
        return pa.fs.LocalFileSystem(), str(self._folder)

    def files(self):
        """Return the files, those with odd names included."""
        fs, root = self.open()
        found = fs.get_file_info(pa.fs.FileSelector(root, recursive=True))
        named = {info.path[len(root) + 1 :]: info for info in found if info.is_file}
        odd = ("../escaped", "/tmp/emgsearch-escaped", "a\\..\\..\\escaped", "report/../../escaped")
        return named | dict.fromkeys(odd, named["space.yaml"])


def test_a_fetched_run_replaces_nothing_and_stays_in_its_folder(run, tmp_path):
    store = Store(run.path)
    (run.path / "notes.txt").write_text("of the store")
    here = tmp_path / "here"
    fetch(store, here)
    assert (here / "space.yaml").is_file()
    (here / "trials.csv").write_text("old")
    os.utime(here / "trials.csv", (1, 1))
    (here / "own.txt").write_text("mine")
    fetch(store, here)
    assert (here / "trials.csv").read_text() != "old"
    (here / "notes.txt").write_text("mine")
    elsewhere = tmp_path / "elsewhere"
    for spoil in ("space.yaml", "trials.csv", "checkpoints"):
        shutil.rmtree(elsewhere, ignore_errors=True)
        elsewhere.mkdir()
        if spoil == "checkpoints":
            (run.path / "checkpoints").mkdir()
            (run.path / "checkpoints/000.pt").write_text("x")
            (tmp_path / "mine").mkdir()
            (elsewhere / spoil).symlink_to(tmp_path / "mine")
        else:
            (elsewhere / spoil).write_text("mine")
            os.utime(elsewhere / spoil, (1, 1))
        before = hashes(tmp_path)
        with pytest.raises(ValueError, match=r"is there already|is a link"):
            fetch(store, elsewhere)
        with pytest.raises(ValueError, match="is there already"):
            fetch(store, here)  # notes.txt is not a search's
        assert hashes(tmp_path) == before
    assert not list(tmp_path.rglob("*escaped*"))
    assert not Path("/tmp/emgsearch-escaped").exists()
