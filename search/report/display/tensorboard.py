"""TensorBoard's view of a search: a readable folder for each trial, and one for the search itself.

    tensorboard --logdir runs/deep-001/tensorboard

HParams are there from a trial's start. Event files are appended to and closed again at each write,
so that thousands of paused trials hold neither threads nor file handles.
"""

from __future__ import annotations

import functools
import io
import math
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.summary.writer.record_writer import RecordWriter

from emgmodels import atomic
from emgmodels.config import Config, Frozen, section_kind
from emgmodels.scoring import Scoring
from search.report.display.ranking import About, View
from search.report.display.ranking import ranking as board
from search.report.display.table import Table
from search.results.people import by_user
from search.results.record import STATES, TrialRecord
from search.results.trial_row import rows_of

SCALARS = {
    "loss/train": "train_loss",
    "loss/validation": "val_loss",
    "cer/validation": "val_cer",
    "cer/insertions": "val_ier",
    "cer/deletions": "val_der",
    "cer/substitutions": "val_ser",
    "cer/best": "best_val_cer",
    "training/learning rate": "learning_rate",
    "training/seconds": "seconds",
}
"""Tags and the metrics behind them."""
USERS = {
    "users/mean CER": "val_cer_mean_user",
    "users/standard deviation": "val_cer_sd_user",
    "users/worst CER": "val_cer_worst_user",
    "users/pooled CER": "val_cer_pooled",
}
"""Those of a validation of several users."""
SEARCH = "search"
"""The folder of the search's own progress."""
_METRICS = {
    "cer/best": "best CER (%)",
    "cer/validation": "CER (%)",
    "loss/validation": "validation loss",
}
_ABSENT = "–"
_COLUMNS = 4
"""Settings with a column of their own in HParams. With a fifth, the CER is beyond the edge of a
screen of 1,400 pixels."""
_FIRST = ("model.encoder.order", "model.electrodes", "training.learning_rate")
"""Settings that have one before others."""
_FURTHER = "~further settings"
"""The column of all others. TensorBoard orders columns by name, and this one is the last."""
_SHOWN = 20
_DRAWING_REST = 120.0
"""Seconds between two drawings of leaderboard and figures, at least."""


class TrialBoards:
    """Writes the event files of all trials of a search.

    Args:
        folder: the run's ``tensorboard`` folder.
        parameters: dotted names of what is searched: the columns of HParams, of more than four the
            last of them together. A trial that does not
            have a setting shows 0 for a number and ``–`` for a word: TensorBoard neither sorts a
            column of both nor draws a trial that lacks a value.
        data: on which data, in words.
        scoring: of several validation users, whose each window is.

    Attributes:
        search: the board of the search itself.
    """

    def __init__(
        self,
        folder: Path,
        parameters: Sequence[str],
        data: str,
        scoring: Scoring | None = None,
    ) -> None:
        self.folder, self.search = folder, SearchBoard(folder / SEARCH, data, scoring)
        self.parameters = {name: _is_number(name) for name in parameters}
        self._shown = _in_sight(parameters)
        kinds = {True: api_pb2.DATA_TYPE_FLOAT64, False: api_pb2.DATA_TYPE_STRING}
        columns = {name: self.parameters[name] for name in self._shown}
        columns |= {} if len(self._shown) == len(self.parameters) else {_FURTHER: False}
        experiment = api_pb2.Experiment(
            hparam_infos=[
                api_pb2.HParamInfo(name=name, display_name=_heading(name), type=kinds[number])
                for name, number in columns.items()
            ],
            metric_infos=[
                api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=said)
                for tag, said in _METRICS.items()
            ],
        )
        append(folder / SEARCH, _hparams(metadata.EXPERIMENT_TAG, experiment=experiment))

    def start(self, slug: str, values: Mapping[str, Any]) -> None:
        """Make a trial's folder and write its searched parameters."""
        info = plugin_data_pb2.SessionStartInfo(group_name=slug, start_time_secs=time.time())
        for name, number in self.parameters.items():
            if number:
                info.hparams[name].number_value = values.get(name, 0)
            else:
                info.hparams[name].string_value = str(values.get(name, "")) or _ABSENT
        further = (name for name in self.parameters if name not in self._shown and name in values)
        text = ", ".join(f"{_heading(name)} {values[name]}" for name in further)
        info.hparams[_FURTHER].string_value = text or _ABSENT
        append(
            self.folder / slug, _hparams(metadata.SESSION_START_INFO_TAG, session_start_info=info)
        )

    def report(self, slug: str, metrics: Mapping[str, float]) -> None:
        """Write an epoch's scalars."""
        several = math.isfinite(metrics.get("val_cer_sd_user", math.nan))
        values = [
            Summary.Value(tag=tag, simple_value=metrics[metric])
            for tag, metric in (SCALARS | (USERS if several else {})).items()
            if metric in metrics
        ]
        append(self.folder / slug, *values, step=int(metrics["epoch"]))

    def end(self, slug: str, failed: bool) -> None:
        """Note how a trial ended."""
        info = plugin_data_pb2.SessionEndInfo(
            status=api_pb2.STATUS_FAILURE if failed else api_pb2.STATUS_SUCCESS,
            end_time_secs=time.time(),
        )
        append(self.folder / slug, _hparams(metadata.SESSION_END_INFO_TAG, session_end_info=info))


