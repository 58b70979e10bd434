"""The trainings that the check runs: small ones of every kind, and large ones as they are used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from emgmodels.config import Config, FeaturesConfig
from emgmodels.notation import parse_notation

LARGE = {
    "baseline": "conv:4 @16ch",
    "report's best": "transformer:2(heads=8,feedforward=512) gru:4(hidden=384) conv:4 @16ch",
    "best public": "conv1d:2 lstm:2(hidden=320) hop:36",
    "conformer": "conformer:8(stride=2)",
}
"""Architectures in the size in which people train them."""
STAGES = {
    "no stage": "none mlp:48",
    "conv": "conv:2(channels=8,kernel=8) mlp:48",
    "conv causal, channels by layer": "conv:2(channels=8/16,kernel=8,causal=true) mlp:48",
    "conv side by side": "conv:2(channels=8,kernel=4+8) mlp:48",
    "conv twice": "conv:1(channels=8,kernel=8) gru:1(hidden=48) conv:1(channels=4,kernel=4) mlp:48",
    "conv1d": "conv1d:2(channels=48) mlp:48",
    "conv1d strided residual": "conv1d:3(channels=48/64/64,stride=1/2/1,residual=true) mlp:48",
    "conv1d separable causal": "conv1d:2(channels=48,separable=true,causal=true,norm=layer) mlp:48",
    "conv1d without norm": "conv1d:2(channels=48,norm=none) mlp:48",
    "gru": "gru:2(hidden=48) mlp:48",
    "gru forward only, layer norm": "gru:2(hidden=48,bidirectional=false,layer_norm=true) mlp:48",
    "lstm": "lstm:2(hidden=48) mlp:48",
    "lstm forward only": "lstm:1(hidden=48,bidirectional=false) mlp:48",
    "transformer": "transformer:2(heads=4,feedforward=128,dropout=0) mlp:48",
    "transformer rotary": "transformer:2(heads=4,feedforward=128,dropout=0,positions=rotary,"
    "activation=gelu) mlp:48",
    "transformer local": "transformer:2(heads=4,feedforward=128,dropout=0,left_context=20,"
    "right_context=4) mlp:48",
    "conformer": "conformer:2(width=48,feedforward=96,kernel=7,dropout=0) mlp:48",
    "conformer strided": "conformer:2(width=48,feedforward=96,kernel=7,dropout=0,stride=2) mlp:48",
    "conformer causal": "conformer:2(width=48,feedforward=96,kernel=7,dropout=0,left_context=20,"
    "right_context=0) mlp:48",
    "s4": "s4:2(width=48,states=16,dropout=0) mlp:48",
    "s4 causal": "s4:2(width=48,states=16,dropout=0,bidirectional=false) mlp:48",
}
"""Every stage, in each of the ways that take other code."""
FRONTS = {
    "norm by bin": "conv:1(channels=8,kernel=8) mlp:48 norm:bin",
    "rolling norm": "conv:1(channels=8,kernel=8) mlp:48 norm:rolling",
    "learned filters": "conv:1(channels=8,kernel=8) mlp:48 filters:learned",
    "few bins": "conv:1(channels=8,kernel=8) mlp:48 bins:6",
    "coarse frames": "conv:1(channels=8,kernel=8) mlp:48 hop:64",
    "bands share weights": "conv:1(channels=8,kernel=8) mlp:48 share_bands:true",
    "bands share the encoder": "conv:1(channels=8,kernel=8) mlp:48 share_bands:encoder",
    "bands with copies of their own": "conv:1(channels=8,kernel=8) mlp:48 share_bands:encoder "
    "own_hands:true",
    "bands joined before the last stage": "conv:1(channels=8,kernel=8) gru:1(hidden=48) mlp:48 "
    "share_bands:encoder_but_last mirror_left:false",
    "deep mlp": "conv:1(channels=8,kernel=8) mlp:48 mlp_layers:2",
    "8 electrodes": "conv:1(channels=8,kernel=8) mlp:48 @8ch",
    "8 neighbouring electrodes": "conv:1(channels=8,kernel=8) mlp:48 @8ch:contiguous",
    "left band": "conv:1(channels=8,kernel=8) mlp:48 @16ch:left",
}
"""Every setting of features and front end."""
TRAININGS: dict[str, dict[str, object]] = {
    "no augmentation": {
        "augmentation": {
            "rotation": 0,
            "band_jitter_ms": 0,
            "time_masks": 0,
            "frequency_masks": 0,
            "window_jitter": False,
        }
    },
    "wide masks": {"augmentation": {"time_masks": 8, "frequency_masks": 4}},
    "masks of each band": {"augmentation": {"mask_scope": "band"}},
    "masks of each electrode": {"augmentation": {"mask_scope": "electrode", "mask_fill": "zero"}},
    "random crops": {"augmentation": {"random_crop": 0.5}},
    "much rotation and jitter": {"augmentation": {"rotation": 8, "band_jitter_ms": 500}},
    "disturbed electrodes": {
        "augmentation": {"electrode_dropout": 0.1, "gain_jitter_db": 3, "noise_jitter": 0.1}
    },
    "time stretch": {"augmentation": {"time_stretch": 0.1}},
    "aligned start": {"aligned_start": {"epochs": 2}},
    "no clipping": {"gradient_clip": None},
    "exponential average": {"average": {"ema": 0.9}},
    "mean of the last epochs": {"average": {"last_epochs": 1}},
    "intermediate ctc": {"intermediate_ctc": {"after": ["conv"]}},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.01},
    "dropout": {},
}
"""Every kind of training setting; ``dropout`` differs by its architecture alone."""
_DROPOUT = "transformer:1(heads=4,feedforward=96) gru:2(hidden=48,dropout=0.2) mlp:48"
_SMALL: dict[str, object] = {"batch_size": 4, "window_seconds": 2, "warmup_steps": 0}


def small_configs(folder: Path, short: bool) -> Iterator[tuple[str, Config]]:
    """Yield a small training of every kind: of each stage, front end and training setting.

    Args:
        folder: where a tiny pretrained model may be written, if transformers is installed.
        short: on coarse frames of few bins, wherever these are not what is tried.
    """
    for name, wanted in _small_configs(folder):
        features = wanted.model.features
        if short and features == FeaturesConfig():
            coarse = features.model_copy(update={"hop": 64, "bins": 8})
            model = wanted.model.model_copy(update={"features": coarse})
            yield name, wanted.model_copy(update={"model": model})
        else:
            yield name, wanted


def _small_configs(folder: Path) -> Iterator[tuple[str, Config]]:
    for kind, texts in (("stage", STAGES), ("front end", FRONTS)):
        for name, text in texts.items():
            yield f"{kind}: {name}", config(text, **_SMALL)
    for name, values in TRAININGS.items():
        text = _DROPOUT if name == "dropout" else STAGES["conv"]
        yield f"training: {name}", config(text, **{**_SMALL, **values})
    if model := _tiny_gpt2(folder):
        stage = {"name": str(model), "layers": 2, "train_first": 1}
        encoder = {"order": ["pretrained"], "pretrained": stage}
        values = {"mlp_features": 48, "encoder": encoder}
        yield "stage: pretrained", Config.model_validate({"model": values, "training": _SMALL})


def config(text: str, **training: object) -> Config:
    """Return a training of an architecture in notation."""
    return Config.model_validate({"model": parse_notation(text), "training": training})


def _tiny_gpt2(folder: Path) -> Path | None:
    """Return the folder of a GPT-2 of random weights; None without transformers."""
    try:
        from transformers import GPT2Config, GPT2Model
    except ImportError:
        return None
    path = folder / "tiny-gpt2"
    shape = GPT2Config(n_layer=2, n_head=2, n_embd=32, n_positions=1024, vocab_size=50)
    shape.resid_pdrop = shape.embd_pdrop = shape.attn_pdrop = 0.0
    GPT2Model(shape).save_pretrained(path)
    return path
