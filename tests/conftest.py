"""Fixtures that several modules share: a private cache, small real session files, one Ray."""

from __future__ import annotations

import os
import shutil

# Each worker of pytest-xdist, and each process that a test starts, would else take all cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from emgmodels.sessions import Keystroke, Prompt, Session, write_session

START = 1_600_000_000.0
TINY = """
name: tiny
model:
  features: {hop: 64, bins: 6}
  norm: bin
  electrodes: 4
  mlp_features: {choice: [8, 10, 12]}
  encoder:
    order: {permutation: [recurrent, conv]}
    recurrent: {layers: 1, hidden: {choice: [8, 10, 12]}}
    conv: {layers: {choice: [0, 1]}, channels: 4, kernel: 4}
training: {epochs: 5, batch_size: 4, learning_rate: 0.01, warmup_steps: 3}
search: {trials: 5, sampler: random, seed: 3, scheduler: none}
"""
WITHOUT_KENLM = (
    "KenLM is not installed: it is built from source, which takes a C++ compiler and cmake"
)


ROOT = Path(__file__).resolve().parent.parent
NOBODY = 65534
"""A user of every machine, whose files are others'."""


def bound_by_permissions() -> list[str]:
    """Return what to write before a command so that permissions hold for it, as for any user.

    Root's privileges, to read and write everything, are given up; whoever is not root has none.
    """
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root may read and write everything, and setpriv is not installed")
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


def give_away(folder: Path) -> None:
    """Let a folder and all in it be another user's, where root runs the tests, and read-only."""
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with modules that search or are slow, so that all processes end at about one time."""
    long = {
        item.path
        for item in items
        if "engine" in getattr(item, "fixturenames", ()) or item.get_closest_marker("slow")
    }
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(autouse=True, scope="session")
def _private_cache(tmp_path_factory):
    """Keep the tests' recordings out of the user's cache, and each test session to itself."""
    patch = pytest.MonkeyPatch()
    patch.setenv("EMGSEARCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


def make_session(
    seconds: float = 24.0,
    seed: int = 0,
    name: str = "s0",
    user: str = "12345678",
    keys: str = "abcd",
    on_keyboard: bool = True,
) -> Session:
    """Return a session in which each key has a burst of its own: four keys a second."""
    rng = np.random.default_rng(seed)
    samples = int(seconds * 2000)
    time = START + np.arange(samples) / 2000
    emg = rng.normal(size=(samples, 2, 16)).astype(np.float32) * 5
    keystrokes = []
    for i in range(int(4 * seconds) - 1):
        which = int(rng.integers(len(keys))) if keys else 0
        at = 0.25 * i + 0.1
        if keys:
            low = int(at * 2000)
            band, electrode = which % 2, 3 * (which // 2)
            emg[low - 150 : low + 100, band, electrode : electrode + 3] *= 8
            keystrokes.append(Keystroke(keys[which], START + at, START + at + 0.08))
    prompts = [
        Prompt("text", START + 1 + 5 * i, START + 5 + 5 * i, f"line {i}")
        for i in range(int(seconds // 6))
    ]
    return Session(
        name=name,
        user=user,
        condition="on_keyboard" if on_keyboard else "on_lap",
        duration_mins=seconds / 60,
        time=time,
        emg=emg,
        keystrokes=tuple(keystrokes) if on_keyboard else (),
        prompts=tuple(prompts),
    )


@pytest.fixture(scope="session")
def session_paths(tmp_path_factory) -> list[Path]:
    """Three sessions of one typist, the first two for training."""
    folder = tmp_path_factory.mktemp("sessions")
    paths = []
    for i in range(3):
        path = folder / f"s{i}.hdf5"
        write_session(path, make_session(seed=i, name=f"s{i}"))
        paths.append(path)
    return paths


class Cores:
    """Keeps the cores of a Ray but one, so that a search trains one trial at a time."""

    def __init__(self) -> None:
        from ray.util.placement_group import PlacementGroup

        self.kept: PlacementGroup | None = None
        self.keep()

    def keep(self) -> None:
        from ray.util.placement_group import placement_group

        if (cores := (os.cpu_count() or 1) - 1) > 0:
            self.kept = placement_group([{"CPU": cores}])
            assert self.kept.wait(120), "a search of an earlier test still has its cores"

    def give_back(self) -> None:
        from ray.util.placement_group import remove_placement_group

        if self.kept is not None:
            remove_placement_group(self.kept)


@pytest.fixture(scope="session")
def engine(_private_cache) -> Iterator[Cores]:
    """Ray, started once for all searches that run in this process.

    A start takes five processor seconds, and so does each further trial at once. What must start
    its own Ray runs in a process of its own.
    """
    from search.engine.ray_session import engine

    with engine(None, None):
        yield Cores()


@pytest.fixture
def all_cores(engine) -> Iterator[None]:
    """That Ray with all cores of the machine, for a test that trains several trials at once."""
    engine.give_back()
    yield
    engine.keep()


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """What a user may have: sessions, a text, curves, a configuration, a checkpoint, a run."""
    from bystanders import make_place

    made = tmp_path_factory.mktemp("made")
    make_place(made)
    return made


@pytest.fixture
def place(made, tmp_path, monkeypatch) -> Path:
    """A copy of it to spoil, as the working directory."""
    shutil.copytree(made, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


@pytest.fixture
def two_sessions(tmp_path) -> Path:
    """A folder of two short sessions, to spoil."""
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(2):
        write_session(folder / f"s{i}.hdf5", make_session(seconds=6, seed=i, name=f"s{i}"))
    return folder


@pytest.fixture(scope="session")
def data(session_paths) -> Path:
    """The folder of these sessions."""
    return session_paths[0].parent


@pytest.fixture(scope="session")
def tiny_space(tmp_path_factory) -> Path:
    """A space file, called tiny: five trials of five epochs, always the same ones."""
    path = tmp_path_factory.mktemp("space") / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def whole_folder(engine, tiny_space, data, tmp_path_factory) -> Path:
    """An uninterrupted search of that space: each trial is trained to the end. Copy it to go on."""
    from search import run

    out = tmp_path_factory.mktemp("whole")
    run.search(tiny_space, data=data, out=out, quiet=True)
    return out / "tiny-001"


@pytest.fixture(scope="session")
def whole(whole_folder) -> dict[int, tuple]:
    """What that search came to."""
    from helpers.searches import results

    found = results(whole_folder)
    assert {state for _, state, _ in found.values()} == {"complete"}
    return found


@pytest.fixture
def space_of(tmp_path):
    """Load a space from its text or its keys; a small one if none is given."""
    from helpers.samplers import SPACE

    from search.space import load_space

    def load(text=SPACE, *more, demo=False, overrides=(), name="space.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if isinstance(text, str) else yaml.safe_dump(text))
        return load_space(path, demo=demo, overrides=[*overrides, *more])

    return load


@pytest.fixture
def journal(tmp_path) -> Path:
    """Where a study's journal may be written."""
    return tmp_path / "study.journal"


