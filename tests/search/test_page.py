"""The report's page: what it says, and what a reader's browser makes of it."""

from __future__ import annotations

import html
import itertools
import math
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from helpers.browser import browser
from helpers.reports import SPACE, fixed, made_up_curve, make_run

from search.report import files
from search.report.display.chart import Curve, chart
from search.report.display.shared import shared_settings, without
from search.report.page import report_page
from search.report.run import Run, read_run
from search.report.wording import cautions, outcome
from search.results.folder import RunFolder
from search.results.lock import running
from search.results.record import CUT_OFF, RUNNING

TWO = "gru:2(hidden=8) conv:1(channels=4,kernel=5) hop:64 mlp:16 @4ch"
THREE = "conv:2(channels=4,kernel=7) hop:64 mlp:16 @16ch"


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs"), trials=24, fail=(7,))


@pytest.fixture
def copy(path, tmp_path) -> Path:
    return shutil.copytree(path, tmp_path / "made-up-001")


def page_of(run: Path | Run, **more) -> str:
    """Return the page of a run, without figures: fast."""
    run = run if isinstance(run, Run) else read_run(run)
    return report_page(run, {}, (), **more)


def text_of(page: str) -> str:
    """Return what a reader reads of a page."""
    body = page[page.index("<body") :]
    body = re.sub(r"<script>.*?</script>", "", body, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def confirm(path: Path, *cers: float, best: int = 1) -> None:
    """Write what a confirmation of the first trials found; the search's own order is another."""
    ranked = read_run(path).ranked
    rows = []
    for place, cer in enumerate(cers):
        trial = ranked[(place + best) % len(cers)]
        first = place == 0
        rows.append(
            {"rank": place + 1, "trial": trial.number, "architecture": trial.architecture}
            | {"search_cer": trial.val_cer, "trainings": 5, "mean_cer": cer, "sd": 1.0}
            | {"lowest_cer": cer - 1, "highest_cer": cer + 1, "cer_low": cer - 2}
            | {"cer_high": cer + 2, "p_best": 1.0 if first else 0.3}
            | {"apart_low": 0.0, "apart_high": 0.0 if first else 3.0}
        )
    pa.parquet.write_table(pa.Table.from_pylist(rows), path / "confirm.parquet")


# What all trials share


def test_what_all_share_is_named_once_and_no_architecture_is_lost():
    shared = shared_settings([TWO, THREE])
    assert shared == ["hop:64", "mlp:16", "conv(channels=4)"]
    assert without(TWO, shared) == "gru:2(hidden=8) conv:1(kernel=5) @4ch"
    assert without(THREE, shared) == "conv:2(kernel=7) @16ch"
    assert shared_settings([TWO]) == []


def test_a_default_of_some_is_no_setting_that_all_share():
    shared = shared_settings(["conv:1(kernel=5) @4ch", "conv:1 @4ch", "gru:1(hidden=8) @4ch"])
    assert shared == []


def test_rows_do_not_repeat_what_all_trials_share(path):
    page = text_of(page_of(path))
    assert "All trials share mlp:16, hop:64" in page
    assert page.count("hop:64") == 2  # with the ranking, and with all trials
    assert "hop:64" in (path / "trials.csv").read_text()


# What leads, and what is marked


def test_a_confirmed_cer_leads_before_that_of_the_search(copy):
    before = outcome(read_run(copy))
    assert before.startswith("Best: ")
    confirm(copy, 31.0, 32.0)
    run = read_run(copy)
    first = run.confirmed[0]["trial"]
    assert first != run.ranked[0].number
    said = outcome(run)
    assert said.startswith("Best, confirmed: ")
    assert said.index(f"(trial {first:03d})") < said.index("31.00 %")
    assert said.index("31.00 %") < said.index(f"{run.ranked[0].val_cer:.2f} %")
    assert f"Not told apart from it: trial {run.ranked[0].number:03d}" in said
    assert page_of(run).index("31.00") < page_of(run).index(f"{run.ranked[0].val_cer:.2f}")


def test_the_best_has_no_p(copy):
    confirm(copy, 31.0, 32.0)
    page = page_of(copy)
    assert "1.000" not in page
    assert "0.300" in page


def test_a_new_leader_after_a_confirmation_is_said_to_be_unconfirmed(copy):
    confirm(copy, 31.0, 32.0)
    table = pa.parquet.read_table(copy / "confirm.parquet")
    leader = read_run(copy).ranked[0].number
    others = table.filter(pa.compute.not_equal(table["trial"], leader))
    pa.parquet.write_table(others, copy / "confirm.parquet")
    headings = dict(cautions(read_run(copy)))
    assert f"Trial {leader:03d}" in headings["Confirmed before the search went on."]


def put_into_state(path: Path, state: str, count: int = 2) -> None:
    folder = RunFolder.open(path)
    for trial in list(folder.trials.values())[:count]:
        trial.state, trial.ending = state, None
    folder.flush()


def test_what_is_cut_off_is_marked_in_its_row_and_at_the_top(copy):
    put_into_state(copy, CUT_OFF)
    page = page_of(copy)
    assert page.count('<span class="tag">cut off</span>') >= 2
    assert "2 trials were under way when the search ended" in text_of(page)


def test_a_page_tells_trials_that_were_left_out_from_those_asked_for(copy):
    folder = RunFolder.open(copy)
    count = len(folder.trials)
    folder.write_environment(
        {**folder.read_environment(), "trials": count, "trials_asked": count + 7}
    )
    said = text_of(page_of(copy))
    assert f", where {count + 7} were asked for, of " in said
    assert "7 were left out" in said


def test_a_search_that_died_is_not_called_running(copy):
    put_into_state(copy, RUNNING)
    assert "Not running any more." in dict(cautions(read_run(copy)))
    with running(copy):
        assert "Still running." in dict(cautions(read_run(copy)))


def test_only_people_are_compared_with_the_published_figures(tmp_path):
    text = fixed("conv:4 @16ch", "gru:4 conv:4 @16ch")
    pages = {}
    for synthetic in (True, False):
        run = make_run(tmp_path / str(synthetic), text, trials=2, synthetic=synthetic)
        pages[synthetic] = text_of(page_of(run))
    assert "Beside the technical report" not in pages[True]
    assert "Beside the technical report" in pages[False]
    assert "Agrawal, Sundaram, Sivakumar and Lu" in pages[False]


def test_resources_and_times_are_words(path):
    page = text_of(page_of(path))
    assert "1 CPU core" in page
    assert "{'cpus'" not in page
    assert not re.search(r"\d\.\d{3} h", page)


@pytest.mark.parametrize("lacks", ["val_loss", "val_cer"])
@pytest.mark.parametrize("trials", [1, 3])
def test_small_and_half_measured_runs_have_a_report_in_words(lacks, trials, tmp_path):
    def curve(config, rng):
        rows = made_up_curve(config, rng)[:1]
        return [row | {lacks: math.nan} for row in rows]

    path = make_run(
        tmp_path,
        SPACE.replace("epochs: 24", "epochs: 1").split("search:")[0],
        trials=trials,
        curve=curve,
    )
    run = read_run(path)
    plots, notes = files._draw(run)
    assert text_of(report_page(run, {}, notes))
    assert bool(plots) == bool(run.ranked)
    for note in notes:
        assert not re.search(r"zero-size|empty|array|reduction|NoneType|index", note), note


# Learning curves


CURVES = [
    Curve(3, "003 gru:2 @4ch", [(1, 90.0), (2, 40.0), (3, 30.0)], 0),
    Curve(1, "001 <b> @4ch", [(1, 95.0), (2, math.nan), (3, 170.0)], 1),
    Curve(2, "002 one epoch", [(1, 80.0)], 2),
]


def drawn(curves=CURVES, **more) -> str:
    given = {"title": "CER", "label": "CER (%)", "epochs": 3, "ceiling": 105.0} | more
    return chart(curves, **given)


def test_every_curve_is_drawn_with_its_values_and_a_mark():
    svg = drawn()
    points = re.findall(r'class="curve (\w+)".*?data-trial="(\d+)".*?data-points="([^"]*)"', svg)
    assert sorted(points) == [
        ("s1", "3", "1,90.00 2,40.00 3,30.00"),
        ("s2", "1", "1,95.00 3,170.00"),
        ("s3", "2", "1,80.00"),
    ]
    assert len(re.findall(r'<path class="f\d"', svg)) == 3
    assert "&lt;b&gt;" in svg
    assert "<b>" not in svg


def test_no_curve_leaves_the_drawing():
    heights = [float(y) for _, y in re.findall(r"[ML](\d+\.\d) (\d+\.\d)", drawn())]
    assert heights
    assert all(0 <= height <= 420 for height in heights)


def test_nothing_to_draw_is_an_error_in_words():
    with pytest.raises(ValueError, match="no trial has a value"):
        drawn([Curve(0, "x", [(1, math.nan)], 0)])


# In a browser


@pytest.fixture(scope="module")
def driver():
    with browser() as found:
        yield found


@pytest.fixture
def opened(path, driver, tmp_path):
    (tmp_path / "report.html").write_text(page_of(path), encoding="utf-8")
    driver.open((tmp_path / "report.html").as_uri())
    return driver


BOTTOM = "return document.querySelector(arguments[0]).getBoundingClientRect().bottom"
COLUMN = """
const rows = document.querySelectorAll(".beside tbody tr");
return [...rows].map(row => row.cells[arguments[0]].textContent);
"""


def test_ranking_and_curves_are_on_the_first_screen(opened):
    height = opened.run("return innerHeight")
    assert opened.run(BOTTOM, "svg.chart") < height
    assert opened.run(BOTTOM, ".beside tbody tr:nth-child(5)") < height
    assert opened.run("return document.documentElement.scrollWidth <= innerWidth")


def test_a_narrow_screen_has_both_below_each_other(opened):
    size = {"width": 800, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    opened.command("Emulation.setDeviceMetricsOverride", **size)
    try:
        assert opened.run("return document.documentElement.scrollWidth <= innerWidth")
        assert opened.run(BOTTOM, ".beside table") < opened.run(BOTTOM, "svg.chart")
    finally:
        opened.command("Emulation.clearDeviceMetricsOverride")


def test_a_click_on_a_header_sorts_and_another_one_turns_it_round(opened):
    ranks = opened.run(COLUMN, 0)
    trials = opened.run(COLUMN, 1)
    click = "document.querySelectorAll('.beside th button')[1].click()"
    opened.run(click)
    assert opened.run(COLUMN, 1) == sorted(trials)
    opened.run(click)
    assert opened.run(COLUMN, 1) == sorted(trials, reverse=True)
    opened.run("document.querySelectorAll('.beside th button')[0].click()")
    assert opened.run(COLUMN, 0) == ranks
    sort = "return document.querySelector('.beside th').getAttribute('aria-sort')"
    assert opened.run(sort) == "ascending"


def test_parameters_sort_by_their_number_and_not_by_their_digits(opened):
    opened.run("document.querySelectorAll('.beside th button')[4].click()")
    numbers = [int(cell.replace(",", "")) for cell in opened.run(COLUMN, 4)]
    assert numbers == sorted(numbers)


def test_a_pointer_names_the_curve_and_lights_up_its_row(opened, path):
    best = read_run(path).ranked[0]
    where = opened.run(
        "const path = document.querySelector(`.curve.s1`), svg = path.ownerSVGElement;"
        "const last = path.getPointAtLength(path.getTotalLength());"
        "const end = last.matrixTransform(svg.getScreenCTM());"
        "svg.dispatchEvent(new PointerEvent('pointermove', {clientX: end.x, clientY: end.y}));"
        "return document.querySelector('.said').textContent"
    )
    assert best.name in where
    assert f"{best.curve['val_cer'][-1]:.2f} % after epoch {best.epochs}" in where
    lit = opened.run("return document.querySelector('.beside tr.on').dataset.trial")
    assert int(lit) == best.number


def test_arrow_keys_read_curves_without_a_pointer(opened, path):
    said = opened.run(
        "const svg = document.querySelector('svg.chart'); svg.focus();"
        "const press = key => svg.dispatchEvent(new KeyboardEvent('keydown', {key}));"
        "press('ArrowLeft'); press('ArrowLeft');"
        "return document.querySelector('.said').textContent"
    )
    best = read_run(path).ranked[0]
    assert best.name in said
    assert f"after epoch {best.epochs - 1}" in said


CONTRAST = """
const light = text => {
  const parts = text.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255)
    .map(part => part <= .03928 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4);
  return .2126 * parts[0] + .7152 * parts[1] + .0722 * parts[2];
};
const ground = node => {
  for (; node; node = node.parentElement) {
    const found = getComputedStyle(node).backgroundColor;
    if (!/, 0\\)$|transparent/.test(found)) return found;
  }
  return "rgb(255, 255, 255)";
};
const found = [];
for (const node of document.querySelectorAll("main *")) {
  const own = [...node.childNodes].some(each => each.nodeType === 3 && each.data.trim());
  if (!own || node.tagName === "title") continue;
  const style = getComputedStyle(node);
  const ink = node.ownerSVGElement ? style.fill : style.color;
  const [a, b] = [light(ink), light(ground(node))].sort((x, y) => y - x);
  const said = `${node.tagName} ${node.textContent.slice(0, 20)} ${ink}`;
  if ((a + .05) / (b + .05) < 4.5) found.push(said);
}
return [...new Set(found)];
"""


def test_all_people_can_read_a_page(path, tmp_path):
    """Contrast, names and the keyboard, as axe-core checks them; narrow, wide, light, dark."""
    page = tmp_path / "report.html"
    page.write_text(page_of(path))
    with browser() as opened:
        for scheme, width in itertools.product(("light", "dark"), (1400, 800)):
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            opened.command("Emulation.setEmulatedMedia", features=features)
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
            opened.command("Emulation.setDeviceMetricsOverride", **size)
            opened.open(page.as_uri())
            assert opened.barriers() == [], (scheme, width)
            assert opened.run("return document.documentElement.scrollWidth") <= width