class SearchBoard:
    """Writes how the search itself goes, as a run of its own beside the trials.

    Scalars stand over the epochs that all trials trained together, and over time where TensorBoard
    is told so; leaderboard, text samples and confusions of the best trial follow at a slower pace.

    Args:
        folder: its own.
        data: on which data, in words: it stands in every text and figure.
        scoring: of several validation users, whose each window is.
    """

    def __init__(self, folder: Path, data: str, scoring: Scoring | None = None) -> None:
        self.folder, self.data, self.scoring = folder, data, scoring
        self._reader: TrialRecord | None = None
        self._reading: Mapping[str, Any] = {}
        self._drawn: tuple[str, int] | None = None
        self._due = 0.0

    def read(self, trial: TrialRecord, reading: Mapping[str, Any]) -> None:
        """Take in what a trial read at its best epoch: ``texts`` and ``confusions``."""
        if self._reader is None or trial.sort_key <= self._reader.sort_key:
            epoch = int(trial.best["epoch"]) if trial.best else 0
            self._reader, self._reading = trial, {**reading, "epoch": epoch}

    def update(self, ranking: Sequence[TrialRecord], elapsed: float, final: bool = False) -> None:
        """Write progress, and the slower part if it is time to.

        Args:
            ranking: all trials, best first.
            elapsed: seconds of searching.
            final: nothing follows; write everything.
        """
        epochs = sum(trial.epoch for trial in ranking)
        states = Counter(trial.state for trial in ranking)
        numbers = {
            "search/epochs trained": epochs,
            "search/hours": elapsed / 3600,
            **{f"trials/{state}": states[state] for state in STATES},
        }
        if ranking and ranking[0].best:
            numbers["search/best CER"] = ranking[0].best["val_cer"]
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in numbers.items()]
        append(self.folder, *values, step=epochs)
        if final or time.monotonic() >= self._due:
            self._draw(ranking, epochs)
            self._due = time.monotonic() + _DRAWING_REST

    def _draw(self, ranking: Sequence[TrialRecord], epochs: int) -> None:
        reader, shown = self._reader, leaderboard(ranking[:_SHOWN], self.data)
        drawn = (shown, reader.epoch if reader else 0)
        if drawn == self._drawn:
            return
        self._drawn = drawn
        values = [_text("leaderboard", shown)]
        best = reader.best if reader else None
        if reader and best and ranking[0] is reader and best["epoch"] == self._reading["epoch"]:
            epoch = self._reading["epoch"]
            title = f"**{reader.name}**, validation windows at its best epoch, {epoch}, {self.data}"
            values.append(_text("best trial/typed and read", _samples(title, self._reading)))
            values.append(_confusions(reader, self._reading, self.data))
            if self.scoring is not None and reader.best_windows is not None:
                title = title.replace("validation windows", "validation users")
                rows = by_user({reader.number: reader.best_windows}, self.scoring).to_pylist()
                values.append(_text("best trial/users", _users(title, rows, reader.best or {})))
        append(self.folder, *values, step=epochs)


