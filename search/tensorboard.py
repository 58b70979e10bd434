"""TensorBoard's view of a search: a readable folder for each trial, HParams from its start.

    tensorboard --logdir runs/deep-001/tensorboard

Event files are appended to and closed again at each write, so that thousands of paused trials hold
neither threads nor file handles.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

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
_ABSENT = "-"


class TrialBoards:
    """Writes the event files of all trials of a search.

    Args:
        folder: the run's ``tensorboard`` folder.
        parameters: dotted names of what is searched: the columns of HParams. A parameter that a
            trial does not have is shown as ``-``, so that no column is lost.
    """

    def __init__(self, folder: Path, parameters: Sequence[str]) -> None:
        self.folder, self.parameters = folder, list(parameters)
        experiment = api_pb2.Experiment(
            hparam_infos=[api_pb2.HParamInfo(name=name) for name in parameters],
            metric_infos=[
                api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag))
                for tag in ("cer/best", "cer/validation", "loss/validation")
            ],
        )
        self._append("", _hparams(metadata.EXPERIMENT_TAG, experiment=experiment))

    def start(self, slug: str, values: Mapping[str, Any]) -> None:
        """Make a trial's folder and write its searched parameters."""
        info = plugin_data_pb2.SessionStartInfo(group_name=slug, start_time_secs=time.time())
        for name in self.parameters:
            value = values.get(name, _ABSENT)
            if isinstance(value, bool):
                info.hparams[name].bool_value = value
            elif isinstance(value, int | float):
                info.hparams[name].number_value = value
            else:
                info.hparams[name].string_value = str(value)
        self._append(slug, _hparams(metadata.SESSION_START_INFO_TAG, session_start_info=info))

    def report(self, slug: str, metrics: Mapping[str, float]) -> None:
        """Write an epoch's scalars."""
        values = [
            Summary.Value(tag=tag, simple_value=metrics[metric])
            for tag, metric in SCALARS.items()
            if metric in metrics
        ]
        self._append(slug, *values, step=int(metrics["epoch"]))

    def end(self, slug: str, failed: bool) -> None:
        """Note how a trial ended."""
        info = plugin_data_pb2.SessionEndInfo(
            status=api_pb2.STATUS_FAILURE if failed else api_pb2.STATUS_SUCCESS,
            end_time_secs=time.time(),
        )
        self._append(slug, _hparams(metadata.SESSION_END_INFO_TAG, session_end_info=info))

    def _append(self, slug: str, *values: Summary.Value, step: int = 0) -> None:
        folder = self.folder / slug
        folder.mkdir(parents=True, exist_ok=True)
        path = next(folder.glob("events.out.tfevents.*"), None)
        now = time.time()
        events = [Event(wall_time=now, step=step, summary=Summary(value=values))]
        if path is None:
            path = folder / f"events.out.tfevents.{int(now):010d}.search"
            events.insert(0, Event(wall_time=now, file_version="brain.Event:2"))
        with open(path, "ab") as file:
            writer = RecordWriter(file)
            for event in events:
                writer.write(event.SerializeToString())
            writer.flush()


def _hparams(tag: str, **content: Any) -> Summary.Value:
    data = plugin_data_pb2.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content)
    return Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(data))
