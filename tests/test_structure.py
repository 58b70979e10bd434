"""The house: which room may know which, and what reading a run folder must not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MOST_ROOMS, MOST_FLOORS = 12, 6
USES_RAY = ("search.engine", "search.run", "search.simulate")
"""Rooms that may import Ray."""


@cache
def modules() -> dict[str, Path]:
    """Return every module of the two packages by its dotted name."""
    found = {}
    for package in ("emgmodels", "search"):
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path) -> Iterator[str]:
    """Yield what a file imports, inside functions too: a lazy import is an arrow like others."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules() else node.module or ""


@cache
def arrows() -> dict[str, set[str]]:
    """Return the modules of the project that each module imports."""
    return {
        name: {target for target in imported(path) if target in modules() and target != name}
        for name, path in modules().items()
    }


def room(module: str) -> str:
    """Return the part of a package that a module stands in: ``search.engine``."""
    return ".".join(module.split(".")[:2])


def rooms(package: str) -> dict[str, set[str]]:
    """Return the rooms of a package, and which others each imports; its entrances are none."""
    entrances = (package, f"{package}.__main__")
    found: dict[str, set[str]] = {}
    for module, targets in arrows().items():
        if module.startswith(f"{package}.") and module not in entrances:
            inside = {room(target) for target in targets if target.startswith(f"{package}.")}
            found.setdefault(room(module), set()).update(inside - {room(module)})
    return found


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return a circle of a graph, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_file_imports_itself_in_a_circle():
    assert circle(arrows()) == []


@pytest.mark.parametrize("package", ["emgmodels", "search"])
def test_no_room_imports_itself_in_a_circle(package):
    assert circle(rooms(package)) == []


def test_search_has_few_rooms_on_few_floors():
    graph = rooms("search")
    order = TopologicalSorter(graph)
    order.prepare()
    floors = 0
    while order.is_active():
        ready = order.get_ready()
        order.done(*ready)
        floors += 1
    assert len(graph) <= MOST_ROOMS, sorted(graph)
    assert floors <= MOST_FLOORS


def test_the_model_knows_neither_ray_nor_the_search():
    for name, path in modules().items():
        if name.startswith("emgmodels"):
            roots = {target.split(".")[0] for target in imported(path)}
            assert not roots & {"ray", "search"}, name


def test_ray_is_imported_where_it_is_used():
    for name, path in modules().items():
        if any(target.split(".")[0] == "ray" for target in imported(path)):
            assert room(name) in USES_RAY, name


@pytest.mark.parametrize("room", ["report", "evaluate", "runs", "results", "storage"])
def test_reading_a_run_folder_reaches_no_module_that_imports_ray(room):
    """Inside functions neither; tests/search/test_without_ray.py runs the commands without it."""
    reached, ahead = set(), {name for name in modules() if f"{name}.".startswith(f"search.{room}.")}
    while ahead:
        reached |= ahead
        ahead = set().union(*(arrows()[name] for name in ahead)) - reached
    for name in reached:
        assert "ray" not in {target.split(".")[0] for target in imported(modules()[name])}, name


READING = {
    "search.report.__main__": ("ray", "torch"),
    "search.evaluate.__main__": ("ray",),
    "search.runs": ("ray", "torch", "optuna", "matplotlib"),
    "search.results": ("ray", "torch"),
    "search.results.folder": ("ray", "torch"),
    "search.space": ("ray", "torch"),
}
"""What reads, and what it must not load."""


@pytest.mark.parametrize("module", READING)
def test_reading_does_not_load_what_searches(module):
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(READING[module]) & set(done.stdout.split())


COMMANDS = (
    *("search", "search.run", "search.runs", "search.report", "search.evaluate", "search.people"),
    *("search.simulate", "search.space", "search.storage", "emgmodels.sessions"),
    *("emgmodels.windows", "emgmodels.training", "emgmodels.factory", "emgmodels.synthetic"),
    *("emgmodels.export", "emgmodels.stream", "emgmodels.language"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_neither_pytorch_nor_ray(command):
    """What it loads shows what it costs: processor time itself is too noisy for a test."""
    program = [sys.executable, "-X", "importtime", "-m", command, "--help"]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "Usage" in done.stdout
    assert not {"torch", "ray", "optuna", "matplotlib"} & loaded


def test_no_two_test_modules_share_a_name():
    """pytest imports a test module under its bare name: of two alike it refuses the second."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]

    assert sorted(names) == sorted(set(names))


SCREEN, MODULE = 50, 400
"""Lines of a function without its signature and docstring, and of a module, at most."""


def sources() -> list[Path]:
    """Return every Python file of the project."""
    folders = ("emgmodels", "search", "benchmarks", "tests")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def test_a_module_and_a_function_can_be_read_at_once():
    long = []
    for path in sources():
        text = path.read_text(encoding="utf-8")
        if (lines := len(text.splitlines())) > MODULE:
            long.append(f"{path.relative_to(ROOT)}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[ast.get_docstring(node) is not None :] or node.body
                if (lines := node.end_lineno - body[0].lineno + 1) > SCREEN:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines}")

    assert long == []
