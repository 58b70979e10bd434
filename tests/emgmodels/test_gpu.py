"""What a GPU would run, on a fake one: it refuses what CUDA refuses, and counts what waits."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import make_session
from helpers.prompts import prompted
from test_factory import MIXED, STAGE_NOTATIONS

import emgmodels
from emgmodels.checkpoints.exported import write_torch
from emgmodels.compute.devices import best_device, find_device
from emgmodels.config import Config, FeaturesConfig
from emgmodels.ctc import BeamSearch
from emgmodels.factory import build
from emgmodels.network.features import LogSpectrogram
from emgmodels.notation import parse_notation
from emgmodels.reading.reader import Origin, Reader
from emgmodels.reading.sessions import ONE_PASS, STITCHED, WINDOWS, emit
from emgmodels.sessions import write_session
from emgmodels.training.fit import fit
from emgmodels.training.state import Training
from emgmodels.windows import device as windows_device
from emgmodels.windows.batches import batches
from emgmodels.windows.cache import prepare
from emgmodels.windows.cut import Cut
from emgmodels.windows.device import recordings_on
from tests.fake_gpu import GPU, FakeGpu, on_gpu

SMALL = "transformer:1(heads=2,feedforward=8) conv:1(channels=2,kernel=3) hop:64 mlp:8 @2ch"
TRAINED = [
    *((texts[0], "bfloat16") for texts in STAGE_NOTATIONS.values()),
    *((texts[-1], "float32") for texts in STAGE_NOTATIONS.values()),
    *(
        (text, "float32")
        for text in MIXED
        if "norm:" in text or "filters:" in text or ":right" in text
    ),
]
CTC_WAITS = {"ctc_loss in emgmodels.ctc.loss": 3, "ctc_loss in emgmodels.training.state": 3}
"""Of a step: CUDA's CTC copies lengths and offsets itself, forward and again backward."""


