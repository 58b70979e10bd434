"""Weights averaged over a training, and CTC in the middle of the encoder."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from emgmodels.checkpoints.exported import write_torch
from emgmodels.checkpoints.loading import load
from emgmodels.config import Average, Config, IntermediateCtc, dump_config, load_config
from emgmodels.factory import build
from emgmodels.notation import parse_notation
from emgmodels.training.averaging import WeightAverage
from emgmodels.training.fit import fit
from emgmodels.training.intermediate import IntermediateHeads
from emgmodels.training.state import Training
from emgmodels.windows.cache import prepare
from emgmodels.windows.cut import Batch

TINY = "conv1d:1(channels=6,kernel=3,stride=2) conv:1(channels=1,kernel=3) hop:64 mlp:6 @2ch"
"""With batch statistics, a stride, and context that is consumed."""
WAYS = [
    {"average": {"ema": 0.9}},
    {"average": {"last_epochs": 2}},
    {"intermediate_ctc": {"after": ["conv1d"]}},
    {"augmentation": {"time_stretch": 0.2, "noise_jitter": 0.2, "mask_scope": "electrode"}},
    {"average": {"ema": 0.9}, "intermediate_ctc": {"after": ["conv1d"], "weight": 0.5}},
]


def config(text=TINY, **training):
    values = {"epochs": 3, "batch_size": 2, "warmup_steps": 2, "learning_rate": 5e-3, **training}
    return Config.model_validate({"model": parse_notation(text), "training": values})


@pytest.fixture(scope="module")
def data(session_paths):
    recordings = prepare(session_paths)
    return recordings[:1], recordings[2:]


def numbers(results):
    return [{k: v for k, v in r.metrics().items() if k != "seconds"} for r in results]


@pytest.mark.parametrize("training", WAYS)
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_resumed_training_has_the_numbers_of_an_uninterrupted_one(
    data, tmp_path, training, epoch
):
    settings, whole = config(**training), []
    for result in fit(settings, *data):
        whole.append((result, result.best_weights))
        if result.epoch == epoch:
            result.save(tmp_path / "c.pt")
    rest = list(fit(settings, *data, resume=tmp_path / "c.pt"))
    assert numbers(rest) == numbers(result for result, _ in whole[epoch:])
    assert [r.best_weights for r in rest] == [weights for _, weights in whole[epoch:]]


@pytest.mark.parametrize("training", WAYS)
def test_a_configuration_is_read_as_it_was_written(tmp_path, training):
    (tmp_path / "c.yaml").write_text(dump_config(config(**training)))
    assert load_config(tmp_path / "c.yaml") == config(**training)


def test_an_exponential_average_is_the_sum_of_its_parts():
    model = nn.BatchNorm1d(1)
    average = WeightAverage(model, Average(ema=0.8), epochs=1)
    expected = None
    for step in range(60):
        with torch.no_grad():
            model.weight.fill_(step**0.5)
            model.running_mean.fill_(-float(step))
        average.after_step()
        kept = min(0.8, step / (step + 9))
        now = np.array([step**0.5, -float(step)])
        expected = now if expected is None else kept * expected + (1 - kept) * now
    with average.in_place():
        found = [float(model.weight.detach()), float(model.running_mean)]
    assert found == pytest.approx(expected.tolist(), rel=1e-5)
    assert float(model.weight.detach()) == pytest.approx(59**0.5), "then it has its own again"


def test_the_mean_of_the_last_epochs_is_that_of_their_weights_and_statistics(data):
    """Averaging changes nothing of what is trained, so a training without it shows the parts."""
    plain, averaged = Training(config(), torch.device("cpu")), None
    averaged = Training(config(average={"last_epochs": 2}), torch.device("cpu"))
    states = []
    for epoch in (1, 2, 3):
        assert plain.train_epoch(epoch, data[0]) == averaged.train_epoch(epoch, data[0])
        states.append({k: v.clone() for k, v in plain.model.state_dict().items()})
        with averaged.average.in_place():
            found = {k: v.clone() for k, v in averaged.model.state_dict().items()}
        if epoch == 1:
            assert all(torch.equal(found[name], states[0][name]) for name in found)
    assert any(name.endswith("running_var") for name in found)
    for name, value in found.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, (states[1][name] + states[2][name]) / 2)
            assert not torch.equal(value, states[2][name]) or value.numel() == 0


@pytest.mark.parametrize("training", [WAYS[0], WAYS[-1]])
def test_what_is_validated_kept_and_exported_is_the_average(data, tmp_path, training):
    settings = config(**training)
    run = Training(settings, torch.device("cpu"))
    run.train_epoch(1, data[0])
    trained = {k: v.clone() for k, v in run.model.state_dict().items()}
    (result, *_) = fit(config(**{**training, "epochs": 1}), *data)
    result.save(tmp_path / "c.pt")
    state = torch.load(tmp_path / "c.pt", weights_only=True)
    assert any(not torch.equal(state["best"][k], state["model"][k]) for k in trained)
    reader = load(tmp_path / "c.pt")
    write_torch(reader, tmp_path / "exported.pt")
    exported = load(tmp_path / "exported.pt").model.state_dict()
    expected = build(settings.model).state_dict()
    assert exported.keys() == expected.keys(), "heads of the training are no part of the model"
    for name, value in exported.items():
        assert torch.equal(value, state["best"][name])
    # The model that is kept has the loss that was told of it.
    other = Training(settings, torch.device("cpu"))
    other.model.load_state_dict(state["best"])
    assert other.validate(data[1])[0] == pytest.approx(result.val_loss)


def test_heads_are_trained_on_the_frames_of_the_labelled_window():
    """Each sees as many frames as its stage has of it, beginning with the same sample."""
    text = "conv1d:1(channels=6,kernel=3,stride=2) conv:1(channels=1,kernel=3) gru:1(hidden=3)"
    model = build(parse_notation(f"{text} hop:64 mlp:6 @2ch"))
    middle = IntermediateCtc(after=("conv1d", "conv"))
    heads = IntermediateHeads(model, middle, seed=0)
    framing = model.framing(8000, 1800, 200)
    model.train()
    frames = model.spectrogram.frames(framing.samples)
    # Its value is the number of the feature frame.
    features = torch.arange(float(frames)).view(1, 1, 1, -1, 1)
    model(features.expand(1, 2, 2, -1, 33))
    assert set(heads._outputs) == {0, 1}
    places = []
    for number, (left, stride) in enumerate(heads._places):
        count = heads._outputs[number].shape[1]
        places.append(torch.arange(float(count)) * stride + left)
        heads._outputs[number] = (
            places[-1].view(1, -1, 1).expand(1, -1, heads.heads[number].in_features)
        )
    seen = []
    for head in heads.heads:
        head.register_forward_hook(lambda _, given, __: seen.append(given[0][0, :, 0]))
    batch = Batch(torch.empty(1), torch.ones(1, 2, dtype=torch.long), torch.tensor([2]),
                  torch.full((1, 2), -1))  # fmt: skip
    assert torch.isfinite(heads.loss(batch, framing))
    begin = framing.before // 64
    for frames in seen:
        assert frames.tolist() == list(range(begin, begin + 125, 2))


def test_intermediate_ctc_changes_the_loss_and_trains_its_heads(data):
    runs = []
    for training in ({}, {"intermediate_ctc": {"after": ["conv1d"], "weight": 1.0}}):
        run = Training(config(**training), torch.device("cpu"))
        before = [p.detach().clone() for p in run.heads.parameters()]
        loss = run.train_epoch(1, data[0])
        runs.append((loss, before, list(run.heads.parameters())))
    assert runs[1][0] > 1.5 * runs[0][0]
    assert not runs[0][1]
    assert all(not torch.equal(a, b) for a, b in zip(*runs[1][1:], strict=True))


def test_heads_behind_stages_that_each_hand_goes_through_read_both_hands(data):
    model = parse_notation(TINY).model_copy(update={"share_bands": "encoder", "bands": 2})
    settings = config(epochs=1, intermediate_ctc={"after": ["conv1d"]})
    run = Training(settings.model_copy(update={"model": model}), torch.device("cpu"))
    assert run.heads.heads[0].in_features == 2 * run.model.stages[0].width
    assert np.isfinite(run.train_epoch(1, data[0]))


def test_compiled_models_have_heads_too(data, monkeypatch):
    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model: compiled(model, backend="eager"))
    training = {"epochs": 1, "intermediate_ctc": {"after": ["conv1d"]}}
    plain = next(fit(config(**training), *data))
    other = next(fit(config(**training, compile=True), *data))
    assert other.train_loss == pytest.approx(plain.train_loss, rel=1e-4)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"average": {"last_epochs": 4}}, "average.last_epochs: 4 are more than the training's 3"),
        ({"average": {"ema": 0.9, "last_epochs": 2}}, "two averages: leave one"),
        ({"average": {}}, "says not how"),
        ({"average": {"ema": 1.0}}, "less than 1"),
        ({"intermediate_ctc": {"after": ["recurrent"]}}, "'recurrent' is not among the stages"),
        ({"intermediate_ctc": {"after": ["conv", "conv"]}}, "name each stage once"),
        ({"intermediate_ctc": {}}, "names no stage: name one of the order"),
    ],
)
def test_what_makes_no_sense_is_refused(training, message):
    with pytest.raises(ValidationError, match=message):
        config(**training)


def test_a_checkpoint_of_before_goes_on(data, tmp_path):
    """Those of earlier versions hold neither an average nor heads."""
    whole = []
    for result in fit(config(), *data):
        whole.append(result)
        if result.epoch == 1:
            result.save(tmp_path / "c.pt")
    state = torch.load(tmp_path / "c.pt", weights_only=True)
    for name in ("average", "heads"):
        del state[name]
    torch.save(state, tmp_path / "old.pt")
    assert numbers(fit(config(), *data, resume=tmp_path / "old.pt")) == numbers(whole[1:])
