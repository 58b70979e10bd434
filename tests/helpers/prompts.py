"""Sessions of which only the prompts are known, and who reads them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import START, make_session

from emgmodels.charset import BLANK, encode
from emgmodels.config import Config
from emgmodels.network.network import Network
from emgmodels.notation import parse_notation
from emgmodels.sessions import Prompt, write_session
from emgmodels.windows.cache import prepare

SPANS = [(1.0, 7.5), (8.0, 13.0), (13.2, 16.0), (17.0, 23.5)]
MODEL = "gru:1(hidden=24) hop:64 mlp:16"


def prompted(spans, seconds=24.0, name="p", seed=0):
    """Return a session of which only the prompts are known: what was typed while each was shown."""
    session = make_session(seconds=seconds, seed=seed, name=name)
    prompts = []
    for start, end in spans:
        inside = [k.key for k in session.keystrokes if start <= k.start - START < end - 0.1]
        prompts.append(Prompt("text", START + start, START + end, "".join(inside)))
    return replace(session, condition="on_table", keystrokes=(), prompts=tuple(prompts))


def small(model=MODEL, **training):
    values = {"epochs": 2, "batch_size": 4, "warmup_steps": 2, **training}
    return Config.model_validate({"model": parse_notation(model).model_dump(), "training": values})


KEYS = "abcd\u23ce"
"""Each typed on an electrode of its own, three apart."""


def marked(spans, seconds=24.0):
    """Return a session of prompts whose EMG tells each key: a burst on the key's electrode."""
    rng = np.random.default_rng(0)
    session = make_session(seconds=seconds, name="marked", on_keyboard=False)
    emg = rng.normal(size=session.emg.shape).astype(np.float32) * 5
    prompts = []
    for start, end in spans:
        times = np.arange(start + 0.05, end - 0.3, 0.25)
        keys = rng.integers(len(KEYS) - 1, size=len(times))
        for at, key in zip([*times, end - 0.15], [*keys, len(KEYS) - 1], strict=True):
            low = round(at * 2000)
            emg[low : low + 128, 0, 3 * key] *= 60
        text = "".join(KEYS[key] for key in keys)
        prompts.append(Prompt("text", START + start, START + end, text))
    return replace(session, emg=emg, prompts=tuple(prompts))


class PerfectReader(Network):
    """Names the electrode that is loudest in a frame, if one is."""

    def forward(self, features):
        loudness = features[:, 0].mean(-1).transpose(1, 2)  # (N, T, E)
        over, electrode = (loudness - loudness.median(-1, keepdim=True).values).max(-1)
        labels = torch.tensor([encode(key)[0] for key in KEYS])
        read = torch.where(over > 1, labels[(electrode // 3).clamp(max=len(KEYS) - 1)], BLANK)
        return torch.log_softmax(50.0 * torch.nn.functional.one_hot(read, BLANK + 1), -1)


@pytest.fixture
def opened(tmp_path, monkeypatch):
    monkeypatch.setenv("EMGSEARCH_CACHE", str(tmp_path / "cache"))

    def open_sessions(*sessions):
        paths = [tmp_path / f"{n}-{session.name}.hdf5" for n, session in enumerate(sessions)]
        for path, session in zip(paths, sessions, strict=True):
            write_session(path, session)
        return prepare(paths)

    return open_sessions