def leaderboard(ranking: Sequence[TrialRecord], data: str) -> str:
    """Return trials as a Markdown table, in the order given."""
    table = board(About(View.BOARD, rows_of(ranking))).markdown()
    notes = (f"\n\n{trial.kept_note}" for trial in ranking if trial.kept_note)
    return f"Ranking by validation CER, {data}\n\n{table.rstrip()}{''.join(notes)}"


def append(folder: Path, *values: Summary.Value, step: int = 0) -> None:
    """Append summaries to this process's event file in a folder, made where it is missing.

    A process that was killed may have left a torn record, and TensorBoard reads nothing behind it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _event_file()
    now = time.time()
    events = [Event(wall_time=now, step=step, summary=Summary(value=values))]
    if not path.exists():
        events.insert(0, Event(wall_time=now, file_version="brain.Event:2"))
    records = io.BytesIO()
    writer = RecordWriter(records)
    for event in events:
        writer.write(event.SerializeToString())
    writer.flush()
    atomic.append(path, records.getvalue())


def image(tag: str, png: bytes, width: int, height: int) -> Summary.Value:
    """Return a picture as a summary."""
    picture = Summary.Image(encoded_image_string=png, width=width, height=height)
    return Summary.Value(tag=tag, image=picture)


@functools.cache
def _event_file() -> str:
    """Return the name of this process's event files: TensorBoard reads them in order of names."""
    return f"events.out.tfevents.{int(time.time()):010d}.{os.getpid()}.search"


def _text(tag: str, markdown: str) -> Summary.Value:
    tensor = TensorProto(dtype=DT_STRING, string_val=[markdown.encode()])
    kind = text_metadata.create_summary_metadata(display_name="", description="")
    return Summary.Value(tag=tag, metadata=kind, tensor=tensor)


def _samples(title: str, reading: Mapping[str, Any]) -> str:
    lines = [title, ""]
    for typed, read in reading["texts"]:
        lines += [f"    typed  {typed}", f"    read   {read}", ""]
    return "\n".join(lines)


def _users(title: str, rows: Sequence[Mapping[str, Any]], best: Mapping[str, float]) -> str:
    """Return the CER of each user as Markdown, the worst first."""
    mean, sd = (best.get(name, math.nan) for name in ("val_cer_mean_user", "val_cer_sd_user"))
    ordered = sorted(rows, key=lambda row: -(row["cer"] or 0.0))
    cells = [[row["user"], f"{row['characters']}", f"{row['cer'] or 0.0:.2f}"] for row in ordered]
    table = Table(["user", "keys", "CER %"], cells, left=("user",)).markdown()
    return f"{title}\n\nOver users {mean:.2f} ± {sd:.2f} %\n\n{table}"


def _confusions(trial: TrialRecord, reading: Mapping[str, Any], data: str) -> Summary.Value:
    from search.report.display.confusions import confusions

    counts = {(typed, read): count for typed, read, count in reading["confusions"]}
    plot = confusions(counts, f"{trial.name}, {data}")
    return image("best trial/confusions", *plot.png())


def _hparams(tag: str, **content: Any) -> Summary.Value:
    data = plugin_data_pb2.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content)
    return Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(data))


def _heading(name: str) -> str:
    """Return a column's heading: a dotted name without what all share."""
    for prefix in ("model.encoder.", "model.", "training."):
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name.removeprefix("~")


def _in_sight(parameters: Sequence[str]) -> list[str]:
    """Return the settings that have a column of their own."""
    if len(parameters) <= _COLUMNS:
        return list(parameters)
    known = [name for name in _FIRST if name in parameters]
    return [*known, *(name for name in parameters if name not in known)][: _COLUMNS - 1]


def _is_number(name: str) -> bool:
    """Return whether a setting, by its dotted name, is a number in every configuration.

    Of code of the user's own, it is taken for text.
    """
    kind: type[Frozen] = Config
    *sections, leaf = name.split(".")
    for section in sections:
        if kind.field_of(section) is None:
            return False
        kind = section_kind(kind, section) or kind
    schema = kind.model_json_schema()["properties"][kind.field_of(leaf) or leaf]
    types = {option.get("type") for option in schema.get("anyOf", [schema])}
    return types <= {"integer", "number", "null"}
