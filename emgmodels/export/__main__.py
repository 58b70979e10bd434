"""Writes a trained model to a file for others.

python -m emgmodels.export runs/deep-001/checkpoints/BEST.pt --to torch
python -m emgmodels.export BEST.pt --to onnx --out decoder.onnx
python -m emgmodels.export BASELINE.pt --to emg2qwerty
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emgmodels.command import ALLOW_CODE, CommandLine
from emgmodels.saying import echo

if TYPE_CHECKING:
    from emgmodels.reading.reader import Reader

app = CommandLine()


class Target(enum.StrEnum):
    """What to write."""

    TORCH = "torch"
    ONNX = "onnx"
    EMG2QWERTY = "emg2qwerty"
    FOLDER = "folder"


@app.command(
    epilog="Examples:\n\npython -m emgmodels.export runs/a/checkpoints/BEST.pt --to torch\n\n"
    "python -m emgmodels.export BASELINE.pt --to emg2qwerty --out baseline.ckpt"
)
def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(help="Checkpoint or exported model, or a run folder: its best."),
    ],
    to: Annotated[Target, typer.Option(help="What to write.")],
    out: Annotated[
        Path | None, typer.Option(help="What to write to; default: beside the checkpoint.")
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option("--license", help="Of a folder: licence of the weights, such as cc-by-4.0."),
    ] = None,
    allow_code: Annotated[bool, typer.Option("--allow-code", help=ALLOW_CODE)] = False,
) -> None:
    """Write a trained model to a file of its own, with the weights of its best epoch.

    torch: weights and all that is needed to use them, for emgmodels.load.
    onnx: one graph from EMG to log-probabilities, described in its metadata.
    emg2qwerty: a Lightning checkpoint for its TDS convolution module.
    folder: to share: weights as safetensors, a model card for people, the configuration.
    """
    from emgmodels.checkpoints.emg2qwerty import settings_there
    from emgmodels.checkpoints.loading import find_model, load
    from emgmodels.export.targets import TARGETS
    from emgmodels.outputs import check_output

    run, checkpoint = checkpoint, find_model(checkpoint)
    if to is Target.FOLDER:
        from emgmodels.export.folder import export_folder

        name = run.absolute().name if run.is_dir() else checkpoint.stem
        place = out or (run if run.is_dir() else checkpoint).absolute().with_name(f"{name}-shared")
        reader = export_folder(checkpoint, place, licence, allow_code=allow_code)
        echo(f"{place}: {_describe(reader)}")
        return
    if licence is not None:
        raise ValueError("--license stands in a model card: take --to folder")
    suffix, write, mark = TARGETS[to]
    path = out or checkpoint.with_name(checkpoint.stem + suffix)
    check_output(path, mark, [checkpoint])
    reader = load(checkpoint, allow_code=allow_code)
    write(reader, path)
    echo(f"{path}: {_describe(reader)}, {path.stat().st_size / 1e6:.1f} MB")
    if to is Target.EMG2QWERTY:
        for setting in settings_there(reader.model):
            echo(f"note: {setting}")


def _describe(reader: Reader) -> str:
    """Return architecture and error rate in a line."""
    from emgmodels.notation import notation

    origin, text = reader.origin, notation(reader.config.model)
    if origin.val_cer is None:
        return text
    on = f" on {', '.join(origin.val)}" if origin.val else ""
    return f"{text}, validation CER {origin.val_cer:.2f} %{on} at epoch {origin.epoch}"


if __name__ == "__main__":
    app(prog_name="python -m emgmodels.export")
