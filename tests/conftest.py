"""Fixtures that several modules' tests share: a private cache, and small real session files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from emgmodels.sessions import Keystroke, Prompt, Session, write_session

START = 1_600_000_000.0
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
