"""Writes a trained model to a file for others.

python -m emgmodels.export runs/deep-001/checkpoints/BEST.pt --to torch
python -m emgmodels.export BEST.pt --to onnx --out decoder.onnx
python -m emgmodels.export BASELINE.pt --to emg2qwerty
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from emgmodels.export.emg2qwerty import settings_there
from emgmodels.export.files import write_emg2qwerty, write_torch
from emgmodels.export.onnx import write_onnx
from emgmodels.factory import notation
from emgmodels.reader import Reader, load

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Target(enum.StrEnum):
    """What to write."""

    TORCH = "torch"
    ONNX = "onnx"
    EMG2QWERTY = "emg2qwerty"


TARGETS = {
    Target.TORCH: ("-model.pt", write_torch),
    Target.ONNX: (".onnx", write_onnx),
    Target.EMG2QWERTY: ("-emg2qwerty.ckpt", write_emg2qwerty),
}
"""End of the file's name, and what writes it."""


@app.command(
    epilog="Examples:\n\npython -m emgmodels.export runs/a/checkpoints/BEST.pt --to torch\n\n"
    "python -m emgmodels.export BASELINE.pt --to emg2qwerty --out baseline.ckpt"
)
def export(
    checkpoint: Annotated[
        Path, typer.Argument(help="Checkpoint of a training or a search, or an exported model.")
    ],
    to: Annotated[Target, typer.Option(help="What to write.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write; default: beside the checkpoint.")
    ] = None,
) -> None:
    """Write a trained model to a file of its own, with the weights of its best epoch.

    torch: weights and all that is needed to use them, for emgmodels.load.
    onnx: one graph from EMG to log-probabilities, described in its metadata.
    emg2qwerty: a Lightning checkpoint for its TDS convolution module.
    """
    try:
        reader = load(checkpoint)
        suffix, write = TARGETS[to]
        path = out or checkpoint.with_name(checkpoint.stem + suffix)
        if path.exists() and path.samefile(checkpoint):
            raise ValueError(f"{path}: is the checkpoint itself: name another file with --out")
        write(reader, path)
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(f"{path}: {_describe(reader)}, {path.stat().st_size / 1e6:.1f} MB")
    if to is Target.EMG2QWERTY:
        for setting in settings_there(reader.model):
            typer.echo(f"note: {setting}")


def _describe(reader: Reader) -> str:
    """Return architecture and error rate in a line."""
    origin, text = reader.origin, notation(reader.config.model)
    if origin.val_cer is None:
        return text
    on = f" on {', '.join(origin.val)}" if origin.val else ""
    return f"{text}, validation CER {origin.val_cer:.2f} %{on} at epoch {origin.epoch}"


if __name__ == "__main__":
    app(prog_name="python -m emgmodels.export")
