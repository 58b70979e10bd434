"""A training step of the report's baseline: forward, CTC, backward, Adam; batch of 32.

The plain way is the model as straightforward modules. The floor is the step's multiply-accumulates
at the rate of a large matrix product, by torch or by oneDNN, whichever is faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from benchmarks.measure import Figure, Scope
from benchmarks.plain_model import PlainBaseline
from emgmodels.compute.onednn import fast_products
from emgmodels.ctc import ctc_loss
from emgmodels.factory import build
from emgmodels.network.network import Network
from emgmodels.notation import parse_notation
from emgmodels.saying import counted

FRAMES = 622
"""Of a window of 4 s with 1 s of context."""
TOLERANCE = 2e-3
"""Largest difference of a log-probability from the reference."""


def run(scope: Scope) -> Iterator[Figure]:
    """Measure a step in float32 and in bfloat16."""
    windows = 2 if scope.short else 32
    model, plain = make_models(short=scope.short)
    features, labels, lengths = make_batch(windows)
    check_alike(model, plain, features)
    times_first = features.permute(3, 0, 1, 2, 4).contiguous()
    ours = step(model, features, labels, lengths)
    theirs = step(plain, times_first, labels, lengths)

    def reduced() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            ours()

    def fast() -> None:
        with fast_products(torch.device("cpu")):
            ours()

    parts: dict[str, Callable[[], object]] = {"plain": theirs, "fast": fast, "bfloat16": reduced}
    timings = scope.interleave(parts)
    without = "" if timings.multiplies_bfloat16() else "; this processor has no fast bfloat16"
    for name, wanted in (("fast", "1.8 x, 60 % of the floor"), ("bfloat16", "3 x")):
        in_bfloat16 = name == "bfloat16"
        floor = timings.floor(windows * operations(model), reduced=in_bfloat16)
        yield Figure(
            f"training step, {'float32' if name == 'fast' else name}, {counted(windows, 'window')}",
            value=timings.median(name),
            unit="s",
            reference=timings.median("plain"),
            ratio=timings.ratio("plain", name),
            wanted=wanted,
            floor=floor,
            share=floor / timings.median(name),
            note=f"{windows * operations(model) / 1e9:.0f} GFLOP; a matrix product does "
            f"{timings.operations_a_second(in_bfloat16) / 1e9:.0f} a second"
            f"{without if in_bfloat16 else ''}",
        )


def make_models(short: bool = False) -> tuple[Network, PlainBaseline]:
    """Return the baseline from the factory and as plain modules, with the same weights."""
    text = "conv:1(channels=4,kernel=5) mlp:16" if short else "conv:4 @16ch"
    model = build(parse_notation(text))
    plain = PlainBaseline(16, 1, 4, 5) if short else PlainBaseline()
    plain.load_state_dict(model.state_dict())
    return model, plain


def make_batch(windows: int, frames: int = FRAMES) -> tuple[Tensor, Tensor, Tensor]:
    """Return (N, B, E, T, F) features, (N, K) labels and their (N,) lengths."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(windows, 2, 16, frames, 33, generator=generator)
    labels = torch.randint(0, 98, (windows, 20), generator=generator)
    return features, labels, torch.full((windows,), 20)


def check_alike(model: Network, plain: PlainBaseline, features: Tensor) -> None:
    """Fail where log-probabilities or gradients differ from the reference's."""
    few = features[:2]
    with fast_products(torch.device("cpu")):
        ours = model(few)
        ours.square().mean().backward()
    theirs = plain(few.permute(3, 0, 1, 2, 4)).transpose(0, 1)
    theirs.square().mean().backward()
    torch.testing.assert_close(ours, theirs, atol=TOLERANCE, rtol=0)
    expected = dict(plain.named_parameters())
    for name, weight in model.named_parameters():
        torch.testing.assert_close(
            weight.grad, expected[name].grad, atol=TOLERANCE, rtol=TOLERANCE, msg=name
        )


def step(model: nn.Module, features: Tensor, labels: Tensor, lengths: Tensor) -> Callable[[], None]:
    """Return an optimiser step of a model that answers windows or, if it is plain, time first."""
    fused = isinstance(model, Network)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused)

    def one() -> None:
        log_probs = model(features)
        log_probs = log_probs if fused else log_probs.transpose(0, 1)
        loss = ctc_loss(log_probs, labels, lengths)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return one


def operations(model: Network, frames: int = FRAMES) -> int:
    """Return the operations of a window's forward and backward pass, by learned weights.

    Backward takes twice the forward's, for the gradients of weights and of inputs; the spectrogram
    norm has weights of its own, so that not even the first layer's inputs are spared.
    """
    return 2 * 3 * model.macs(frames)
