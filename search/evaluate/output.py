"""What an evaluation leaves: tables and marked text on the console, ``evaluation.parquet``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import torch
from rich.console import Console
from rich.text import Text

from emgmodels.atomic import whole
from emgmodels.network.summary import describe
from emgmodels.notation import notation
from emgmodels.reading.sessions import ONE_PASS, STITCHED, WINDOWS, align
from emgmodels.saying import counted, say
from emgmodels.scoring import Rates
from search.evaluate.evaluation import GREEDY, Evaluation, Row, reach
from search.report.display.table import Table
from search.report.display.words import interval
from search.results.session_files import SETS

_COLUMNS = 76
"""Characters of a line of text with its errors marked, at most."""
_TO_QUOTE = (
    f"Beside other trials compare {WINDOWS}, by which a search ranks; beside published tables "
    f"{ONE_PASS}, or {STITCHED} where they read in windows. docs/cer.md says how they differ."
)
_MARGIN = 6
"""Characters before it, which say what it is."""
_MARK_STYLES = {"S": "yellow", "D": "red", "I": "magenta"}
_LOG10 = {b"lm_weight": b"of log10 probabilities"}
"""In a table's metadata; files without it have weights of natural logarithms, 2.3 times smaller."""
_SCHEMA = pa.schema(
    [
        ("trial", pa.int64()),
        ("architecture", pa.string()),
        ("weights", pa.string()),
        ("epoch", pa.int64()),
        ("val_cer", pa.float64()),
        ("set", pa.string()),
        ("session", pa.string()),
        ("user", pa.string()),
        ("way", pa.string()),
        ("decoder", pa.string()),
        ("lm_weight", pa.float64()),
        ("insertion_bonus", pa.float64()),
        *((name, pa.float64()) for name in ("cer", "cer_low", "cer_high", "ier", "der", "ser")),
        *(
            (f"cer_{name}", pa.float64())
            for name in ("ranked", "mean_user", "sd_user", "worst_user")
        ),
        *((name, pa.int64()) for name in ("insertions", "deletions", "substitutions")),
        *((name, pa.int64()) for name in ("characters", "chunks")),
        *((name, pa.float64()) for name in ("seconds", "duration", "real_time_factor")),
        ("lookahead_ms", pa.float64()),
        ("device", pa.string()),
        ("synthetic", pa.bool_()),
        ("test_cer", pa.float64()),
    ],
    metadata=_LOG10,
)


