"""Plays a session to a stream, and says what that took."""

from __future__ import annotations

import time

import numpy as np
import typer

from emgmodels.charset import encode
from emgmodels.config import SAMPLE_RATE
from emgmodels.metrics import count_edits
from emgmodels.reading.stream import Stream
from emgmodels.saying import counted
from emgmodels.sessions import Session


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


def summary(
    live: Stream, session: Session, took: list[float], samples: int, chunk_ms: float
) -> str:
    """Return what playing came to: keys, CER, time a chunk, and how long a key waits."""
    labels = session.labels()
    played = (labels.start >= session.time[0]) & (labels.start <= session.time[samples - 1])
    edits = count_edits(encode(live.text), labels.label[played].tolist())
    median, slowest = np.quantile(took, [0.5, 0.99]) * 1000
    return (
        f"{counted(len(live.text), 'key')} in {samples / SAMPLE_RATE:.1f} s, CER {edits.cer:.1f} "
        f"%. "
        f"A chunk of {chunk_ms:g} ms takes {median:.1f} ms to read, 99 % at most {slowest:.1f} ms "
        f"(real-time factor {sum(took) * SAMPLE_RATE / samples:.2f}). A frame is read once "
        f"{live.latency_ms:g} ms of EMG from its beginning are there."
    )


def _say(text: str) -> None:
    if text:
        typer.echo(text, nl=False)
