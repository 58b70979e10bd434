import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from emgmodels.config import PretrainedConfig
from emgmodels.factory import build
from emgmodels.network.summary import describe
from emgmodels.notation import parse_notation
from emgmodels.stages.pretrained import PretrainedStage


def stage(folder, **settings):
    return PretrainedStage(16, PretrainedConfig(name=str(folder), **settings))


@pytest.mark.parametrize("kind", ["GPT2", "BERT"])
def test_it_is_the_model_that_was_saved(language_models, kind):
    from transformers import AutoModel

    saved = AutoModel.from_pretrained(language_models[kind]).eval()
    loaded = stage(language_models[kind], layers=3).eval()
    x = torch.randn(2, 20, 16)
    expected = saved(inputs_embeds=loaded.into(x)).last_hidden_state
    torch.testing.assert_close(loaded(x), loaded.out(expected))
    fewer = stage(language_models[kind], layers=1).eval()
    assert not torch.equal(fewer(x), loaded(x))


@pytest.fixture(scope="module")
def protein_encoder(tmp_path_factory) -> Path:
    """A BERT pretrained on antibody sequences, 26 M parameters, from a wheel that carries it."""
    folder = tmp_path_factory.mktemp("antiberty")
    wanted = "antiberty==0.1.3"
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", wanted]
    got = subprocess.run([*fetch, "-d", folder], capture_output=True, text=True, check=False)
    if got.returncode:
        pytest.skip(f"{wanted} cannot be fetched: {got.stderr.strip()[-200:]}")
    [wheel] = folder.glob("*.whl")
    inside = "antiberty/trained_models/AntiBERTy_md_smooth"
    with zipfile.ZipFile(wheel) as archive:
        for name in ("config.json", "pytorch_model.bin"):
            (folder / name).write_bytes(archive.read(f"{inside}/{name}"))
    from transformers import BertConfig, BertModel

    shape = BertConfig(**json.loads((folder / "config.json").read_text()))
    model = BertModel(shape, add_pooling_layer=False)
    weights = torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
    encoder = {k.removeprefix("bert."): v for k, v in weights.items() if k.startswith("bert.")}
    assert not model.load_state_dict(encoder, strict=False).missing_keys
    model.save_pretrained(folder / "model")
    return folder / "model"


@pytest.mark.slow
def test_a_real_pretrained_encoder(protein_encoder):
    from transformers import AutoModel

    saved = AutoModel.from_pretrained(protein_encoder).eval()
    loaded = stage(protein_encoder, layers=8, train_last=1).eval()
    assert loaded.longest == 512
    x = torch.randn(2, 300, 16)
    with torch.no_grad():
        expected = saved(inputs_embeds=loaded.into(x)).last_hidden_state
        torch.testing.assert_close(loaded(x), loaded.out(expected))
    config = parse_notation(f"conv:1 pretrained:8(name={protein_encoder},train_last=1)")
    layer = 12 * 512**2 + 13 * 512
    bridges = 2 * 384 * 2 * 512 + 512 + 2 * 384
    without = describe(parse_notation("conv:1")).parameters
    assert describe(config).parameters == without + layer + bridges


def test_what_is_frozen_is_in_evaluation_mode_and_what_learns_is_not(language_models):
    model = stage(language_models["GPT2"], layers=3, train_first=1, train_norms=True).train()
    first, *others = model.model.h
    assert first.training
    assert not any(layer.training for layer in others)
    learning = {name for name, p in model.model.named_parameters() if p.requires_grad}
    assert {n for n in learning if n.startswith("h.0.")} == {
        f"h.0.{n}" for n, _ in first.named_parameters()
    }
    assert {n for n in learning if n.startswith(("h.1.", "h.2."))} == {
        f"h.{i}.ln_{j}.{n}" for i in (1, 2) for j in (1, 2) for n in ("weight", "bias")
    }
    assert not model.eval().model.h[0].training


def test_random_weights_are_not_the_pretrained_ones(language_models):
    pretrained, other = (
        stage(language_models["GPT2"], layers=2, weights=weights).model.h[0].attn.c_attn.weight
        for weights in ("pretrained", "random")
    )
    assert pretrained.shape == other.shape
    assert not torch.equal(pretrained, other)