def show(console: Console, evaluation: Evaluation, synthetic: bool, lines: int) -> None:
    """Print an evaluation: a table, what to know of it, and a few lines of text with its errors.

    Args:
        console: where.
        evaluation: what to print.
        synthetic: whether the sessions were written by a synthetic typist.
        lines: lines of text.
    """
    data = "synthetic " if synthetic else ""
    title = f"{evaluation.trial.name}: {data}{SETS[evaluation.subset]} sessions"
    console.print(rates(evaluation).rich(title))
    for line in (
        _TO_QUOTE,
        reach(evaluation),
        *evaluation.notes,
        *evaluation.warnings(),
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if lines > 0:
        _show_text(console, evaluation, lines)


def write_table(
    path: Path,
    evaluations: Sequence[Evaluation],
    device: torch.device,
    synthetic: bool,
    is_kept: bool = True,
) -> pa.Table:
    """Write evaluations to a Parquet file, beside earlier ones of other trials and sets.

    A row's ``weights``, ``epoch`` and ``val_cer`` are those of the checkpoint that was read; a
    ``test_cer`` stands beside the same weights only. It is the CER that the search ranks by. A row
    without session is of a user, and without both of the whole set; ``cer`` is pooled, and
    ``cer_ranked`` what the search ranks by.

    Args:
        path: the file, ``evaluation.parquet`` of a run folder.
        evaluations: what to write; they replace earlier ones of the same trial and set.
        device: where they were computed.
        synthetic: whether the sessions were written by a synthetic typist.
        is_kept: whether the file is written.

    Returns:
        All rows of the file.
    """
    earlier = _read(path) if path.is_file() else []
    # Several evaluations add up in one file, and a later one replaces the same trial and set.
    done = {(evaluation.trial.number, evaluation.subset) for evaluation in evaluations}
    rows = [row for row in earlier if (row["trial"], row["set"]) not in done]
    for evaluation in evaluations:
        rows += _rows(evaluation, device, synthetic)
    # Keyed by the weights: a trial that trained on has another test CER, and the old figure must
    # not stand beside it.
    test_cers = {
        (row["trial"], row.get("weights")): row["cer"] if ranked is None else ranked
        for row in rows
        if (row["set"], row["session"], row.get("user"), row["way"])
        == ("test", None, None, STITCHED)
        and row.get("decoder") in (None, GREEDY)
        for ranked in [row.get("cer_ranked")]
    }
    for row in rows:
        row["test_cer"] = test_cers.get((row["trial"], row.get("weights")))
    table = pa.Table.from_pylist(rows, schema=_SCHEMA)
    if is_kept:
        with whole(path) as scratch:
            pa.parquet.write_table(table, scratch)
    return table


def _read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file, their language model's weights as they are counted now."""
    table = pa.parquet.read_table(path)
    rows: list[dict[str, Any]] = table.to_pylist()
    if _LOG10.items() <= (table.schema.metadata or {}).items():
        return rows
    for row in rows:
        if row.get("lm_weight") is not None:
            # Files of before have weights of natural logarithms.
            row["lm_weight"] *= math.log(10)
    return rows


def rates(evaluation: Evaluation, parts: Sequence[str] = ("ins", "del", "sub")) -> Table:
    """Return the error rates of the whole set, then of each session, in every way of reading.

    Args:
        evaluation: whose.
        parts: headers of the rates of insertions, deletions and substitutions.
    """
    several = len(evaluation.sessions) > 1
    shown = [row for row in evaluation.rows() if row.session is not None or several]
    last = evaluation.searches[-1]
    cells, parted = [], []
    for row, following in zip(shown, [*shown[1:], None], strict=True):
        cells.append(_rates_of(row))
        cells += [_over_users(row, len(parts))] if row.scoring else []
        goes_on = following and (following.session, following.way) == (row.session, row.way)
        if row.way == WINDOWS and row.search is last and not goes_on:
            parted.append(len(cells) - 1)
    return Table(
        ["session", "way", "decoder", "CER %", "95 %", *parts, "keys", "x real time"],
        cells,
        left=("session", "way", "decoder"),
        unbroken=("way",),
        parted=parted,
    )


def _over_users(row: Row, parts: int) -> tuple[str, ...]:
    """Return the mean over users and their standard deviation, as a row below the pooled rates."""
    rates, (low, high) = row.rates, row.interval_by("mean_user")
    assert rates is not None, "of several users"
    spread = f"{rates.mean_user:.2f} ± {rates.sd_user:.2f}"
    name = f"mean of {counted(rates.users.shape[-1], 'user')}"
    return (name, row.way, row.decoder, spread, interval(low, high), *[""] * (parts + 2))


def _rates_of(row: Row) -> tuple[str, ...]:
    edits, (low, high) = row.edits, row.interval
    whole = f"all {len(row.transcripts)}" if row.user is None else f"user {row.user}"
    return (
        row.session or whole,
        row.way,
        row.decoder,
        f"{edits.cer:.2f}",
        interval(low, high),
        *(f"{rate:.2f}" for rate in (edits.ier, edits.der, edits.ser)),
        f"{edits.target}",
        f"{row.seconds / row.duration:.4f}",
    )


def _show_text(console: Console, evaluation: Evaluation, lines: int) -> None:
    """Print true and read text of the first session, stitched, with the errors marked."""
    search = evaluation.searches[-1]
    session, found = evaluation.read(STITCHED, search)[0]
    rows = align(found.target, found.predicted)
    decoder = search.name if search else GREEDY
    say(
        console,
        f"{session} from its beginning, {decoder}; S: another key, D: left out, I: one too many, "
        f"·: no key here",
    )
    width = max(1, min(_COLUMNS, console.width - _MARGIN))
    for low in range(0, min(len(rows[0]), lines * width), width):
        true, read, marks = (row[low : low + width] for row in rows)
        for name, row in (("true", true), ("read", read), ("", marks)):
            line = Text(name.rjust(_MARGIN - 1) + " ")
            for character, mark in zip(row, marks, strict=True):
                line.append(character, style=_MARK_STYLES.get(mark, ""))
            console.print(line, no_wrap=True, highlight=False)


def _rows(
    evaluation: Evaluation, device: torch.device, synthetic: bool
) -> Iterator[dict[str, Any]]:
    config, weights = evaluation.trial.config.model, evaluation.weights
    for row in evaluation.rows():
        edits, (low, high), search = row.edits, row.interval, row.search
        yield {
            "trial": evaluation.trial.number,
            "architecture": notation(config),
            "weights": weights.hash if weights else None,
            "epoch": weights.epoch if weights else None,
            "val_cer": weights.cer if weights else None,
            "set": evaluation.subset,
            "session": row.session,
            "user": row.user,
            "way": row.way,
            "decoder": row.decoder,
            "lm_weight": search.weight if search and search.language else None,
            "insertion_bonus": search.bonus if search and search.language else None,
            "cer": edits.cer,
            "cer_low": low,
            "cer_high": high,
            "cer_ranked": row.cer,
            **({} if row.rates is None else _of_users(row.rates)),
            "ier": edits.ier,
            "der": edits.der,
            "ser": edits.ser,
            "insertions": edits.insertions,
            "deletions": edits.deletions,
            "substitutions": edits.substitutions,
            "characters": edits.target,
            "chunks": len(row.chunks),
            "seconds": row.seconds,
            "duration": row.duration,
            "real_time_factor": row.seconds / row.duration,
            "lookahead_ms": describe(config).lookahead_ms,
            "device": str(device),
            "synthetic": synthetic,
        }


def _of_users(rates: Rates) -> dict[str, float]:
    names = ("mean_user", "sd_user", "worst_user")
    return {f"cer_{name}": float(getattr(rates, name)) for name in names}
