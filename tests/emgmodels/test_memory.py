"""The estimate of what a training needs, against what it does need."""

import subprocess
import sys

import pytest

from emgmodels.config import Config
from emgmodels.network.memory_estimate import training_bytes
from emgmodels.notation import parse_notation

FACTOR = 1.6
"""The estimate and the peak of a CPU differ by less than this."""
MEASURE = """
import re, sys, torch
from pathlib import Path
from emgmodels.config import Config
from emgmodels.training.state import Training
from emgmodels.windows.cut import Batch

def train(config):
    run = Training(config, torch.device("cpu"))
    count, model = config.training.batch_size, config.model
    emg = torch.randn(count, model.bands, model.electrodes, run.feed.train_framing.samples)
    labels, times = torch.randint(1, 90, (count, 10)), torch.arange(10).repeat(count, 1) * 100
    batch = Batch(emg, labels, torch.full((count,), 10), times)
    for _ in range(2):
        run._loss(batch, 1, torch.Generator()).backward()
        run.optimizer.step()
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

torch.set_num_threads(1)
small, config = map(Config.model_validate_json, sys.argv[1:])
before = train(small)
print(train(config) - before)
"""


def config(architecture: str, **training) -> Config:
    model = parse_notation(architecture).model_dump()
    return Config.model_validate({"model": model, "training": training})


@pytest.mark.parametrize(
    "architecture",
    [
        "lstm:1 conv:1 @4ch",
        pytest.param("gru:1 transformer:1 conv:1 @8ch", marks=pytest.mark.slow),
    ],
)
def test_the_estimate_is_near_the_peak_of_a_training_step(architecture):
    small = config("gru:1(hidden=8) mlp:8 @1ch", batch_size=1, window_seconds=1)
    large = config(architecture, batch_size=3)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, small.model_dump_json(), large.model_dump_json()],
        capture_output=True,
        text=True,
        check=True,
    )
    measured = int(done.stdout)
    assert measured / FACTOR < training_bytes(large) < measured * FACTOR


def test_memory_grows_with_batch_window_and_model():
    base = training_bytes(config("gru:1(hidden=64) conv:1 @4ch", batch_size=2))
    assert training_bytes(config("gru:1(hidden=64) conv:1 @4ch", batch_size=4)) > 1.7 * base
    assert (
        training_bytes(config("gru:1(hidden=64) conv:1 @4ch", batch_size=2, window_seconds=8))
        > base
    )
    assert training_bytes(config("gru:2(hidden=64) conv:1 @4ch", batch_size=2)) > base


def test_an_estimate_is_had_without_allocating_anything():
    huge = config("gru:1(hidden=1000000) @16ch", batch_size=4096)
    assert training_bytes(huge) > 10**13
