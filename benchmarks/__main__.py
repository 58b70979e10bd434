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
from benchmarks.gpu_check import ITEMS
from benchmarks.gpu_check.runner import run_check
from benchmarks.gpu_check.wheels import collect
from benchmarks.measure import Scope
from emgmodels.command import CommandLine
from emgmodels.compute.allocator import keep_freed_memory
from emgmodels.compute.devices import find_device


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
    venvs: Annotated[
        Path | None,
        typer.Option(help="searchers: install other libraries into environments here, and play."),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(help="searchers_live: keep trainings here; what was killed goes on."),
    ] = None,
) -> None:
    """Run benchmarks.

    Example: python -m benchmarks run windows training_step --threads 2 --json out.json
    """
    console = Console(highlight=False)
    chosen = registry.find(names or [])
    if short and record:
        raise ValueError("--record: a short run measures nothing: leave out --short")
    scope = Scope(
        short,
        repeats,
        threads or os.cpu_count() or 1,
        CLOCKS[clock],
        venvs.absolute() if venvs else None,
        results.FOLDER if record else None,
        keep.absolute() if keep else None,
    )
    torch.set_num_threads(scope.threads)
    if not short:
        keep_freed_memory()  # as every training process does
    setting = {**results.describe_setting(), "threads": scope.threads, "clock": clock.value}
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


@app.command("gpu-check")
def gpu_check(
    names: Annotated[
        list[str] | None, typer.Argument(help=f"Which of {', '.join(ITEMS)}; default: all.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="For all of it.")] = 8.0,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("gpu-check"),
    search: Annotated[
        bool, typer.Option(help="Also search 16 trials with Ray, kill it and resume it.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cuda, cuda:1, cpu; default: the GPU.")] = None,
    short: Annotated[
        bool, typer.Option(help="Small inputs, once: tries the check itself, also on a CPU.")
    ] = False,
    wheels: Annotated[
        Path | None,
        typer.Option(help="Run nothing: collect what a bare machine needs into this folder."),
    ] = None,
    python: Annotated[str, typer.Option(help="That machine's Python, for --wheels.")] = "3.12",
) -> None:
    """Find out in minutes what a GPU does with this project: right, how fast, how many at once.

    Needs no Ray, no Optuna, no network and no installation of the project: see docs/gpu.md.

    Example: python -m benchmarks gpu-check --minutes 8 --out gpu-check
    """
    console = Console(highlight=False)
    if wheels is not None:
        collect(wheels, python, search=search, console=console)
        return
    for name in names or []:
        if name not in ITEMS:
            raise ValueError(f"{name}: is no item: take some of {', '.join(ITEMS)}")
    chosen = find_device(device)
    if chosen.type == "cpu" and not short:
        raise ValueError("no GPU is found here: add --short to try the check itself on the CPU")
    found = run_check(
        minutes,
        out,
        names=names or [],
        device=str(chosen),
        short=short,
        search=search,
        console=console,
    )
    console.print(f"In {out}: gpu-check.json, gpu-check.txt, profiles")
    bad = [name for name, outcome in found.items() if not outcome.is_good]
    if bad:
        console.print(f"Not all went well: {', '.join(bad)}")
        raise typer.Exit(1)


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
