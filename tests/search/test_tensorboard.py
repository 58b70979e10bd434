"""What TensorBoard shows of a search, read back from its files and seen in a browser."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.browser import browser, end, start
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata, plugin_data_pb2

from emgmodels.config import Config
from search.report.display.confusions import confusions
from search.report.display.tensorboard import TrialBoards
from search.results.growing_tables import CURVE_METRICS
from search.results.record import COMPLETE, RUNNING, TrialRecord, flatten

MODELS = (
    {"electrodes": 8, "encoder": {"order": ["conv"], "conv": {"layers": 2}}},
    {"encoder": {"order": ["recurrent"], "recurrent": {"cell": "lstm", "hidden": 64}}},
)
PARAMETERS = (
    "model.electrodes",
    "model.encoder.order",
    "model.encoder.conv.channels",
    "model.encoder.recurrent.cell",
    "model.encoder.recurrent.hidden",
)
READING = {
    "texts": [("the fox", "tha fx"), ("⇧You ", "⇧you ")],
    "confusions": [("e", "a", 3), ("e", "e", 5), ("o", "", 2), ("", "x", 1), (" ", " ", 9)],
}


def record(number: int, cers: list[float], state: str) -> TrialRecord:
    trial = TrialRecord(number, Config.model_validate({"model": MODELS[number]}), state)
    for epoch, cer in enumerate(cers, start=1):
        best = min(cers[:epoch])
        row = {"epoch": epoch, "val_cer": cer, "best_val_cer": best}
        trial.add(dict.fromkeys(CURVE_METRICS, 1.0) | row)
    return trial


@pytest.fixture(scope="module")
def boards(tmp_path_factory) -> Path:
    """The TensorBoard folder of a search of two trials, one of them still running."""
    folder = tmp_path_factory.mktemp("run") / "tensorboard"
    writer = TrialBoards(folder, PARAMETERS, "synthetic data")
    trials = [record(0, [80.0, 40.0], RUNNING), record(1, [70.0, 20.0, 25.0], COMPLETE)]
    for trial in trials:
        values = flatten(trial.config.model.model_dump(mode="json"), "model")
        writer.start(trial.slug, values)
        for row in trial.curve:
            writer.report(trial.slug, row)
    writer.end(trials[1].slug, failed=False)
    writer.search.update(trials[:1], elapsed=30.0)
    writer.search.read(trials[1], READING)
    writer.search.read(trials[0], {"texts": [], "confusions": []})  # not the best
    writer.search.update([trials[1], trials[0]], elapsed=7200.0, final=True)
    return folder


def events(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def test_runs_are_the_trials_by_name_and_the_search(boards):
    assert sorted(path.name for path in boards.iterdir()) == [
        "000-conv-2-8ch",
        "001-lstm-4-16ch",
        "search",
    ]


def test_a_setting_that_a_trial_lacks_keeps_its_column_and_its_type(boards):
    shown = []
    for folder in sorted(boards.glob("0*")):
        tag = metadata.SESSION_START_INFO_TAG
        content = events(folder).summary_metadata[tag].plugin_data.content
        start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
        values = (start.hparams[name] for name in PARAMETERS)
        shown.append([value.string_value or value.number_value for value in values])
    assert shown == [[8, "conv", "24", "–", 0], [16, "recurrent", "–", "lstm", 64]]


def test_the_search_has_its_progress_over_epochs(boards):
    found = events(boards / "search")
    best = [(event.step, event.value) for event in found.Scalars("search/best CER")]
    assert best == [(2, 40.0), (5, 20.0)]
    assert found.Scalars("search/hours")[-1].value == 2.0
    assert [event.value for event in found.Scalars("trials/running")] == [1, 1]
    assert [event.value for event in found.Scalars("trials/complete")] == [0, 1]


def test_what_follows_a_killed_process_is_read(tmp_path):
    write = """if True:
        import sys
        from pathlib import Path
        from search.report.display.tensorboard import TrialBoards
        boards = TrialBoards(Path(sys.argv[1]), (), "synthetic data")
        boards.report("trial", {"epoch": int(sys.argv[2]), "val_cer": 20.0})
    """
    for epoch in (1, 2):
        subprocess.run([sys.executable, "-c", write, tmp_path, str(epoch)], check=True)
        *_, newest = sorted((tmp_path / "trial").iterdir())
        with newest.open("ab") as file:
            file.write(b"torn")
        time.sleep(1)
    assert [each.step for each in events(tmp_path / "trial").Scalars("cer/validation")] == [1, 2]


def test_leaderboard_texts_and_confusions_are_those_of_the_best(boards):
    found = events(boards / "search")
    table = found.Tensors("leaderboard")[-1]
    text = table.tensor_proto.string_val[0].decode()
    assert "synthetic data" in text
    assert text.index("001 lstm:4 @16ch | 20.00 | 3/50") < text.index("000 conv:2 @8ch")
    [read] = found.Tensors("best trial/typed and read")
    said = read.tensor_proto.string_val[0].decode()
    assert "001 lstm:4 @16ch" in said
    assert "    typed  the fox\n    read   tha fx\n" in said
    [picture] = found.Images("best trial/confusions")
    assert picture.encoded_image_string.startswith(b"\x89PNG")


def test_confusions_show_the_keys_with_errors_and_what_they_were_read_as():
    counts = {(typed, read): count for typed, read, count in READING["confusions"]}
    plot = confusions(counts, "synthetic data")
    [axes] = plot.figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["e  8×", "o  2×"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "e", "o", "–"]
    assert [text.get_text() for text in axes.texts] == ["38", "62", "100"]


def test_nothing_to_confuse_is_drawn_all_the_same():
    assert confusions({("a", "a"): 3}, "synthetic data").png()[0].startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def server(boards):
    """Address of a TensorBoard of those files."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(boards)]
    process, address = start(command, "/data/runs", b"search")
    yield address
    end(process)


