import contextlib
import json
import math
import re
import resource
import signal

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from emgmodels.checkpoints.loading import load
from emgmodels.config import Config, dump_config
from emgmodels.factory import build
from emgmodels.notation import parse_notation
from emgmodels.training.__main__ import app
from emgmodels.training.fit import fit
from emgmodels.training.result import UNLEARNT
from emgmodels.windows.cache import prepare

SMALL = {
    "model": {
        "features": {"hop": 64},
        "mlp_features": 16,
        "encoder": {"order": ["recurrent"], "recurrent": {"layers": 1, "hidden": 24}},
    },
    "training": {
        "epochs": 4,
        "batch_size": 4,
        "learning_rate": 5e-3,
        "warmup_steps": 4,
        "augmentation": {"time_masks": 1, "frequency_masks": 1},
        "aligned_start": {"epochs": 2},
    },
}


def small(**training):
    values = {**SMALL, "training": {**SMALL["training"], **training}}
    return Config.model_validate(values)


def numbers(results):
    return [{k: v for k, v in r.metrics().items() if k != "seconds"} for r in results]


@pytest.fixture(scope="module")
def data(session_paths):
    recordings = prepare(session_paths)
    return recordings[:2], recordings[2:]


def test_training_learns_what_can_be_learnt(data):
    results = list(fit(small(epochs=16, learning_rate=1e-2, aligned_start={"epochs": 16}), *data))
    assert [r.epoch for r in results] == list(range(1, 17))
    assert results[-1].val_cer < 20
    assert results[-1].best_val_cer == min(r.val_cer for r in results)
    assert results[-1].val_cer == pytest.approx(
        results[-1].val_ier + results[-1].val_der + results[-1].val_ser
    )
    assert results[-1].val_loss < results[0].val_loss


@pytest.mark.parametrize("stage", ["recurrent", "transformer", "conv"])
def test_a_resumed_training_has_the_numbers_of_an_uninterrupted_one(data, tmp_path, stage):
    values = {**SMALL, "model": {**SMALL["model"]}}
    if stage == "transformer":
        values["model"]["encoder"] = {
            "order": ["transformer"],
            "transformer": {"layers": 1, "heads": 2, "feedforward": 16, "dropout": 0.2},
        }
    if stage == "conv":
        values["model"]["share_bands"] = "encoder_but_last"
        values["model"]["encoder"] = {
            "order": ["conv", "recurrent", "conv_2"],
            "conv": {"layers": 1, "channels": 4, "kernel": "2+5"},
            "recurrent": {"layers": 1, "hidden": 8},
            "conv_2": {"layers": 1, "channels": 2, "kernel": 3},
        }
    config = Config.model_validate(values)
    whole = []
    for result in fit(config, *data):
        whole.append(result)
        if result.epoch == 2:
            result.save(tmp_path / "c.pt")
    rest = list(fit(config, *data, resume=tmp_path / "c.pt"))
    assert numbers(rest) == numbers(whole[2:])
    for before, after in zip(whole[2:], rest, strict=True):
        assert np.array_equal(before.best_windows, after.best_windows)


def test_strides_and_chosen_electrodes_learn(data):
    model = "conv1d:2(channels=24,kernel=5,stride=2) gru:1(hidden=24) hop:32 mlp:16 @8ch:contiguous"
    config = small(epochs=14, learning_rate=1e-2, aligned_start={"epochs": 14})
    config = config.model_copy(update={"model": parse_notation(model)})
    results = list(fit(config, *data))
    assert results[-1].val_cer < 45


def test_random_crops_change_the_training_and_nothing_else(data):
    whole = next(fit(small(), *data))
    cropped = next(fit(small(augmentation={"random_crop": 0.4}), *data))
    assert math.isfinite(cropped.train_loss)
    assert cropped.train_loss != whole.train_loss


