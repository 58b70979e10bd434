"""What is known of one trial: a row of the trials table, and its learning curve."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from emgmodels.config import Config
from emgmodels.notation import notation
from search.halving.ending import Ending, Why, ending_of
from search.results.growing_tables import CURVE_METRICS, USER_RATES
from search.results.intervals import Windows
from search.storage import StoredFile

WAITING, RUNNING, PAUSED = "waiting", "running", "paused"
COMPLETE, STOPPED, FAILED = "complete", "stopped", "failed"
CUT_OFF = "cut off"
"""By the end of the search; it can go on if the search is resumed."""
STATES = (WAITING, RUNNING, PAUSED, COMPLETE, STOPPED, FAILED, CUT_OFF)
_OF_AN_EPOCH = ("epoch", *CURVE_METRICS)
_NUMBERS = {*_OF_AN_EPOCH, *USER_RATES}
UNFINISHED = (WAITING, RUNNING, PAUSED, CUT_OFF)
"""Those of trials that can still be trained."""


class Weights(NamedTuple):
    """The weights that a trial had after one of its epochs."""

    epoch: int
    cer: float
    """Validation CER that they have (%)."""
    hash: str = ""
    """``emgmodels.checkpoints.weights.weights_hash`` of them; empty where it is not known."""

    @classmethod
    def of(cls, metrics: Mapping[str, Any]) -> Weights | None:
        """Return the weights of the best epoch that a result tells of, if there is one."""
        epoch = int(metrics.get("best_epoch", 0))
        if not epoch:
            return None
        cer = float(metrics.get("best_val_cer", math.nan))
        return cls(epoch, cer, metrics.get("best_weights", ""))

    def are_others(self, than: Weights) -> bool:
        """Return whether these are known to be other weights: by hash, else by epoch."""
        if self.hash and than.hash:
            return self.hash != than.hash
        return self.epoch != than.epoch


def kept_note(number: int, ranked: Weights | None, kept: Weights | None) -> str | None:
    """Return in words where a trial's checkpoint has other weights than it is ranked by."""
    if ranked is None or kept is None or kept.epoch == ranked.epoch:
        return None
    return (
        f"trial {number:03d} is ranked by epoch {ranked.epoch} (CER {ranked.cer:.2f} %), its "
        f"checkpoint is of epoch {kept.epoch} ({kept.cer:.2f} %)"
    )