@pytest.fixture
def spent(monkeypatch) -> Callable[[int], None]:
    """Let the time budget be spent after that many epochs of all trials together."""
    from search.engine.recorder import Recorder
    from search.halving.ending import Ending, Why

    def after(epochs: int) -> None:
        def why(recorder: Recorder) -> Ending | None:
            trained = sum(trial.epoch for trial in recorder.folder.trials.values())
            return Ending(Why.TIME_BUDGET) if trained >= epochs else None

        monkeypatch.setattr(Recorder, "_reason_to_end", why)
        # All that is left may be trained between two looks.
        monkeypatch.setattr("search.engine.recorder._LOOK", 0.0)

    return after


@pytest.fixture(scope="session")
def kenlm():
    """The module KenLM; without it tests skip, since it cannot be built on every machine."""
    return pytest.importorskip("kenlm", reason=WITHOUT_KENLM, exc_type=ImportError)


@pytest.fixture(scope="session")
def language_models(tmp_path_factory) -> dict[str, Path]:
    """Folders of a tiny GPT-2 and a tiny BERT of three layers, as save_pretrained writes them."""
    import torch
    from transformers import AutoModel, BertConfig, GPT2Config

    shapes = {
        "GPT2": GPT2Config(n_embd=16, n_layer=3, n_head=2, n_positions=1024, vocab_size=40),
        "BERT": BertConfig(
            hidden_size=16,
            num_hidden_layers=3,
            num_attention_heads=2,
            intermediate_size=24,
            max_position_embeddings=1024,
            vocab_size=40,
        ),
    }
    folders = {}
    for kind, shape in shapes.items():
        folders[kind] = tmp_path_factory.mktemp(kind)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            AutoModel.from_config(shape).save_pretrained(folders[kind])
    return folders
