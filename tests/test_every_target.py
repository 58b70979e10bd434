"""Every command is given its inputs, their parents and links to them to write to: all of it stays.

What the project may replace is what the same command wrote. So whatever a command is given, each
file that was there before has the same content afterwards, and the command ends with 0 or 2.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import tempfile
from pathlib import Path

import pyarrow.fs
import pytest
from bystanders import hashes, make_place
from typer.testing import CliRunner

from search.__main__ import app
from search.report import figures
from search.results.folder import RunFolder
from search.results.own_files import check_own, check_parent
from search.storage.mirror import fetch

WRITERS = {
    "run": "run tiny-space.yaml --data data --cpus-per-trial 9999 --out TARGET",
    "storage": "run tiny-space.yaml --data data --cpus-per-trial 9999 --storage TARGET",
    "resume": "run --resume TARGET",
    "confirm": "run TARGET --confirm 1 --cpus-per-trial 9999",
    "evaluate": "evaluate TARGET --test --device cpu",
    "report": "report run-001 --quiet --out TARGET",
    "compare": "report run-001 other-001 --quiet --out TARGET",
    "simulate": "simulate curves.csv --scheduler none --repeats 2 --figure TARGET",
    "space": "space --write TARGET",
    "sessions": "sessions inspect data/s0.hdf5 --plot TARGET",
    "synthetic": "synthetic TARGET --sessions 1 --minutes 0.25",
    "train": "train tiny.yaml --data data --device cpu --out TARGET",
    "train-resume": "train tiny.yaml --data data --device cpu --resume weights.pt --out TARGET",
    "language": "language build text.txt --order 2 --out TARGET",
    "export": "export weights.pt --to torch --out TARGET",
    "export-onnx": "export weights.pt --to onnx --out TARGET",
    "export-emg2qwerty": "export weights.pt --to emg2qwerty --out TARGET",
}
"""What writes, with the place that it is told to write to."""
READERS = {
    "stream": "stream weights.pt TARGET --fast --seconds 1",
    "stream-model": "stream TARGET data/s0.hdf5 --fast --seconds 1",
    "inspect": "sessions inspect TARGET",
    "prepare": "windows prepare TARGET",
    "clear": "windows clear",
    "list": "windows list",
    "runs": "runs TARGET",
    "factory": "factory TARGET",
    "simulate": "simulate TARGET",
    "train": "train TARGET --data data --out new.pt",
    "train-data": "train tiny.yaml --data TARGET --out new.pt",
    "dry": "run TARGET --data data --cpus-per-trial 9999",
    "split": "run tiny-space.yaml --data data --split TARGET --cpus-per-trial 9999",
}
"""What reads, with what it is told to read; some write a cache, or a file of their own."""
VARIABLES = ("EMGSEARCH_CACHE", "TMPDIR", "MPLCONFIGDIR")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("made")
    make_place(made)
    shutil.copytree(made / "run-001", made / "other-001")
    (made / "tiny-space.yaml").write_text(
        "name: tiny\nmodel: {mlp_features: 32, encoder: {order: [conv], conv: {layers: 1}}}\n"
        "training: {epochs: 1}\nsearch: {trials: 1, sampler: random, scheduler: none}\n"
    )
    return made


@pytest.fixture
def place(made, tmp_path, monkeypatch) -> Path:
    """A copy of it with links into it, as the working directory."""
    place = tmp_path / "place"
    shutil.copytree(made, place)
    for name in ("data", "run-001", "text.txt", "weights.pt", "data/s0.hdf5", "run-001/best.yaml"):
        (place / f"link-{Path(name).name}").symlink_to(place / name)
    (place / "link-here").symlink_to(place)
    (place / "link-nowhere").symlink_to(place / "nowhere")
    os.link(place / "text.txt", place / "hard-text.txt")
    (place / "mine").mkdir()
    for name in ("mine/space.yaml", "mine/.hidden", "mine/trials.csv", ".dotted", "mine/report"):
        (place / name).write_text(f"years of work on {name}")
    (place / "recordings" / ("0" * 32)).mkdir(parents=True)
    (place / "recordings" / ("0" * 32) / "emg.npy").write_bytes(b"mine")
    monkeypatch.chdir(place)
    monkeypatch.setattr(figures, "FIGURES", dict(list(figures.FIGURES.items())[:1]))
    return place


def targets(place: Path) -> list[str]:
    """Return every path of the place, absolute ones and roundabout ones among them."""
    found = [str(path.relative_to(place)) for path in sorted(place.rglob("*"))]
    ways = [
        ".",
        "..",
        "link-here/data",
        "data/..",
        "data/../text.txt",
        "text.txt/below",
        "/dev/null",
    ]
    return [*found, *ways, str(place / "text.txt"), "run-001/confirm", "data/new", "-", "new/deep"]


def assert_unharmed(place: Path, words: str, environment: dict[str, str]) -> None:
    before = hashes(place)
    done = CliRunner().invoke(app, words.split(" "), env=environment)
    assert done.exit_code in (0, 2), (words, environment, done.output)
    assert "Traceback" not in done.output
    after = hashes(place)
    harmed = {name for name, content in before.items() if after.get(name) != content}
    if done.exit_code == 0:  # it may replace what it wrote for an earlier target
        harmed -= {name for name in harmed if "/evaluation" in name or "/report" in name}
    assert not harmed, (words, environment, done.output)


@pytest.mark.parametrize("name", WRITERS)
def test_nothing_is_harmed_whatever_is_named_as_output(place, name, monkeypatch, tmp_path):
    """A draw of targets, another for each command, and each one that is special."""
    own = {"EMGSEARCH_CACHE": str(tmp_path / "cache")}
    special = ("text.txt", "data", "run-001", "link-text.txt", "link-nowhere")
    drawn = random.Random(name).sample(targets(place), 2)
    for target in dict.fromkeys([*special, *drawn]):
        assert_unharmed(place, WRITERS[name].replace("TARGET", target), own)


@pytest.mark.parametrize("name", READERS)
def test_nothing_is_harmed_by_reading_or_by_the_environment(place, name, monkeypatch):
    """Caches and scratch folders are named where people have their own files."""
    draw = random.Random(name)
    monkeypatch.setattr(tempfile, "tempdir", None)
    for target in draw.sample(targets(place), 3):
        variables = {each: draw.choice(targets(place)) for each in VARIABLES}
        variables["EMGSEARCH_CACHE_GB"] = draw.choice(["0", "1"])
        assert_unharmed(place, READERS[name].replace("TARGET", target), variables)


def links_and_strangers(run: Path) -> list[tuple[str, str]]:
    """Return ways in which something of others lies in a run folder where a search writes."""
    files = sorted(path.name for path in run.iterdir() if path.is_file())
    own = [*files, "study.journal", "confirm.csv", "evaluation.json", ".running", ".trials.rows"]
    folders = ("checkpoints", "tensorboard", "confirm", ".ray", "evaluation", "failures")
    kinds = ("link", "dangling", "folder")
    return [
        *((name, kind) for name in dict.fromkeys(own) for kind in kinds if name != "space.yaml"),
        *((name, "stranger") for name in ("best.yaml", "trials.csv", "evaluation.json")),
        *((name, kind) for name in folders for kind in ("link", "dangling", "file")),
    ]


def spoil(path: Path, kind: str, elsewhere: Path) -> None:
    """Put something of others in a file's or a folder's place; what was there lies elsewhere."""
    there = elsewhere / path.name
    if path.exists():
        path.rename(there)
    elif kind == "link":
        there.write_text("mine")
    if kind in ("link", "dangling"):
        path.symlink_to(there if kind == "link" else elsewhere / "nowhere")
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_text("[]")


def test_a_run_folder_in_which_others_have_something_is_refused(place, tmp_path):
    """Links, also to what would do, folders in the place of files, files that no search wrote."""
    whole = place / "run-001"
    check_own(whole)
    for number, (name, kind) in enumerate(links_and_strangers(whole)):
        run = tmp_path / "spoilt" / str(number) / "run"
        elsewhere = run.with_name("elsewhere")
        elsewhere.mkdir(parents=True)
        shutil.copytree(whole, run)
        spoil(run / name, kind, elsewhere)
        with pytest.raises(ValueError, match=f"{run / name}: "):
            check_own(run)


SPOILT = [
    ("environment.json", "link"),
    ("study.journal", "dangling"),
    ("checkpoints", "link"),
    ("evaluation.json", "stranger"),
]


@pytest.mark.parametrize("command", ["run --resume", "evaluate --test", "run --confirm 1"])
def test_a_run_folder_is_not_written_where_others_have_something(place, tmp_path, command):
    for number, (name, kind) in enumerate(SPOILT):
        run = tmp_path / str(number) / "run"
        elsewhere = run.with_name("elsewhere")
        elsewhere.mkdir(parents=True)
        shutil.copytree(place / "run-001", run)
        spoil(run / name, kind, elsewhere)
        before = hashes(run.parent)
        done = CliRunner().invoke(app, [*command.split(), str(run)])
        assert done.exit_code == 2, (name, kind, done.output)
        assert str(run / name) in done.stderr, (name, kind, done.stderr)
        assert hashes(run.parent) == before, (name, kind)


@pytest.mark.parametrize("target", ["text.txt", "link-nowhere", "text.txt/below", "/dev/null"])
def test_run_folders_are_not_made_in_what_is_no_folder(place, target):
    before = hashes(place)
    with pytest.raises(ValueError, match="is not a folder"):
        check_parent(Path(target))
    assert hashes(place) == before


def test_a_new_run_folder_leaves_every_name_that_is_taken_alone(place):
    (place / "new-001").write_text("mine")
    (place / "new-002").symlink_to(place / "nowhere")
    (place / "new-003").symlink_to(place / "data")
    (place / "new-004").mkdir()
    before = hashes(place)
    assert RunFolder.create(place, "new").path == place / "new-005"
    assert before.items() <= hashes(place).items()


class Store:
    """An object store that is a folder of this machine."""

    uri = "s3://bucket/runs/run-001"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self):
        """Return the file system and the folder in it."""
        return pyarrow.fs.LocalFileSystem(), str(self._folder)

    def files(self):
        """Return the files in it."""
        fs, root = self.open()
        found = fs.get_file_info(pyarrow.fs.FileSelector(root, recursive=True))
        return {info.path[len(root) + 1 :]: info for info in found if info.is_file}


@pytest.mark.slow
def test_a_run_is_fetched_to_no_place_where_others_have_something(place, made):
    store = Store(made / "run-001")
    special = ("text.txt", "data", "run-001", "link-run-001", "link-nowhere", "/dev/null", "new")
    for target in (*special, *random.Random("fetch").sample(targets(place), 20)):
        before = hashes(place)
        with contextlib.suppress(ValueError, OSError):
            fetch(store, Path(target))
        assert before.items() <= hashes(place).items(), target