def test_frozen_layers_stay_as_they_were_pretrained(data, tmp_path, language_models):
    text = f"pretrained:3(name={language_models['GPT2']},train_last=1) hop:100 mlp:16"
    config = small(epochs=2).model_copy(update={"model": parse_notation(text)})
    before = build(config.model, config.seed).state_dict()
    for result in fit(config, *data):
        result.save(tmp_path / "c.pt")
    state = torch.load(tmp_path / "c.pt", weights_only=True)
    moved = {name for name, value in state["model"].items() if not value.equal(before[name])}
    assert any(".h.2." in name for name in moved)
    assert not any(".h.0." in name or ".h.1." in name or ".wpe" in name for name in moved)
    learning = sum(p.requires_grad for p in build(config.model).parameters())
    assert len(state["optimizer"]["state"]) == learning


def test_the_seed_decides(data):
    first, again = numbers(fit(small(epochs=1), *data)), numbers(fit(small(epochs=1), *data))
    assert first == again
    other = small(epochs=1).model_copy(update={"seed": 1})
    assert numbers(fit(other, *data)) != first


def test_without_aligned_start_it_is_ctc_alone(data):
    with_start = next(fit(small(), *data))
    without = next(fit(small(aligned_start=None), *data))
    assert without.train_loss != with_start.train_loss