@pytest.fixture
def gpu():
    windows_device._loaded.cache_clear()
    with FakeGpu() as plugged:
        yield plugged
    windows_device._loaded.cache_clear()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Two short sessions with keys and one with prompts alone."""
    folder = tmp_path_factory.mktemp("short")
    spans = [(0.5, 2.0), (2.5, 4.5)]
    sessions = [make_session(6.0, 0, "s0"), make_session(6.0, 1, "s1"), prompted(spans, 6.0)]
    paths = [folder / f"{n}.hdf5" for n in range(len(sessions))]
    for path, session in zip(paths, sessions, strict=True):
        write_session(path, session)
    return prepare(paths)


def config(text=SMALL, **training):
    values = {
        "epochs": 2,
        "batch_size": 6,
        "window_seconds": 1.0,
        "past_seconds": 0.2,
        "warmup_steps": 1,
        "precision": "float32",
        "augmentation": {"random_crop": 0.8},
        "aligned_start": {"epochs": 1},
        **training,
    }
    return Config.model_validate({"model": parse_notation(text), "training": values})


def waits_by_line(waits):
    return dict(Counter(wait.rsplit(":", 1)[0] for wait in waits))


def waits_by_step(run, gpu, recordings):
    """Return the waits of each step of an epoch but the first, and of its end."""
    marks = []
    run.optimizer.register_step_post_hook(lambda *_: marks.append(len(gpu.waits)))
    run.train_epoch(1, recordings)
    assert len(marks) > 1
    edges = [*marks, len(gpu.waits)]
    return [gpu.waits[low:high] for low, high in pairwise(edges)]


def test_a_device_has_its_number(gpu):
    assert best_device() == find_device("cuda") == find_device(None) == GPU
    with pytest.raises(ValueError, match="is not there: use cpu or cuda or cuda:0"):
        find_device("cuda:1")


@pytest.mark.parametrize(("text", "precision"), TRAINED)
def test_every_architecture_trains_as_on_the_cpu(recordings, language_models, text, precision):
    for kind, folder in language_models.items():
        text = text.replace(f"name={kind}", f"name={folder}")
    text += "" if "mlp:" in text else " mlp:10 @2ch"
    text += "" if "hop:" in text else " hop:50"
    settings = config(text, precision=precision)
    loss = Training(settings, torch.device("cpu")).train_epoch(1, recordings[:1])
    with FakeGpu() as gpu:
        run = Training(settings, GPU)
        recordings_on(GPU, tuple(recordings[:1]))
        gpu.waits.clear()
        assert run.train_epoch(1, recordings[:1]) == pytest.approx(loss, rel=0.02)
        state = [*run.model.state_dict().values(), *(p.grad for p in run.trained)]
        assert all(map(on_gpu, state))
        waits = waits_by_line(gpu.waits)
    # transformers looks for packed sequences in the positions of a causal model
    waits.pop("item in emgmodels.stages.pretrained", None)
    assert waits == {**CTC_WAITS, "item in emgmodels.training.state": 1}


@pytest.mark.parametrize("is_resident", [True, False])
@pytest.mark.parametrize("kind", ["windows", "prompts"])
def test_a_step_waits_for_ctc_alone(gpu, recordings, monkeypatch, is_resident, kind):
    if not is_resident:
        monkeypatch.setattr(windows_device, "LARGEST_SHARE", 0.0)
    chosen = recordings[:2] if kind == "windows" else recordings[2:] * 2
    run = Training(config(batch_size=2), GPU)
    *steps, end = waits_by_step(run, gpu, chosen)
    assert [waits_by_line(step) for step in steps] == [CTC_WAITS] * len(steps)
    assert waits_by_line(end) == {"item in emgmodels.training.state": 1}
    assert (recordings_on(GPU, tuple(chosen)) is not None) == is_resident


@pytest.mark.parametrize("kind", ["windows", "prompts"])
@pytest.mark.parametrize("average", [{"ema": 0.9}, {"last_epochs": 2}])
def test_averages_masks_and_heads_are_there_as_here(recordings, kind, average):
    chosen = recordings[:2] if kind == "windows" else recordings[2:] * 2
    settings = config(
        batch_size=2,
        average=average,
        intermediate_ctc={"after": ["transformer"]},
        augmentation={"mask_scope": "electrode", "mask_fill": "zero"},
        schedule_by="epoch",
    )
    here = Training(settings, torch.device("cpu"))
    loss = here.train_epoch(1, chosen)
    with FakeGpu() as gpu:
        run = Training(settings, GPU)
        waits = waits_by_step(run, gpu, chosen)
        for step in waits[:-1]:
            where = {wait.partition(" in ")[0] for wait in step}
            assert where == {"ctc_loss"}
        again = Training(settings, GPU)
        assert again.train_epoch(1, chosen) == pytest.approx(loss, rel=0.02)
        with here.average.in_place(), again.average.in_place():
            for name, value in here.model.state_dict().items():
                there = again.model.state_dict()[name].cpu()
                torch.testing.assert_close(there, value, rtol=0.05, atol=0.01)


def test_a_share_of_a_gpu_bounds_what_is_resident(gpu, recordings):
    assert recordings_on(GPU, tuple(recordings)).emg.is_cuda
    windows_device._loaded.cache_clear()
    torch.cuda.set_per_process_memory_fraction(1e-4)
    assert recordings_on(GPU, tuple(recordings)) is None


@pytest.mark.parametrize(
    "cut",
    [
        Cut(4000, 1800, 6000, tuple(range(16)), rotation=1, band_jitter=120),
        Cut(777, 5, 801, (0, 4, 8, 12), rotation=2, band_jitter=3),
        Cut(2000, 100, 2200, (0, 8), bands=(1,), crops=4, step=400),
    ],
)
def test_windows_are_cut_there_as_here(gpu, recordings, cut):
    windows = np.array([[0, 0], [1, 12_000 - cut.window], [1, 3000], [0, 777]])
    copied = next(batches(recordings, windows, 4, cut, np.random.default_rng(1)))
    loaded = recordings_on(GPU, tuple(recordings))
    gpu.waits.clear()
    gathered = next(batches(recordings, windows, 4, cut, np.random.default_rng(1), loaded))
    assert gpu.waits == []
    assert on_gpu(gathered.emg)
    scale = copied.emg.abs().max()
    torch.testing.assert_close(gathered.emg.cpu(), copied.emg, rtol=1e-3, atol=1e-4 * scale)
    features = LogSpectrogram(FeaturesConfig())
    found = features.to(GPU)(gathered.emg).cpu()
    assert (found - features.cpu()(copied.emg)).abs().mean() < 1e-3


def test_a_training_and_its_checkpoints_move_between_gpu_and_cpu(recordings, tmp_path):
    settings = config()
    train, val = [*recordings[:1], recordings[2]], recordings[1:]
    windows_device._loaded.cache_clear()
    with FakeGpu():
        whole = []
        for result in fit(settings, train, val, device="cuda"):
            result.save(tmp_path / f"gpu-{result.epoch}.pt")
            whole.append(result)
        rest = list(fit(settings, train, val, tmp_path / "gpu-1.pt", device="cuda"))
        assert [r.train_loss for r in rest] == [r.train_loss for r in whole[1:]]
        assert [r.val_loss for r in rest] == [r.val_loss for r in whole[1:]]
        assert rest[0].best_weights == whole[1].best_weights
    moved = list(fit(settings, train, val, tmp_path / "gpu-1.pt", device="cpu"))
    assert moved[0].train_loss == pytest.approx(whole[1].train_loss, rel=0.02)
    here = next(fit(settings, train, val))
    here.save(tmp_path / "cpu-1.pt")
    with FakeGpu():
        moved = list(fit(settings, train, val, tmp_path / "cpu-1.pt", device="cuda"))
    assert moved[0].train_loss == pytest.approx(whole[1].train_loss, rel=0.02)
    assert here.val_loss == pytest.approx(whole[0].val_loss, rel=0.02)
    state = torch.load(tmp_path / "gpu-2.pt", weights_only=True, map_location="cpu")
    model = emgmodels.load(tmp_path / "gpu-2.pt").model
    for name, value in state["best"].items():
        assert torch.equal(model.state_dict()[name], value)


def test_validation_waits_for_what_it_reads_and_no_more(gpu, recordings):
    run = Training(config(), GPU)
    run.validate(recordings[:2])  # which loads them
    gpu.waits.clear()
    _, readings = run.validate(recordings[:2])
    assert len(readings) == 2
    assert waits_by_line(gpu.waits) == {
        "ctc_loss in emgmodels.ctc.loss": 3,
        "item in emgmodels.training.state": 1,
        "copy to the CPU in emgmodels.ctc.greedy": 2,
    }


def test_a_prompt_that_is_stitched_is_validated(gpu, recordings, language_models):
    text = f"pretrained:2(name={language_models['GPT2']}) hop:20 mlp:8 @2ch"
    settings = config(text, past_seconds=1.0)
    run = Training(settings, GPU)
    run.model.longest = 520  # frames, of 10 ms
    long = replace(recordings[2], prompts=np.array([[0, 11_000, 0, 5]]))
    assert not run.model.takes(11_000, settings.training)
    loss, readings = run.validate([long])
    assert np.isfinite(loss)
    assert len(readings) == 1


@pytest.mark.parametrize(
    "text", [SMALL, "conv1d:1(channels=6,kernel=3) norm:rolling hop:64 mlp:8 @2ch"]
)
def test_a_session_is_read_there_as_here(gpu, recordings, tmp_path, text):
    settings = config(text)
    next(fit(settings, recordings[:1], recordings[1:2])).save(tmp_path / "c.pt")
    reader, other = emgmodels.load(tmp_path / "c.pt"), emgmodels.load(tmp_path / "c.pt", "cuda")
    assert on_gpu(next(other.model.parameters()))
    emg = recordings[1].emg.transpose(2, 0, 1)
    expected = reader.emissions(emg)
    np.testing.assert_allclose(other.emissions(emg), expected, rtol=1e-3, atol=1e-3)
    there = torch.from_numpy(emg.copy()).pin_memory().to("cuda")
    np.testing.assert_allclose(other.emissions(there), expected, rtol=1e-3, atol=1e-3)
    assert other(there, beam=BeamSearch(width=3)) == reader(emg, beam=BeamSearch(width=3))
    for way in (STITCHED, ONE_PASS, WINDOWS):
        found, known = (
            emit(r.model, recordings[1], settings.training, way) for r in (other, reader)
        )
        assert found.read().predicted == known.read().predicted
    write_torch(other, tmp_path / "exported.pt")
    assert emgmodels.load(tmp_path / "exported.pt")(emg) == reader(emg)


STREAMING = [
    "conv:1(channels=2,kernel=5) gru:1(hidden=6,bidirectional=false)",
    "transformer:1(heads=2,left_context=9,right_context=1) "
    "s4:1(width=8,states=4,bidirectional=false)",
    "conformer:1(heads=2,width=8,feedforward=8,kernel=3,right_context=1,left_context=9)",
    "conv1d:1(channels=6,kernel=3,stride=2) norm:rolling",
]


@pytest.mark.parametrize("text", STREAMING)
def test_a_stream_is_read_there_as_here(recordings, text):
    model = build(parse_notation(f"{text} hop:64 mlp:8 @2ch")).eval()
    emg = np.ascontiguousarray(recordings[0].emg.transpose(2, 0, 1))
    texts = []
    with FakeGpu(float64="norm:rolling" in text):  # whose sums run on for hours
        for device in ("cpu", "cuda"):
            reader = Reader(Config(), model.to(device), Origin())
            stream = reader.stream(scale=1.0)
            texts.append(
                "".join(stream.push(emg[low : low + 1500]) for low in range(0, 12_000, 1500))
            )
            texts[-1] += stream.finish()
    assert texts[0] == texts[1]
    assert texts[0]


def test_a_trial_trains_on_its_share_of_a_gpu(gpu, session_paths, tmp_path):
    from search.engine.trial import EmgTrial, TrialData

    paths = tuple(map(str, session_paths))
    first, second = EmgTrial.__new__(EmgTrial), EmgTrial.__new__(EmgTrial)
    settings = config(f"{SMALL} bins:6", window_seconds=4.0)
    for trial in (first, second):
        data = TrialData(paths[:1], paths[2:])
        trial.setup({"config": settings.model_dump_json()}, data=data, gpus=0.5)
        assert trial.device == GPU
    assert torch.cuda.get_per_process_memory_fraction() == 0.5
    assert np.isfinite(first.step()["val_loss"])
    first.save_checkpoint(str(tmp_path))
    second.load_checkpoint(str(tmp_path))
    assert second.step()["train_loss"] == first.step()["train_loss"]
    second.cleanup()
