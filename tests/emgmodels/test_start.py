"""Trainings that start from a checkpoint: what is taken, what stays frozen, what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import emgmodels
from emgmodels.checkpoints.exported import write_emg2qwerty
from emgmodels.checkpoints.shared import write_folder
from emgmodels.checkpoints.start import Start, put_start, read_start, start_problem
from emgmodels.checkpoints.weights import weights_hash
from emgmodels.config import Config, ModelConfig, TrainingConfig, dump_config, load_config
from emgmodels.factory import build
from emgmodels.network.summary import describe
from emgmodels.notation import notation, parse_notation
from emgmodels.reading.reader import Origin, Reader
from emgmodels.stages.flow import Chain
from emgmodels.training.__main__ import app
from emgmodels.training.fit import fit
from emgmodels.training.freezing import FrozenParts
from emgmodels.training.starting import chosen_start
from emgmodels.training.state import Training
from emgmodels.windows.cache import prepare

TINY = "gru:1(hidden=6) conv:1(channels=2,kernel=4) mlp:6 hop:64 bins:6 @2ch"
SHARED = [
    f"{TINY} share_bands:mlp",
    f"{TINY} mlp_layers:2 share_bands:mlp",
    f"{TINY} share_bands:encoder",
    f"{TINY} norm:rolling share_bands:encoder_but_last",
    # Its convolution needs a bridge.
    "conv:1(channels=2,kernel=4) gru:1(hidden=6) mlp:5 hop:64 bins:6 share_bands:encoder @2ch",
]


def config(text: str = TINY, **training) -> Config:
    values = {"epochs": 3, "batch_size": 2, "warmup_steps": 2, **training}
    return Config.model_validate({"model": parse_notation(text), "training": values})


def start_of(text: str = TINY, seed: int = 7) -> Start:
    """Return random weights of an architecture as a checkpoint."""
    made = config(text)
    weights = build(made.model, seed).state_dict()
    return Start(made, weights, weights_hash(weights), Origin())


@pytest.fixture(scope="module")
def data(session_paths):
    recordings = prepare(session_paths)
    return recordings[:1], recordings[2:]


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    start_of().write(tmp_path / "start.pt")
    return tmp_path / "start.pt"


def test_a_training_begins_with_the_weights_of_any_format(tmp_path, data):
    theirs = "conv:1(channels=2,kernel=4) mlp:6 @16ch"
    start = start_of(theirs)
    reader = Reader(start.config, build(start.config.model), Origin())
    reader.model.load_state_dict(start.weights)
    start.write(tmp_path / "ours.pt")
    write_folder(reader, tmp_path / "folder")
    write_emg2qwerty(reader, tmp_path / "theirs.ckpt")
    for name in ("ours.pt", "folder", "theirs.ckpt"):
        path = tmp_path / name
        assert read_start(path).hash == start.hash, name
        run = Training(config(theirs, start_from=str(path)), torch.device("cpu"))
        run.begin(None)
        assert weights_hash(run.model.state_dict()) == start.hash


def test_another_checkpoint_than_was_recorded_is_refused(checkpoint):
    with pytest.raises(ValueError, match="put that checkpoint there"):
        read_start(checkpoint, "0123")


@pytest.mark.parametrize("hashed", [False, True])
def test_a_checkpoint_is_looked_for_beside_the_file_then_from_the_current_folder(
    hashed, tmp_path, monkeypatch
):
    space, here = tmp_path / "spaces", tmp_path / "here"
    for folder in (space, here / "runs"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    text = "runs/best.pt"
    wanted = start_of()
    section = {"path": text, **({"weights": wanted.hash} if hashed else {})}
    with pytest.raises(ValueError, match="No such file"):
        chosen_start({"start_from": section}, space)
    wanted.write(here / text)
    training = {"start_from": section}
    found = chosen_start(training, space)
    assert found is not None
    assert found.hash == wanted.hash == training["start_from"]["weights"]
    (space / "runs").mkdir()
    nearer = start_of(seed=8)
    nearer.write(space / text)
    if hashed:  # which is not the one that is named
        with pytest.raises(ValueError, match=f"has weights {nearer.hash}"):
            chosen_start({"start_from": section}, space)
    else:
        found = chosen_start({"start_from": section}, space)
        assert found is not None
        assert found.hash == nearer.hash


def test_stages_are_taken_by_name_wherever_they_stand():
    """A stage that is new starts afresh, one that has moved keeps its weights."""
    start = start_of()
    other = config(
        "conv:1(channels=2,kernel=4) gru:1(hidden=7) mlp:6 hop:64 bins:6 @2ch",
        start_from={"path": "x", "partial": True},
    )
    model = build(other.model)
    new = put_start(model, start, other.training.start_from)
    kept = model.state_dict()
    conv = "blocks.0.conv.weight"
    assert torch.equal(kept[f"stages.0.{conv}"], start.weights[f"stages.1.{conv}"])
    assert torch.equal(kept["mlp.bands.0.weight"], start.weights["mlp.bands.0.weight"])
    assert {".".join(name.split(".")[:2]) for name in new} == {"stages.1", "head.weight"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TINY.replace("hop:64", "hop:32"), "model.features.hop is 32 here and 64 in the"),
        (TINY.replace("hidden=6", "hidden=7"), "recurrent.layers.weight_ih_l0 is 18 x 12 there"),
        (f"{TINY} norm:bin", "norm.norm.weight is 4 there and 24 here"),
        (TINY.replace("conv:1(", "conv:2("), "it has no conv.blocks.1"),
        (TINY.replace("conv:1(channels=2,kernel=4) ", ""), "its conv.blocks.0.conv"),
        (f"{TINY}:contiguous", "model.electrode_choice is contiguous here and spaced in the"),
    ],
)
def test_another_model_is_refused_with_what_differs(text, said):
    problem = start_problem(config(text, start_from="x"), start_of().config.model)
    assert said in (problem or "")


def test_dropout_may_be_another_than_the_checkpoints():
    other = config(TINY.replace("hidden=6", "hidden=6,dropout=0.3"), start_from="x")
    assert start_problem(other, start_of().config.model) is None


def test_other_features_are_refused_even_in_part():
    other = config(TINY.replace("hop:64", "hop:32"), start_from={"path": "x", "partial": True})
    assert "other features" in (start_problem(other, start_of().config.model) or "")


def weights_of(run: Training, name: str) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in run.model.parts()[name].parameters()])


def test_frozen_parts_stay_and_others_learn(data):
    """Statistics of a frozen norm stay as well; after ``freeze_epochs`` all is trained."""
    settings = config(start_from="x", freeze=["norm", "recurrent"], freeze_epochs=2)
    run = Training(settings, torch.device("cpu"))
    run.begin(start_of())
    first = {name: weights_of(run, name).clone() for name in ("norm", "recurrent", "head")}
    mean = run.model.norm.norm.running_mean.clone()
    for epoch in (1, 2):
        run.train_epoch(epoch, data[0])
    assert torch.equal(run.model.norm.norm.running_mean, mean)
    for name, before in first.items():
        assert torch.equal(weights_of(run, name), before) == (name != "head")
    run.train_epoch(3, data[0])
    assert not torch.equal(weights_of(run, "recurrent"), first["recurrent"])
    assert not torch.equal(run.model.norm.norm.running_mean, mean)


@pytest.mark.parametrize(
    "stage",
    [
        "gru:2(hidden=4,dropout=0.5)",
        "lstm:2(hidden=4,dropout=0.5)",
        "transformer:1(heads=2,dropout=0.5)",
        "conformer:1(heads=2,kernel=3,dropout=0.5)",
        "s4:1(dropout=0.5)",
    ],
)
def test_frozen_parts_drop_nothing_out_and_drop_again_when_they_learn(stage):
    settings = config(f"{stage} hop:64 bins:6 mlp:6 @2ch")
    [name] = [name for name, _ in settings.model.encoder.stages()]
    whole = settings.model_dump(mode="json")
    whole["training"] |= {"start_from": "x", "freeze": [name], "freeze_epochs": 1}
    settings = Config.model_validate(whole)
    model = build(settings.model)
    frozen = FrozenParts(model, settings.training)
    x = torch.randn(2, 40, 12, generator=torch.Generator().manual_seed(0))
    for epoch, same in ((1, True), (2, False), (1, True)):
        model.train()
        frozen.at(epoch)
        [part] = model.stages
        assert torch.equal(part(x), part(x)) == same


def test_a_frozen_stage_may_have_an_intermediate_head(data):
    """Its head is not frozen: it learns from what the stage puts out."""
    settings = config(
        start_from="x", freeze=["recurrent"], intermediate_ctc={"after": ["recurrent"]}
    )
    run = Training(settings, torch.device("cpu"))
    run.begin(start_of())
    before = [p.detach().clone() for p in run.heads.parameters()]
    assert math.isfinite(run.train_epoch(1, data[0]))
    assert not any(map(torch.equal, before, run.heads.parameters()))


def test_factors_scale_the_learning_rate_of_their_part(data):
    run = Training(config(learning_rate_factors={"conv": 0.1, "head": 2}), torch.device("cpu"))
    run.train_epoch(1, data[0])
    rates = {group["factor"]: group["lr"] for group in run.optimizer.param_groups}
    assert rates == pytest.approx({f: f * run.learning_rate for f in (1.0, 0.1, 2.0)})
    grouped = sum(len(group["params"]) for group in run.optimizer.param_groups)
    assert grouped == len(list(run.model.parameters()))


def test_a_resumed_training_has_the_numbers_of_an_uninterrupted_one(data, tmp_path, checkpoint):
    """The checkpoint that it started from is not needed any more."""
    settings = config(
        start_from=str(checkpoint),
        freeze=["recurrent"],
        freeze_epochs=1,
        learning_rate_factors={"conv": 0.5},
        average={"ema": 0.9},
    )
    whole = []
    for result in fit(settings, *data):
        whole.append((result.val_loss, result.best_weights))
        if result.epoch == 1:
            result.save(tmp_path / "c.pt")
    checkpoint.unlink()
    rest = fit(settings, *data, resume=tmp_path / "c.pt")
    assert [(r.val_loss, r.best_weights) for r in rest] == whole[1:]


@pytest.mark.parametrize("text", SHARED)
def test_unshared_hands_begin_as_the_shared_model_and_then_part(text, data):
    start = start_of(text)
    settings = config(text, start_from="x", unshare=True)
    assert start_problem(settings, start.config.model) is None
    assert Config.model_validate_json(settings.model_dump_json()) == settings
    run = Training(settings, torch.device("cpu"))
    run.begin(start)
    shared = build(start.config.model)
    shared.load_state_dict(start.weights)
    features = torch.randn(3, 2, 2, 90, 6, generator=torch.Generator().manual_seed(0))
    found = run.model.eval()(features)
    assert (found - shared.eval()(features)).abs().max() < 1e-5
    run.train_epoch(1, data[0])
    mlp = run.model.mlp
    hands = getattr(mlp, "hands", None) or mlp.bands
    first, second = ([p.detach() for p in hand.parameters()] for hand in hands)
    assert any(not torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert describe(settings.model).parameters > describe(start.config.model).parameters


@pytest.mark.parametrize("text", SHARED[2:])
def test_unshared_hands_stream_as_they_read(text):
    text = text.replace("gru:1(hidden=6)", "gru:1(hidden=6,bidirectional=false)")
    model = build(config(f"{text} own_hands:true").model, 3).eval()
    assert notation(model.config) == notation(parse_notation(notation(model.config)))
    emg = torch.randn(1, 2, 2, 9000, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        whole = model(model.spectrogram(emg))
        flow = model.flow()
        parts = [flow.push(chunk) for chunk in emg.split(1700, 3)]
        parts.append(flow.finish())
    assert isinstance(flow, Chain)
    streamed = torch.cat([part for part in parts if part is not None], 1)
    torch.testing.assert_close(streamed, whole, atol=1e-4, rtol=1e-4)


def test_what_does_not_share_cannot_be_unshared():
    with pytest.raises(ValueError, match="the hands share nothing"):
        config(start_from="x", unshare=True)
    with pytest.raises(ValueError, match="unshare: there is no checkpoint"):
        config(SHARED[2], unshare=True)
    parted = config(SHARED[2], start_from="x", unshare=True)
    assert "each hand's own already" in (start_problem(parted, parted.model) or "")


@pytest.mark.parametrize(
    ("training", "said"),
    [
        ({"freeze": ["covn"]}, "'covn' is no part of the model: name some of norm, mlp, rec"),
        ({"freeze": ["conv_2"]}, "'conv_2' is no part of the model"),
        ({"freeze": ["norm", "mlp", "recurrent", "conv", "head"]}, "nothing would be trained"),
        ({"freeze": ["conv"], "freeze_epochs": 4}, "4 are more than the training's 3"),
        ({"freeze_epochs": 2}, "nothing is frozen"),
        ({"learning_rate_factors": {"covn": 0.1}}, "'covn' is no part of the model"),
        ({"learning_rate_factors": {"conv": 0}}, "greater than 0"),
        ({"freeze": ["conv"], "start_from": None}, "there is no checkpoint"),
        ({"start_from": ""}, "names no checkpoint"),
    ],
)
def test_a_start_that_cannot_be_is_refused(training, said):
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        config(**{"start_from": "x", **training})


def test_a_frozen_part_of_nothing_is_the_same_training():
    assert config(start_from="x", freeze=[], freeze_epochs=2) == config(start_from="x")
    assert TrainingConfig(learning_rate_factors={"conv": 0.1}).learning_rate_factors is not None


def test_the_command_takes_the_checkpoints_model_and_records_its_hash(
    session_paths, tmp_path, checkpoint
):
    """A file without a model trains the checkpoint's, and what it writes says from which."""
    plain = config(freeze=["conv"], start_from="x").training
    text = dump_config(config()).partition("model:")[0]
    assert plain.start_from is not None
    (tmp_path / "mine.yaml").write_text(
        f"{text}training: {{epochs: 1, batch_size: 2, freeze: [conv], start_from: start.pt}}\n"
    )
    words = [tmp_path / "mine.yaml", "--data", session_paths[0].parent, "--out", tmp_path / "m.pt"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    assert "Starts from start.pt" in done.output
    reader = emgmodels.load(tmp_path / "m.pt")
    assert reader.config.model == parse_notation(TINY)
    assert reader.config.training.start_from.weights == start_of().hash
    begun = start_of().weights["stages.1.blocks.0.conv.weight"]
    assert torch.equal(reader.model.state_dict()["stages.1.blocks.0.conv.weight"], begun)
    again = [str(word) for word in (*words, "--start-from", tmp_path / "m.pt", "--epochs", 2)]
    kept = (tmp_path / "m.pt").read_bytes()
    refused = CliRunner().invoke(app, again)
    assert refused.exit_code != 0, "it would write over the checkpoint that it starts from"
    assert (tmp_path / "m.pt").read_bytes() == kept
    other = CliRunner().invoke(app, [*again, "--out", str(tmp_path / "n.pt")])
    assert other.exit_code == 0, other.output


def test_a_configuration_with_a_start_reads_back(tmp_path):
    settings = config(
        start_from={"path": "a.pt", "weights": "12"},
        freeze=["conv"],
        learning_rate_factors={"conv": 0.1, "mlp": 0.5},
    )
    (tmp_path / "c.yaml").write_text(dump_config(settings))
    assert load_config(tmp_path / "c.yaml") == settings
    assert hash(settings) == hash(load_config(tmp_path / "c.yaml"))
    assert ModelConfig(own_hands=True) == ModelConfig()