def test_the_reports_model_is_described_without_any_file(tmp_path):
    """In a process without cache and without network, as a cluster's node may be."""
    code = (
        "from emgmodels.network.summary import describe;"
        "from emgmodels.notation import parse_notation;"
        "print(describe(parse_notation('conv:4 pretrained:12(train_first=1,train_last=1)'))"
        ".parameters)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    block = 12 * 768**2 + 13 * 768  # attention, feed-forward, their biases and two norms
    assert int(done.stdout) == 5_293_315 + 2 * (768**2 + 768) + 2 * block


def test_absent_weights_name_the_folder_to_fill_and_how(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match="hf download nobody/nothing") as error:
        describe(parse_notation("pretrained:2(name=nobody/nothing)"))
    assert str(tmp_path) in str(error.value)
    with pytest.raises(ValueError, match=r"config\.json"):
        describe(parse_notation(f"pretrained:2(name={tmp_path})"))


def test_a_folder_without_weights_says_so(tmp_path, language_models):
    (tmp_path / "config.json").write_text((language_models["GPT2"] / "config.json").read_text())
    model = parse_notation(f"pretrained:2(name={tmp_path}) mlp:8 @1ch")
    assert describe(model).parameters > 0
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        build(model)


def test_it_takes_as_many_frames_as_it_says(tmp_path):
    from transformers import BertConfig, GPT2Config, RobertaConfig

    encoder = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 8}
    for shape in (
        GPT2Config(n_embd=16, n_layer=1, n_head=2, n_positions=40),
        BertConfig(**encoder, num_hidden_layers=1, max_position_embeddings=40),
        RobertaConfig(**encoder, num_hidden_layers=1, max_position_embeddings=42, pad_token_id=1),
    ):
        shape.save_pretrained(tmp_path)
        model = stage(tmp_path, layers=1, weights="random")
        assert model.longest == 40
        assert model(torch.randn(1, 40, 16)).shape == (1, 40, 16)
        with pytest.raises(ValueError, match="has 40 positions and the window 41 frames"):
            model(torch.randn(1, 41, 16))


def test_weights_of_another_model_are_refused(tmp_path, language_models):
    from safetensors.torch import load_file, save_file

    for file in ("config.json", "model.safetensors"):
        (tmp_path / file).write_bytes((language_models["GPT2"] / file).read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "h.1." not in name}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"12 are missing, .*h\.1\."):
        stage(tmp_path, layers=2)
    wider = (tmp_path / "config.json").read_text().replace('"n_embd": 16', '"n_embd": 32')
    (tmp_path / "config.json").write_text(wider)
    with pytest.raises(ValueError, match=str(tmp_path)):
        stage(tmp_path, layers=1)


def test_loading_is_quiet(language_models, capfd):
    stage(language_models["GPT2"], layers=1)
    assert capfd.readouterr() == ("", "")


def test_what_does_not_fit_is_refused_with_its_numbers(language_models, tmp_path):
    from transformers import GPT2Config, T5Config

    with pytest.raises(ValueError, match=r"has 3 hidden layers: layers is 4"):
        describe(parse_notation(f"pretrained:4(name={language_models['GPT2']})"))
    T5Config(num_layers=2).save_pretrained(tmp_path / "t5")
    with pytest.raises(ValueError, match="is a t5 model"):
        describe(parse_notation(f"pretrained:2(name={tmp_path / 't5'})"))
    GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=64).save_pretrained(tmp_path / "short")
    short = f"pretrained:1(name={tmp_path / 'short'},weights=random) mlp:8 @1ch"
    with pytest.raises(ValueError, match=r"is 500 frames .* takes 64 at most"):
        describe(parse_notation(short))
    assert describe(parse_notation(f"{short} hop:160")).frame_rate == 12.5
    strided = parse_notation(f"conv1d:1(channels=8,stride=10) {short}")
    assert build(strided).longest == 640


def test_without_transformers_it_says_what_to_install(monkeypatch, language_models):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"-m pip install .*\[pretrained\]'"):
        stage(language_models["GPT2"], layers=1)