@dataclass
class TrialRecord:
    """What is known of one trial; a row of the trials table."""

    number: int
    config: Config
    state: str = WAITING
    ending: Ending | None = None
    """Why it ended, or starts again; None while it trains."""
    node: str = ""
    curve: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    best: dict[str, float] | None = None
    checkpoint: StoredFile | None = None
    saved: Weights | None = None
    """The best weights in its newest checkpoint, ``checkpoint``."""
    kept: Weights | None = None
    """The weights in its file in ``checkpoints/``; None: it has none there."""
    reported: Weights | None = None
    """The best weights as its process last told of them."""
    windows: Windows | None = None
    fresh: list[dict[str, float]] = field(default_factory=list)
    """Epochs that the table does not have yet."""

    def add(self, metrics: Mapping[str, Any]) -> None:
        """Take in an epoch's metrics; ``best`` is the epoch with the lowest validation CER.

        An epoch that a trial repeats, because it went back to a checkpoint, replaces the earlier.
        The windows of a new best epoch come with it.
        """
        if "best_windows" in metrics:
            self.windows = Windows.of(int(metrics["best_epoch"]), metrics["best_windows"])
        if "best_weights" in metrics:
            self.reported = Weights.of(metrics)
        # A table that an older version began has no value where its epochs lack a column.
        numbers = {name: metrics.get(name) for name in _NUMBERS}
        row = dict.fromkeys(_OF_AN_EPOCH, math.nan)
        row |= {name: float(each) for name, each in numbers.items() if each is not None}
        repeated = bool(self.curve) and self.curve[-1]["epoch"] >= row["epoch"]
        if repeated:
            self.curve = [known for known in self.curve if known["epoch"] < row["epoch"]]
            self.seconds = sum(known["seconds"] for known in self.curve)
            self.best = None
        self.curve.append(row)
        self.fresh.append(row)
        self.seconds += row["seconds"]
        for known in self.curve if repeated else [row]:
            if math.isfinite(known["val_cer"]) and (
                self.best is None or known["val_cer"] < self.best["val_cer"]
            ):
                self.best = known

    @property
    def best_windows(self) -> Windows | None:
        """Validation windows of the best epoch, where they are known."""
        known = self.windows and self.best and self.windows.epoch == self.best["epoch"]
        return self.windows if known else None

    @property
    def weights(self) -> Weights | None:
        """The weights of the best epoch, by which the trial is ranked; None: it has none yet."""
        if self.best is None:
            return None
        epoch = int(self.best["epoch"])
        known = self.reported if self.reported and self.reported.epoch == epoch else None
        return Weights(epoch, self.best["val_cer"], known.hash if known else "")

    @property
    def kept_note(self) -> str | None:
        """In words, where its checkpoint has other weights than it is ranked by."""
        return kept_note(self.number, self.weights, self.kept)

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % bootstrap interval of the best CER (%), once the tables were written."""
        return self.best_windows.interval if self.best_windows else None

    @property
    def reason(self) -> str:
        """Why it ended, in words; empty while it trains."""
        return str(self.ending or "")

    @property
    def why(self) -> Why | None:
        """Why it ended as a value, None while it has not."""
        return self.ending.why if self.ending else None

    @property
    def name(self) -> str:
        """Readable name: trial number and architecture."""
        return f"{self.number:03d} {notation(self.config.model, brief=True)}"

    @property
    def slug(self) -> str:
        """The name as a file name."""
        return re.sub(r"[^\w.-]+", "-", self.name).strip("-")

    @property
    def epoch(self) -> int:
        """Epochs trained."""
        return int(self.curve[-1]["epoch"]) if self.curve else 0

    @property
    def sort_key(self) -> tuple[float, int]:
        """Ranks trials: lowest validation CER first, those without one last."""
        return (self.best["val_cer"] if self.best else math.inf, self.number)

    @property
    def version(self) -> tuple[object, ...]:
        """What changes when the trial's row changes."""
        known = (self.state, self.ending, self.node, self.epoch, self.seconds)
        return *known, self.weights, self.kept, self.interval

    def row(self) -> dict[str, Any]:
        """Return the trial's row of the trials table, without its rank."""
        return {
            **self.facts(),
            "node": self.node,
            "seed": self.config.seed,
            "config": self.config.model_dump_json(),
            **by_path(self.config),
        }

    def facts(self) -> dict[str, Any]:
        """Return what its row says of it, without its settings."""
        # Describing an architecture loads PyTorch, which reading has no need of.
        from emgmodels.network.summary import describe

        summary, best = describe(self.config.model), self.best
        low, high = self.interval or (None, None)
        return {
            "trial": self.number,
            "architecture": notation(self.config.model),
            "val_cer": best["val_cer"] if best else None,
            "val_cer_low": low,
            "val_cer_high": high,
            **{name: _known(best, name) for name in USER_RATES},
            "best_epoch": int(best["epoch"]) if best else None,
            "weights": (self.weights.hash or None) if self.weights else None,
            "kept_epoch": self.kept.epoch if self.kept else None,
            "kept_cer": self.kept.cer if self.kept else None,
            "epochs": self.epoch,
            "state": self.state,
            "reason": self.reason,
            **ending_columns(self.ending),
            "parameters": summary.parameters,
            "macs_per_second": summary.macs_per_second,
            "lookahead_ms": summary.lookahead_ms,
            "electrodes": self.config.model.bands * self.config.model.electrodes,
            "seconds": self.seconds,
        }


def _known(epoch: Mapping[str, float] | None, name: str) -> float | None:
    value = None if epoch is None else epoch.get(name)
    return value if value is not None and math.isfinite(value) else None


def ending_columns(ending: Ending | None) -> dict[str, str | None]:
    """Return the columns of the trials table that say why a trial ended: a word, and its facts."""
    if ending is None:
        return {"ending": None, "ending_facts": None}
    facts = ending.facts
    return {"ending": facts.pop("why"), "ending_facts": json.dumps(facts)}


def ending_in(row: Mapping[str, Any]) -> Ending | None:
    """Return why the trial of a row of the trials table ended.

    Tables of older versions have the sentence alone, and so have rows with a kind of ending that
    only a newer version knows.
    """
    if row.get("ending"):
        with contextlib.suppress(TypeError, ValueError):  # of JSON too
            return ending_of({**json.loads(row.get("ending_facts") or "{}"), "why": row["ending"]})
    return ending_of(row.get("reason"))


# A trial's row is written when it starts and when it ends, beside those that run with it.
@functools.lru_cache(maxsize=64)
def by_path(config: Config) -> Mapping[str, Any]:
    """Return the settings of model and training under their paths, as tables have them."""
    model, training = config.model, config.training
    found = flatten(model.model_dump(mode="json"), "model")
    found |= flatten(training.model_dump(mode="json"), "training")
    return MappingProxyType(found)


def flatten(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return nested mappings as one, with dotted keys; lists become text, nulls are left out."""

    def walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                yield from walk(inner, f"{path}.{key}")
        elif isinstance(value, list | tuple):
            yield path, " ".join(map(str, value))
        elif value is not None:
            yield path, value

    return dict(walk(values, prefix))