@pytest.fixture(scope="module")
def driver():
    with browser("1400,3000") as found:
        yield found


TEXT = """
const text = node => node.nodeType === Node.TEXT_NODE ? node.data + "\\n"
  : [...(node.shadowRoot?.childNodes ?? []), ...node.childNodes].map(text).join("");
return text(document.body);
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Address of a TensorBoard of trials with seven searched settings."""
    folder = tmp_path_factory.mktemp("many") / "tensorboard"
    names = (*PARAMETERS, "training.learning_rate", "training.batch_size")
    writer = TrialBoards(folder, names, "synthetic data")
    for trial in (record(0, [80.0, 40.0], RUNNING), record(1, [70.0, 20.0], COMPLETE)):
        values = flatten(trial.config.model.model_dump(mode="json"), "model")
        values |= flatten(trial.config.training.model_dump(mode="json"), "training")
        writer.start(trial.slug, values)
        for row in trial.curve:
            writer.report(trial.slug, row)
    writer.search.update([], elapsed=1.0)
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)]
    process, address = start(command, "/data/runs", b"search")
    yield address
    end(process)


EDGE = """
const inner = node => [...(node.shadowRoot?.children ?? []), ...node.children];
const all = node => [node, ...inner(node).flatMap(all)];
const heads = all(document.body).filter(node => node.textContent.trim() === "best CER (%)"
  && node.children.length === 0 && node.getBoundingClientRect().width > 0);
return Math.max(...heads.map(node => node.getBoundingClientRect().right), 0);
"""


def test_the_best_cer_of_many_settings_is_in_sight(driver, many):
    driver.open(f"{many}/#hparams")
    deadline = time.monotonic() + 40
    while not 500 < (edge := driver.run(EDGE)) <= 1400:
        assert time.monotonic() < deadline, f"its column ends at {edge} of 1,400 pixels"
        time.sleep(0.5)
    assert "recurrent.hidden 64" in driver.run(TEXT)


@pytest.mark.parametrize(
    ("view", "shown"),
    {
        "timeseries": ["001-lstm-4-16ch", "best trial", "cer", "loss", "trials"],
        "text": ["001 lstm:4 @16ch", "typed  the fox", "synthetic data", "how it ended"],
        "hparams": ["recurrent.hidden", "recurrent.cell", "lstm", "best CER (%)", "20.000"],
    }.items(),
)
def test_a_browser_shows_it(view, shown, driver, server):
    driver.open(f"{server}/#{view}")
    driver.run("location.reload()")
    deadline = time.monotonic() + 40
    page = ""
    while missing := [text for text in shown if text not in page]:
        assert time.monotonic() < deadline, missing
        time.sleep(0.5)
        page = driver.run(TEXT)