def test_the_windows_of_the_best_epoch_add_up_to_its_cer(data):
    for result in fit(small(), *data):
        edits, characters = result.best_windows.sum(axis=0)
        assert 100 * edits / characters == pytest.approx(result.best_val_cer)
    assert len(result.best_windows) == sum(recording.samples // 8000 for recording in data[1])


def test_the_best_epochs_weights_come_back(data, tmp_path):
    results = []
    for result in fit(small(), *data):
        results.append(result)
        result.save(tmp_path / "c.pt")
    model = load(tmp_path / "c.pt").model
    assert not model.training
    state = torch.load(tmp_path / "c.pt", weights_only=True)
    assert state["best_epoch"] == results[-1].best_epoch
    for name, value in model.state_dict().items():
        assert torch.equal(value, state["best"][name])


def test_learning_rate_warms_up_then_falls(data):
    config = small(epochs=6, warmup_steps=8)
    rates = [r.learning_rate for r in fit(config, *data)]
    assert max(rates) <= 5e-3
    assert rates.index(max(rates)) in (2, 3)
    assert rates[-1] < 0.05 * max(rates)


def test_a_loss_that_is_not_finite_ends_the_training(data):
    train, val = data
    broken = [type(r)(**{**vars(r), "emg": r.emg * np.float32("nan")}) for r in train]
    (result,) = fit(small(), broken, val)
    assert math.isnan(result.train_loss)
    assert math.isnan(result.val_cer)
    assert result.best_epoch == 0


def test_a_checkpoint_that_finds_no_room_leaves_the_earlier_one_and_nothing_else(data, tmp_path):
    result = next(fit(small(), *data))
    result.save(tmp_path / "c.pt")
    before = (tmp_path / "c.pt").read_bytes()
    with no_file_larger_than(len(before) // 2), pytest.raises((OSError, RuntimeError)):
        result.save(tmp_path / "c.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]
    assert (tmp_path / "c.pt").read_bytes() == before


@contextlib.contextmanager
def no_file_larger_than(size: int):
    """Let writing fail beyond some bytes, as on a full disk."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_checkpoint_of_another_configuration_is_refused(data, tmp_path):
    next(fit(small(), *data)).save(tmp_path / "c.pt")
    with pytest.raises(ValueError, match="another configuration"):
        next(fit(small(batch_size=3), *data, resume=tmp_path / "c.pt"))


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_checkpoint_is_never_executed(tmp_path, capsys):
    torch.save({"config": Evil()}, tmp_path / "evil.pt")
    (tmp_path / "text.pt").write_text("not a checkpoint")
    torch.save({"other": 1}, tmp_path / "other.pt")
    for name in ("evil.pt", "text.pt", "other.pt", "missing.pt"):
        with pytest.raises(ValueError, match=name):
            load(tmp_path / name)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("threads", [1, 3])
def test_the_command_trains_with_as_many_threads_as_it_is_told(threads, session_paths, tmp_path):
    before, path = torch.get_num_threads(), tmp_path / "small.yaml"
    path.write_text(json.dumps(small(epochs=1).model_dump(mode="json")))
    arguments = [str(path), "--data", str(session_paths[0].parent), "--threads", str(threads)]
    try:
        done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "model.pt")])
        assert done.exit_code == 0, done.output
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert (tmp_path / "model.pt").is_file()
    assert CliRunner().invoke(app, [*arguments[:3], "--threads", "0"]).exit_code == 2


def test_sessions_too_short_or_without_keys_are_refused(data, session_paths):
    train, val = data
    with pytest.raises(ValueError, match="no training session is as long"):
        next(fit(small(window_seconds=60), train, val))
    silent = [type(r)(**{**vars(r), "labels": r.labels[:0]}) for r in val]
    with pytest.raises(ValueError, match="validation sessions hold no keys"):
        next(fit(small(), train, silent))


@pytest.mark.parametrize(
    "model",
    [
        "conv:1(channels=4,kernel=5) hop:64 mlp:16",
        "gru:1(hidden=24) hop:64 mlp:16",
        "transformer:1(heads=2,feedforward=16) hop:64 mlp:16",
        "transformer:1(heads=2,feedforward=16,positions=rotary) hop:64 mlp:16",
        "conformer:1(width=16,heads=2,feedforward=16) hop:64 mlp:16",
        "s4:1 hop:64 mlp:16",
    ],
)
def test_bfloat16_trains_about_the_same_and_resumes_the_same(data, tmp_path, model):
    model = parse_notation(model)
    exact = small(epochs=2, precision="float32").model_copy(update={"model": model})
    config = small(epochs=2, precision="bfloat16").model_copy(update={"model": model})
    reference = next(fit(exact, *data))
    whole = []
    for result in fit(config, *data):
        whole.append(result)
        if result.epoch == 1:
            result.save(tmp_path / "c.pt")
    assert whole[0].train_loss != reference.train_loss
    assert whole[0].train_loss == pytest.approx(reference.train_loss, rel=0.05)
    assert numbers(fit(config, *data, resume=tmp_path / "c.pt")) == numbers(whole[1:])


def test_precision_is_automatically_float32_on_a_cpu(data):
    whole = next(fit(small(precision="float32"), *data))
    assert next(fit(small(precision="auto"), *data)).train_loss == whole.train_loss


def test_every_training_of_a_process_is_compiled(data, monkeypatch):
    """Of a function torch compiles a few models, then runs the others as they are."""
    compiled, graphs = torch.compile, []

    def count(graph, inputs):
        graphs[-1] += 1
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda model: compiled(model, backend=count))
    config = small(epochs=1, compile=True)
    with torch._dynamo.config.patch(recompile_limit=2):
        for _ in range(4):
            graphs.append(0)
            trained = next(fit(config, *data))
    assert all(graphs), graphs
    assert trained.train_loss == pytest.approx(next(fit(small(epochs=1), *data)).train_loss)


def test_the_commands_last_words_are_true(session_paths, tmp_path, monkeypatch):
    """They name the best epoch, its CER and the file that has its weights."""
    monkeypatch.chdir(tmp_path)
    config = small(epochs=3)
    (tmp_path / "tiny.yaml").write_text(dump_config(config))
    words = ["tiny.yaml", "--data", str(session_paths[0].parent), "--device", "cpu"]
    done = CliRunner().invoke(app, [*words, "--out", "my model.pt"])
    assert done.exit_code == 0, done.output
    cers = [float(cer) for cer in re.findall(r"^epoch \d+: .* CER ([\d.]+) %", done.output, re.M)]
    assert len(cers) == 3
    last, note = done.output.splitlines()[-2:]
    assert note == f"note: this model {UNLEARNT}"  # of half a minute of typing
    best = cers.index(min(cers)) + 1
    assert last == (
        f"best validation CER {min(cers):.2f} % at epoch {best}; checkpoint with its weights: "
        f"my model.pt"
    )
    origin = load(tmp_path / "my model.pt").origin
    assert (origin.epoch, f"{origin.val_cer:.2f}") == (best, f"{min(cers):.2f}")
    again = CliRunner().invoke(app, [*words, "--out", "my model.pt", "--resume", "my model.pt"])
    assert again.output.splitlines()[-1] == "my model.pt has all 3 epochs already."
