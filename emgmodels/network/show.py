"""Prints what is known of an architecture without training it.

python -m emgmodels.factory "gru:2(hidden=128) conv:4 @16ch"
python -m emgmodels.factory runs/deep-001/best.yaml
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from emgmodels.command import ALLOW_CODE, CommandLine
from emgmodels.saying import say

if TYPE_CHECKING:
    from emgmodels.config import ModelConfig

app = CommandLine()


@app.command(
    epilog='Examples:\n\npython -m emgmodels.factory "gru:2(hidden=128) conv:4 @16ch"\n\n'
    "python -m emgmodels.factory runs/deep-001/best.yaml"
)
def summary(
    architecture: Annotated[
        str,
        typer.Argument(
            help="In the compact notation, or a YAML file of one model, as best.yaml of a run is."
        ),
    ],
    allow_code: Annotated[bool, typer.Option("--allow-code", help=ALLOW_CODE)] = False,
) -> None:
    """Print an architecture's stages, shapes, parameters, operations and look-ahead.

    python -m search.space describes files of many models.
    """
    # Which loads pydantic: --help has no need of it.
    from emgmodels.config import load_config
    from emgmodels.notation import parse_notation
    from emgmodels.own_code import code_allowed
    from emgmodels.paths import local_path

    if architecture.endswith((".yaml", ".yml")):
        with code_allowed(allow_code):
            print_summary(load_config(local_path(architecture)).model)
    else:
        print_summary(parse_notation(architecture))


def print_summary(config: ModelConfig) -> None:
    """Print a table of stages, and what follows from them."""
    from emgmodels.network.summary import describe  # loads PyTorch
    from emgmodels.notation import notation

    found = describe(config)
    table = Table(title=notation(config), title_justify="left")
    for column in ("stage", "input", "output", "parameters"):
        table.add_column(column, justify="right" if column == "parameters" else "left")
    for name, shape, out, parameters in found.stages:
        table.add_row(name, _shape(shape), _shape(out), f"{parameters:,}")
    console = Console()
    console.print(table)
    look = "the whole window" if math.isinf(found.lookahead_ms) else f"{found.lookahead_ms:g} ms"
    say(console, f"parameters              {found.parameters:,}")
    say(console, f"multiply-accumulates    {found.macs_per_second / 1e6:,.1f} M per second of EMG")
    say(console, f"look-ahead              {look}")
    say(console, f"context consumed        {found.context_ms:g} ms")
    say(console, f"frame rate              {found.frame_rate:g} frames a second")


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)
