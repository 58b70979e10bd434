"""Reading EMG as it arrives: what a chunk of 50 ms takes, on one thread unless told otherwise.

The plain way reads the last 4 s again for each chunk, as one must where nothing is carried. The
floor is the multiply-accumulates of the new frames alone at the rate of a large matrix product, or
reading every weight once, whichever takes longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from benchmarks.measure import Figure, Scope
from emgmodels.config import SAMPLE_RATE, Config
from emgmodels.factory import build
from emgmodels.network.network import Network
from emgmodels.network.summary import describe
from emgmodels.notation import parse_notation
from emgmodels.reading.reader import Origin, Reader

CHUNK = SAMPLE_RATE // 20
MODELS = {
    "baseline": "conv:4",
    "GRU": "conv1d:2(stride=1/2,causal=true) gru:3(hidden=384,bidirectional=false)",
    "conformer": "conformer:8(stride=2,left_context=125,right_context=0)",
    "state space": "s4:4(bidirectional=false)",
}
SMALL = {
    "baseline": "conv:1 mlp:24",
    "GRU": "gru:1(hidden=8,bidirectional=false) mlp:8",
}


def run(scope: Scope) -> Iterator[Figure]:
    """Measure a chunk in each architecture."""
    for name, text in (SMALL if scope.short else MODELS).items():
        config = Config(model=parse_notation(text))
        reader = Reader(config, build(config.model), Origin())
        check_alike(reader)
        count = 2 if scope.short else 20
        timings = scope.interleave({"plain": plain(reader.model), "fast": fast(reader, count)})
        summary = describe(config.model)
        operations = 2 * summary.macs_per_second * CHUNK / SAMPLE_RATE
        floor = timings.floor(operations, 4 * summary.parameters)
        value = timings.median("fast") / count
        yield Figure(
            f"{name}, a chunk of 50 ms",
            value=1000 * value,
            unit="ms",
            reference=1000 * timings.median("plain"),
            ratio=count * timings.ratio("plain", "fast"),
            wanted="10 x",
            floor=1000 * floor,
            share=floor / value,
            note=f"real-time factor {value * SAMPLE_RATE / CHUNK:.2f}, "
            f"a key waits for {summary.lookahead_ms:g} ms of EMG",
        )


def fast(reader: Reader, count: int) -> Callable[[], object]:
    """Return what reads the next chunks of a session without end."""
    stream = reader.stream()
    stream.push(emg_of(2 * SAMPLE_RATE))
    chunks = np.split(emg_of(count * CHUNK), count)
    return lambda: [stream.push(chunk) for chunk in chunks]


def plain(model: Network) -> Callable[[], object]:
    """Return what reads the last 4 s once."""
    window = torch.from_numpy(emg_of(4 * SAMPLE_RATE)).permute(1, 2, 0)[None].contiguous()

    @torch.inference_mode()
    def read() -> object:
        return model(model.spectrogram(window))

    return read


def check_alike(reader: Reader) -> None:
    """Make sure that a stream reads what one pass does."""
    emg = emg_of(3 * SAMPLE_RATE)
    stream = reader.stream()
    for low in range(0, len(emg), CHUNK):
        stream.push(emg[low : low + CHUNK])
    stream.finish()
    assert stream.text == reader(emg, one_pass=True)


def emg_of(samples: int) -> np.ndarray:
    """Return (S, 2, 16) noise."""
    return np.random.default_rng(0).normal(size=(samples, 2, 16)).astype(np.float32)
