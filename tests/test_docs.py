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
from benchmarks.results import STORE, read_json
from emgmodels.checkpoints.exported import write_torch
from emgmodels.config import Config
from emgmodels.factory import build
from emgmodels.notation import parse_notation
from emgmodels.reading.reader import Origin, Reader
from emgmodels.sessions import read_session, write_session
from search.results.folder import RunFolder
from search.results.growing_tables import CURVE_METRICS
from search.results.record import COMPLETE, TrialRecord
from search.results.session_files import SETS
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
    session = tmp_path / "session.hdf5"
    write_session(session, make_session(seconds=6))
    folder.write_environment({"split": {subset: [str(session)] for subset in SETS}})
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_run(page, run_folder):
    names: dict[str, object] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        for code in blocks(page, "python"):
            example = compile(code, str(page), "exec")
            if '"DIR"' not in code:  # which stands for the reader's own data
                exec(example, names)


def test_the_session_file_that_is_written_by_hand_is_read(run_folder):
    names: dict[str, object] = {}
    for code in blocks(ROOT / "docs" / "data.md", "python"):
        exec(compile(code, "data.md", "exec"), names)
    written = read_session("mine/2026-01-05-morning.hdf5")
    by_hand = read_session("mine/2026-01-05-noon.hdf5")
    assert (by_hand.emg == written.emg).all()
    assert (by_hand.time == written.time).all()
    assert (by_hand.name, by_hand.user) == ("2026-01-05-noon", "anna")
    assert [key.key for key in by_hand.keystrokes] == ["a"]


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


BUILT = """
import sys
import numpy as np
from typer.testing import CliRunner
from emgmodels.network.show import app
from search.space import load_space
from search.space.draws import RandomDraw

done = CliRunner().invoke(app, sys.argv[1:])
print(done.exit_code, done.output)
space, rng = load_space("gated.yaml"), np.random.default_rng(0)
assert space.check(samples=5).share == 1
print({space.suggest(RandomDraw(rng)).model.encoder.order for _ in range(20)})
"""


def test_the_stage_of_the_worked_example_is_built_and_searched(extended):
    *_, space = blocks(ROOT / "docs" / "extend.md", "yaml")
    (extended / "gated.yaml").write_text(space)
    found = run_in(extended, sys.executable, "-c", BUILT, "gated:2 gru:1 @16ch")
    assert found.returncode == 0, found.stderr
    assert re.search(r"gated .*500 x 768", found.stdout)
    assert "('gated', 'recurrent')" in found.stdout
    assert "('recurrent', 'gated')" in found.stdout


REPLAYS = """
import json, sys
from typer.testing import CliRunner
from search.engine.schedulers import make_scheduler
from search.simulate.__main__ import app
from search.space import load_space

def replay(*words):
    done = CliRunner().invoke(app, [*words, "--repeats", "5", "--trials", "8"])
    print(done.exit_code, done.output)

margin, own, patience = json.loads(sys.argv[1])
replay(*margin)
replay(*own)
replay(*patience, "--scheduler", "asha")
for wrong in ("{name: asha, patience: 0}", "{name: median, patience: 2}"):
    replay("curves.csv", "--scheduler", wrong)
space = load_space("space.yaml")
chosen = space.search.scheduler
scheduler = make_scheduler(chosen.name, max_epochs=50, **chosen.options)
print("patience", scheduler.halving.patience, space.resolved()["search"]["scheduler"])
"""


def test_schedulers_and_the_option_of_the_worked_example_are_replayed(extended):
    rows = ["run,epoch,val_cer,val_loss"]
    for run in range(10):
        rows += [f"{run},{e},{(6 + run) * 10 / e},{(6 + run) / e}" for e in range(1, 13)]
    (extended / "curves.csv").write_text("\n".join(rows))
    _, own = blocks(ROOT / "docs" / "extend.md", "python")
    (extended / "my_search.py").write_text(own)
    (extended / "space.yaml").write_text("search: {scheduler: {name: asha, patience: 2}}")
    page = commands(ROOT / "docs" / "extend.md")
    which = ("margin", "my_search.py:Margin", "{name: asha, patience: 2}")
    lines = [line[3:] for name in which for line in page if name in line]
    done = run_in(extended, sys.executable, "-c", REPLAYS, json.dumps(lines))
    assert done.returncode == 0, done.stderr
    for said in (
        *("\nmargin grace 3", "\nmy_search.py:Margin grace 3"),
        *("asha grace 3 eta 3 by both patience 2 ", "asha grace 3 eta 3 by both  "),
        *("error: scheduler 'asha': patience: ", "'median' has no option 'patience'"),
        *("patience 2 {'name': 'asha',", "'patience': 2}"),
    ):
        assert said in done.stdout, done.stdout
    trained = re.findall(r"^\S*(?:margin|Margin) grace 3.*?([\d.]+) %", done.stdout, re.M)
    assert len(trained) == 2
    assert all(float(share) < 80 for share in trained)


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


def test_figures_of_readme_are_those_that_benchmarks_recorded():
    """The two columns of a row are the reference and the value of a figure, on the day it names."""
    readme = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| (.*) \| (.*) \| (.*) \| .*benchmarks/README.md#(\w+)", readme, re.M)
    assert rows
    stored = read_json(STORE)
    for what, reference, value, name in rows:
        found = {
            (f"{figure.reference:.3g} {figure.unit}", f"{figure.value:.3g} {figure.unit}")
            for figure in stored[name].figures
            if figure.reference is not None
        }
        assert (reference, value) in found, what
        assert stored[name].setting["date"] in what
