"""Plays a session file as if it were being recorded, and prints what a model reads in it.

python -m emgmodels.stream BEST.pt session.hdf5
python -m emgmodels.stream BEST.pt session.hdf5 --chunk-ms 20 --fast
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from emgmodels.command import ALLOW_CODE, CommandLine
from emgmodels.saying import echo

app = CommandLine()


@app.command(
    epilog="Examples:\n\npython -m emgmodels.stream BEST.pt session.hdf5\n\n"
    "python -m emgmodels.stream BEST.pt session.hdf5 --chunk-ms 20 --fast"
)
def stream(
    checkpoint: Annotated[
        Path, typer.Argument(help="A model, or the run folder of a search: its best.")
    ],
    session: Annotated[Path, typer.Argument(help="Session file (.hdf5).")],
    chunk_ms: Annotated[float, typer.Option(min=0.5, help="EMG that arrives at once (ms).")] = 50,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="How much of the session to play (s).")
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Don't wait for the time to pass.")] = False,
    adapt: Annotated[
        Literal["norm"] | None,
        typer.Option(help="norm: its statistics follow the session, by the EMG that has arrived."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=4096, help="Threads to compute with.")] = 1,
    allow_code: Annotated[bool, typer.Option("--allow-code", help=ALLOW_CODE)] = False,
) -> None:
    """Play a session and print its text as it is read.

    What it took is said at the end: how long a chunk takes to read, how long
    a key waits for the EMG after it, and the CER. Models that read a window
    from its end, or attend to all of it, are refused.
    """
    import torch

    from emgmodels.checkpoints.loading import load
    from emgmodels.config import SAMPLE_RATE
    from emgmodels.sessions import read_session
    from emgmodels.stream.playing import play, summary
    from emgmodels.windows.cut import milliseconds

    reader = load(checkpoint, allow_code=allow_code)
    played = read_session(session)
    live = reader.stream(played.scale, adapts=adapt is not None)
    torch.set_num_threads(threads)
    samples = len(played.emg) if seconds is None else round(seconds * SAMPLE_RATE)
    took = play(live, played.emg[:samples], milliseconds(chunk_ms), fast=fast)
    typer.echo("")
    echo(summary(live, played, took, min(samples, len(played.emg)), chunk_ms), err=True)


if __name__ == "__main__":
    app(prog_name="python -m emgmodels.stream")
