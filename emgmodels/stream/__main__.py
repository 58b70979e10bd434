"""Plays a session file as if it were being recorded, and prints what a model reads in it.

python -m emgmodels.stream BEST.pt session.hdf5
python -m emgmodels.stream BEST.pt session.hdf5 --chunk-ms 20 --fast
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from emgmodels.charset import encode
from emgmodels.checkpoints.loading import load
from emgmodels.command import CommandLine
from emgmodels.config import SAMPLE_RATE
from emgmodels.metrics import count_edits
from emgmodels.reading.stream import Stream
from emgmodels.sessions import Session, read_session
from emgmodels.windows.cut import milliseconds

app = CommandLine()


@app.command(
    epilog="Examples:\n\npython -m emgmodels.stream BEST.pt session.hdf5\n\n"
    "python -m emgmodels.stream BEST.pt session.hdf5 --chunk-ms 20 --fast"
)
def stream(
    checkpoint: Annotated[Path, typer.Argument(help="A model that emgmodels.load reads.")],
    session: Annotated[Path, typer.Argument(help="Session file (.hdf5).")],
    chunk_ms: Annotated[float, typer.Option(min=0.5, help="EMG that arrives at once (ms).")] = 50,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="How much of the session to play (s).")
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Don't wait for the time to pass.")] = False,
    threads: Annotated[int, typer.Option(min=1, max=4096, help="Threads to compute with.")] = 1,
) -> None:
    """Play a session and print its text as it is read.

    What it took is said at the end: how long a chunk takes to read, how long
    a key waits for the EMG after it, and the CER. Models that read a window
    from its end, or attend to all of it, are refused.
    """
    reader = load(checkpoint)
    played = read_session(session)
    live = reader.stream(played.scale)
    torch.set_num_threads(threads)
    samples = len(played.emg) if seconds is None else round(seconds * SAMPLE_RATE)
    took = play(live, played.emg[:samples], milliseconds(chunk_ms), fast=fast)
    typer.echo("")
    typer.echo(_summary(live, played, took, min(samples, len(played.emg)), chunk_ms), err=True)


def play(live: Stream, emg: np.ndarray, chunk: int, *, fast: bool) -> list[float]:
    """Feed EMG to a stream in chunks, print the text, and return what each chunk took (s).

    Args:
        live: the stream.
        emg: (S, 2, 16) samples.
        chunk: samples of a chunk.
        fast: don't wait for the time at which a chunk would have arrived.
    """
    took = []
    start = time.perf_counter()
    for low in range(0, len(emg), chunk):
        part = emg[low : low + chunk]
        if not fast:
            due = start + (low + len(part)) / SAMPLE_RATE
            time.sleep(max(0.0, due - time.perf_counter()))
        begin = time.perf_counter()
        new = live.push(part)
        took.append(time.perf_counter() - begin)
        _say(new)
    _say(live.finish())
    return took


def _summary(
    live: Stream, session: Session, took: list[float], samples: int, chunk_ms: float
) -> str:
    labels = session.labels()
    played = (labels.start >= session.time[0]) & (labels.start <= session.time[samples - 1])
    edits = count_edits(encode(live.text), labels.label[played].tolist())
    median, slowest = np.quantile(took, [0.5, 0.99]) * 1000
    return (
        f"{len(live.text)} keys in {samples / SAMPLE_RATE:.1f} s, CER {edits.cer:.1f} %. "
        f"A chunk of {chunk_ms:g} ms takes {median:.1f} ms to read, 99 % at most {slowest:.1f} ms "
        f"(real-time factor {sum(took) * SAMPLE_RATE / samples:.2f}); a key waits for "
        f"{live.latency_ms:g} ms of EMG from its frame's beginning."
    )


def _say(text: str) -> None:
    if text:
        typer.echo(text, nl=False)


if __name__ == "__main__":
    app(prog_name="python -m emgmodels.stream")
