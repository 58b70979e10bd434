"""Runs benchmarks and prints each figure beside its reference.

python -m benchmarks list
python -m benchmarks run                          # all of them
python -m benchmarks run windows --json out.json
python -m benchmarks run --record                 # also into benchmarks/README.md
"""

from __future__ import annotations

import os
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from benchmarks import registry, results
from benchmarks.measure import Scope
from emgmodels.command import CommandLine
from emgmodels.compute.allocator import keep_freed_memory


class Clock(StrEnum):
    """What seconds are counted by."""

    wall = "wall"
    cpu = "cpu"


CLOCKS = {Clock.wall: time.perf_counter, Clock.cpu: time.process_time}

app = CommandLine(
    no_args_is_help=True,
    epilog="Examples:\n\npython -m benchmarks list\n\n"
    "python -m benchmarks run windows --json out.json",
)


@app.command("list")
def list_benchmarks() -> None:
    """List the benchmarks."""
    for name in registry.BENCHMARKS:
        typer.echo(f"{name:16} {registry.summary(name)}")


@app.command()
def run(
    names: Annotated[list[str] | None, typer.Argument(help="Which ones; default: all.")] = None,
    json: Annotated[Path | None, typer.Option(help="File to write the results to.")] = None,
    record: Annotated[bool, typer.Option(help="Note the results in benchmarks/README.md.")] = False,
    short: Annotated[
        bool, typer.Option(help="Small inputs, once: checks that results agree, times nothing.")
    ] = False,
    repeats: Annotated[int, typer.Option(min=1, help="Turns of each comparison.")] = 5,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Torch threads; default: cores.")
    ] = None,
    clock: Annotated[
        Clock, typer.Option(help="cpu: this process's own time, where others use the machine.")
    ] = Clock.wall,
) -> None:
    """Run benchmarks.

    Example: python -m benchmarks run windows training_step --threads 2 --json out.json
    """
    console = Console(highlight=False)
    chosen = registry.find(names or [])
    if short and record:
        raise ValueError("--record: a short run measures nothing: leave out --short")
    scope = Scope(short, repeats, threads or os.cpu_count() or 1, CLOCKS[clock])
    torch.set_num_threads(scope.threads)
    if not short:
        keep_freed_memory()  # as every training process does
    setting = {**results.describe_setting(scope), "clock": clock.value}
    console.print(results.setting_line(setting))
    found: dict[str, results.Entry] = {}
    for name in chosen:
        figures = list(registry.runner(name)(scope))
        found[name] = results.Entry(setting, tuple(figures))
        console.print(results.table(name, figures))
        if record:
            results.record({name: found[name]})
    if json is not None:
        results.write_json(json, found)


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
