"""How many trials share a GPU: the arithmetic, and what is said where there is none."""

import pytest
import torch

from emgmodels.config import SAMPLE_RATE
from emgmodels.windows.cache import prepare
from search.engine.gpu_share import MOST, gpu_share, gpus_of_trial, trial_bytes
from search.engine.resources import choose_resources
from search.space import load_space

GB = 2**30

SPACE = """
name: packed
model: {electrodes: 4, mlp_features: 16, encoder: {conv: {layers: 1, channels: 4, kernel: 5}}}
training: {epochs: 2, batch_size: {choice: [1, 64]}}
search: {sampler: random, scheduler: none}
"""


@pytest.mark.parametrize(
    ("needed", "gpu", "cores", "share"),
    [
        (5 * GB, 24 * GB, 16, 0.25),
        (8 * GB, 24 * GB, 16, 0.3333),
        (5 * GB, 24 * GB, 2, 0.5),
        (30 * GB, 24 * GB, 16, 1.0),
        (1 * GB, 80 * GB, 64, 1 / MOST),
        (5 * GB, 24 * GB, 0.5, 1.0),
    ],
)
def test_as_many_share_a_gpu_as_its_memory_and_the_cores_hold(needed, gpu, cores, share):
    assert gpu_share(needed, gpu, cores) == share


def test_a_trial_needs_room_for_the_largest_architecture_and_the_recordings(
    tmp_path, session_paths
):
    (tmp_path / "packed.yaml").write_text(SPACE)
    space = load_space(tmp_path / "packed.yaml")
    small = load_space(tmp_path / "packed.yaml", overrides=["training.batch_size=1"])
    recordings = prepare(session_paths[:2])
    needed = trial_bytes(space, recordings)
    assert needed > trial_bytes(small, recordings) + 10 * 2**20
    seconds = sum(recording.samples for recording in recordings) / SAMPLE_RATE
    assert needed - trial_bytes(space, []) == round(seconds * 2000 * 32 * 2)


def test_auto_is_refused_where_there_is_no_gpu_to_share(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="auto: this machine has no GPU for trials to share"):
        choose_resources(None, "auto", cluster=False)
    with pytest.raises(ValueError, match="auto: sizes the GPUs of this machine"):
        choose_resources(None, "auto", cluster=True)


def test_the_option_is_a_number_or_auto():
    assert gpus_of_trial("0.25") == 0.25
    assert gpus_of_trial("auto") == "auto"
    assert gpus_of_trial(None) is None
    with pytest.raises(ValueError, match="--gpus-per-trial half: must be a number"):
        gpus_of_trial("half")
