"""The documentation holds: its examples run, its links lead somewhere, its reference is current."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from conftest import make_session
from typer.testing import CliRunner

from benchmarks.pictures import RECORD, captioned
from emgmodels.checkpoints.exported import write_torch
from emgmodels.config import Config
from emgmodels.factory import build
from emgmodels.notation import parse_notation
from emgmodels.reading.reader import Origin, Reader
from emgmodels.sessions import write_session
from search.results.folder import RunFolder
from search.results.growing_tables import CURVE_METRICS
from search.results.record import COMPLETE, TrialRecord
from search.space import load_space
from search.space.__main__ import app as space_app
from search.space.reference import updated

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, *languages: str) -> list[str]:
    """Return the code blocks of a page in these languages, without the indentation of a list."""
    fenced = re.findall(r"^( *)```(\w*)\n(.*?)^\1```$", page.read_text(), re.S | re.M)
    return [
        re.sub(rf"^{indent}", "", code, flags=re.M)
        for indent, language, code in fenced
        if language in languages
    ]


def commands(page: Path) -> list[list[str]]:
    """Return the words of each ``python -m`` line in a page."""
    lines = [line for block in blocks(page, "bash", "") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("python -m ")]


@pytest.fixture
def run_folder(tmp_path, monkeypatch) -> Path:
    """A working folder with ``runs/deep-001``, a session and ``spaces``, as examples expect."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spaces").symlink_to(ROOT / "spaces")
    folder = RunFolder.create(tmp_path / "runs", "deep")
    folder.write_space(load_space(ROOT / "spaces" / "deep.yaml").resolved())
    trial = TrialRecord(0, Config(), COMPLETE)
    trial.add({"epoch": 1, **dict.fromkeys(CURVE_METRICS, 12.5)})
    folder.trials[0] = trial
    folder.flush()
    live = Config(model=parse_notation("gru:1(hidden=8,bidirectional=false) mlp:8 hop:64 @16ch"))
    reader = Reader(live, build(live.model), Origin())
    write_torch(reader, folder.path / "checkpoints" / "BEST.pt")
    write_session(tmp_path / "session.hdf5", make_session(seconds=6))
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_run(page, run_folder):
    names: dict[str, object] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        for code in blocks(page, "python"):
            example = compile(code, str(page), "exec")
            if '"DIR"' not in code:  # which stands for the reader's own data
                exec(example, names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_their_options_exist(page):
    for _, _, module, *rest in commands(page):
        with contextlib.suppress(ModuleNotFoundError):
            module = importlib.import_module(f"{module}.__main__").__name__
        app = getattr(importlib.import_module(module), "app", None)
        if app is None:
            continue
        command = typer.main.get_command(app)
        if subcommands := getattr(command, "commands", None):
            command = subcommands[rest.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known, (page.name, rest)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_are_there(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_pictures_are_small():
    for picture in (ROOT / "docs" / "images").glob("*.png"):
        assert picture.stat().st_size < 300_000, picture.name


def test_pictures_are_of_one_search_and_captioned_by_its_numbers():
    """``make pictures`` draws them, and writes both the record and the README's block."""
    facts = json.loads(RECORD.read_text())
    hashes = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (ROOT / "docs" / "images").glob("*.png")
    }
    assert facts["pictures"] == hashes
    readme = (ROOT / "README.md").read_text()
    assert captioned(readme, facts) == readme
    assert captioned(readme, {**facts, "epochs": facts["epochs"] + 1}) != readme
    shown = "".join(page.read_text() for page in PAGES)
    assert set(re.findall(r"images/([\w-]+\.png)", shown)) == set(hashes)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_spaces_load_and_can_be_trained(page, tmp_path):
    for code in blocks(page, "yaml"):
        if "model:" not in code or page.name == "extend.md":
            continue
        path = tmp_path / "space.yaml"
        path.write_text(code)
        assert load_space(path).check(samples=20).feasible


def test_reference_of_the_space_file_is_current():
    page = ROOT / "docs" / "space.md"
    assert updated(page.read_text()) == page.read_text(), (
        "run: python -m search.space --write docs/space.md"
    )


def test_reference_is_written_into_a_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- keys: begin -->\nas it was\n<!-- keys: end -->\nafter\n")
    assert CliRunner().invoke(space_app, ["--write", str(page)]).exit_code == 0
    written = page.read_text()
    assert written.startswith("before\n")
    assert written.endswith("\nafter\n")
    assert "| `learning_rate` | number above 0, at most 1 | `0.001` |" in written
    assert "as it was" not in written
    page.write_text("no marks")
    refused = CliRunner().invoke(space_app, ["--write", str(page)])
    assert refused.exit_code == 2
    assert "page.md: the page holds no <!-- keys: begin -->" in refused.stderr


@pytest.fixture(scope="module")
def extended(tmp_path_factory) -> Path:
    """The project with the worked examples applied."""
    folder = tmp_path_factory.mktemp("extended")
    for package in ("emgmodels", "search"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    for number, code in enumerate(blocks(ROOT / "docs" / "extend.md", "diff")):
        (folder / f"{number}.diff").write_text(code)
        applied = run_in(folder, "git", "apply", "--recount", f"{number}.diff")
        assert applied.returncode == 0, applied.stderr
    return folder


def run_in(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def test_the_stage_of_the_worked_example_is_built_and_searched(extended):
    line = "gated:2 gru:1 @16ch"
    built = run_in(extended, sys.executable, "-m", "emgmodels.factory", line)
    assert built.returncode == 0, built.stderr
    assert re.search(r"gated .*500 x 768", built.stdout)
    *_, space = blocks(ROOT / "docs" / "extend.md", "yaml")
    (extended / "gated.yaml").write_text(space)
    program = (
        "import numpy as np; from search.space import load_space\n"
        "from search.space.draws import RandomDraw\n"
        "space, rng = load_space('gated.yaml'), np.random.default_rng(0)\n"
        "assert space.check(samples=5).share == 1\n"
        "print({space.suggest(RandomDraw(rng)).model.encoder.order for _ in range(20)})"
    )
    found = run_in(extended, sys.executable, "-c", program)
    assert found.returncode == 0, found.stderr
    assert "('gated', 'recurrent')" in found.stdout
    assert "('recurrent', 'gated')" in found.stdout


@pytest.mark.parametrize("which", ["margin", "my_search.py:Margin"])
def test_the_scheduler_of_the_worked_example_is_replayed(extended, which):
    rows = ["run,epoch,val_cer,val_loss"]
    for run in range(10):
        rows += [f"{run},{e},{(6 + run) * 10 / e},{(6 + run) / e}" for e in range(1, 13)]
    (extended / "curves.csv").write_text("\n".join(rows))
    _, own = blocks(ROOT / "docs" / "extend.md", "python")
    (extended / "my_search.py").write_text(own)
    [line] = [words for words in commands(ROOT / "docs" / "extend.md") if which in words]
    done = run_in(extended, sys.executable, *line[1:], "--repeats", "5", "--trials", "8")
    assert done.returncode == 0, done.stderr
    assert f"{which} grace 3" in done.stdout
    assert float(re.search(r"([\d.]+) %", done.stdout)[1]) < 80


OPTION = """
import sys
from typer.testing import CliRunner
from search.engine.schedulers import make_scheduler
from search.simulate.__main__ import app
from search.space import load_space

def replay(*words):
    done = CliRunner().invoke(app, [*words, "--repeats", "5", "--trials", "8"])
    print(done.exit_code, done.output)

replay(*sys.argv[1:], "--scheduler", "asha")
for wrong in ("{name: asha, patience: 0}", "{name: median, patience: 2}"):
    replay("curves.csv", "--scheduler", wrong)
space = load_space("space.yaml")
chosen = space.search.scheduler
scheduler = make_scheduler(chosen.name, max_epochs=50, **chosen.options)
print("patience", scheduler.halving.patience, space.resolved()["search"]["scheduler"])
"""


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_scheduler_option_of_the_worked_example_is_validated_and_replayed(extended):
    rows = ["run,epoch,val_cer,val_loss"]
    for run in range(10):
        rows += [f"{run},{e},{(6 + run) * 10 / e},{(6 + run) / e}" for e in range(1, 13)]
    (extended / "curves.csv").write_text("\n".join(rows))
    (extended / "space.yaml").write_text("search: {scheduler: {name: asha, patience: 2}}")
    [line] = [words for words in commands(ROOT / "docs" / "extend.md") if "patience" in str(words)]
    done = run_in(extended, sys.executable, "-c", OPTION, *line[3:])
    assert done.returncode == 0, done.stderr
    for said in (
        *("asha grace 3 eta 3 by both patience 2 ", "asha grace 3 eta 3 by both  "),
        *("error: scheduler 'asha': patience: ", "'median' has no option 'patience'"),
        *("patience 2 {'name': 'asha',", "'patience': 2}"),
    ):
        assert said in done.stdout, done.stdout


RANKINGS = """
import sys
from pathlib import Path
from rich.console import Console
from search.report.display.console import trials_table
from search.report.display.ranking import View
from search.report.display.tensorboard import leaderboard
from search.report import files
from search.report.run import read_run
from search.report.tables import ranking
from search.results.folder import RunFolder

path = Path(sys.argv[1])
trials, run, console = RunFolder.open(path).ranking(), read_run(path), Console(width=150)
console.print(trials_table(trials, 150).rich(None))
console.print(ranking(run, run.trials, View.BRIEF).rich("Ranking", 150))
print(leaderboard(trials, "made up"), files._leaderboard(run), files._page(run, {}, []))
print(ranking(run, run.trials, View.FILE).csv())
"""


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_column_of_the_worked_example_stands_in_every_ranking(extended, run_folder):
    run = run_folder / "runs" / "deep-001"
    (run / "environment.json").write_text("{}")
    done = run_in(extended, sys.executable, "-c", RANKINGS, str(run))
    assert done.returncode == 0, done.stderr
    found = re.findall(
        r"(?:┃|\||<th class=\"number\">|,) ?s/epoch ?(┃|\||</th>|$)", done.stdout, re.M
    )
    assert found == ["┃", "┃", "|", "|", "</th>", ""], "console twice, Markdown twice, HTML, CSV"
    assert len(re.findall(r"\b12\.5\b(?! to)", done.stdout)) >= 6


def test_the_readme_is_short_and_has_its_words_first():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 125
    for word in ("session", "trial", "stage", "rung", "CER", "look-ahead"):
        assert f"\n| {word} | " in text
    for author in ("Ayush Agrawal", "Sundaram", "Sivakumar", "Zhirong Lu"):
        assert author in " ".join(text.split())
    prose = re.sub(r"```.*?```|`[^`]*`|report\.html|\[.*?\]|\(docs.*?\)", "", text, flags=re.S)
    called = re.findall(r"\S+\s+report\b", prose)
    assert called
    assert all(" ".join(each.split()) == "technical report" for each in called), called


def test_figures_that_the_readme_compares_are_those_that_were_measured():
    """Each figure of a row stands in the section that the row links to."""
    text = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| .* \| (.*) \| (.*) \| \[.*\]\(([^)#]+)#([^)]+)\) \|$", text, re.M)
    assert len(rows) >= 5
    for *compared, page, anchor in rows:
        sections = re.split(r"^## ", (ROOT / page).read_text(), flags=re.M)
        heads = [re.sub(r"[^\w -]", "", part.partition("\n")[0].lower()) for part in sections]
        section = sections[[head.replace(" ", "-") for head in heads].index(anchor)]
        for figure in re.findall(r"\d+\.\d+", " ".join(compared)):
            assert re.search(rf"(?<![\d.]){re.escape(figure)}(?!\d)", section), (figure, anchor)
