"""The ranking of trials: its columns, once, for every place that shows them.

A new column is one entry in ``COLUMNS``: console, TensorBoard, Markdown, HTML and CSV have it then.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from search.report.display.chart import mark
from search.report.display.shared import beyond_name
from search.report.display.table import Cell, Table
from search.report.display.words import duration, lookahead
from search.results.record import COMPLETE, FAILED, PAUSED, RUNNING, STOPPED
from search.results.trial_row import TrialRow


class View(Enum):
    """Where a ranking is shown."""

    LIVE = auto()
    """In a terminal or notebook, while a search runs and when it ends."""
    BOARD = auto()
    """TensorBoard's leaderboard."""
    TOP = auto()
    """The first screen of a report's page."""
    PAGE = auto()
    """A report's Markdown and HTML."""
    BRIEF = auto()
    """A report's in a terminal."""
    FILE = auto()
    """CSV: values as they are."""


@dataclass(frozen=True)
class About:
    """What decides which columns a ranking has.

    Attributes:
        view: where it is shown.
        trials: those that it shows.
        objectives: what the search minimises.
        is_evaluated: whether the test CER of any trial is known.
        has_front: whether trials are marked that are on a Pareto front.
        width: characters of a terminal.
        marked: trials that figures colour, the best first.
    """

    view: View
    trials: Sequence[TrialRow]
    objectives: Sequence[str] = ("val_cer",)
    is_evaluated: bool = False
    has_front: bool = False
    width: int = 96
    marked: int = 0


@dataclass(frozen=True)
class Column:
    """A column of the ranking.

    Attributes:
        header: what stands above it: one text for all views but TOP, or that of each view that has
            it.
        value: what it says of a trial; None and NaN: nothing.
        text: a value as a person reads it.
        is_text: it holds words: they stand to the left, and are wrapped where they are long.
        when: whether a ranking has it.
        markup: its HTML on a page, of the trial, the text and what the ranking is about.
    """

    header: str | Mapping[View, str]
    value: Callable[[TrialRow], Any]
    text: Callable[[Any], str] = str
    is_text: bool = False
    when: Callable[[About], bool] = lambda about: True
    markup: Callable[[TrialRow, str, About], str] | None = None

    def header_in(self, about: About) -> str | None:
        """Return the header; None where a ranking does without the column."""
        # A first screen has room for few: a column stands there only where it says so.
        if isinstance(self.header, str):
            known = None if about.view is View.TOP else self.header
        else:
            known = self.header.get(about.view)
        return known if known is not None and self.when(about) else None

    def cell(self, trial: TrialRow, about: About) -> Any:
        """Return what it says of a trial: a value in a file, else a text."""
        value = self.value(trial)
        if about.view is View.FILE:
            return value
        if value is None or value != value:
            return "" if about.view is View.LIVE else "–"
        text = self.text(value)
        if about.view not in (View.TOP, View.PAGE):
            return text
        key = float(value) if isinstance(value, int | float) else None
        return Cell(text, self.markup(trial, text, about) if self.markup else "", key)


def _in(header: str, *views: View, file: str = "") -> dict[View, str]:
    """Return one header for some views, and that of the file."""
    return dict.fromkeys(views, header) | ({View.FILE: file} if file else {})


def _objective(name: str) -> Callable[[About], bool]:
    return lambda about: about.view is View.FILE or name in about.objectives


def _has_intervals(about: About) -> bool:
    known = any(math.isfinite(trial.val_cer_low) for trial in about.trials)
    return about.width >= _NARROW if about.view is View.LIVE else known


def _interval(trial: TrialRow) -> tuple[float, float] | None:
    low, high = trial.val_cer_low, trial.val_cer_high
    return (low, high) if math.isfinite(low) else None


def _interval_now(trial: TrialRow) -> str | None:
    """Return an interval; it comes a while after the CER, when the tables are written."""
    if (ends := _interval(trial)) is not None:
        return _ENDS(*ends)
    is_open = trial.state in (RUNNING, PAUSED)
    return "not yet" if is_open and math.isfinite(trial.val_cer) else None


def _has_users(about: About) -> bool:
    known = any(math.isfinite(trial.val_cer_sd_user) for trial in about.trials)
    return known and (about.view is not View.LIVE or about.width >= _WIDE)


def _over_users(trial: TrialRow) -> tuple[float, float] | None:
    mean, sd = trial.val_cer_mean_user, trial.val_cer_sd_user
    return (mean, sd) if math.isfinite(sd) else None


def _progress(trial: TrialRow) -> str:
    return f"{trial.epochs}/{trial.max_epochs}"


def _marked_rank(trial: TrialRow, text: str, about: About) -> str:
    """Return a rank with the mark that the trial has in the figures."""
    return f"{mark(trial.rank - 1)}{text}" if trial.rank <= about.marked else text


def _name_and_settings(trial: TrialRow, text: str, about: About) -> str:
    """Return an architecture's name, and below it the settings that it does not share."""
    more = beyond_name(trial.architecture)
    below = f'<span class="more">{html.escape(more)}</span>' if more else ""
    return html.escape(text) + below


def _flagged(trial: TrialRow, text: str, about: About) -> str:
    """Return how a trial ended; what is not over, or ended by no merit of others, stands out."""
    if trial.state in (COMPLETE, STOPPED):
        return html.escape(text)
    more = f" {trial.reason}" if trial.reason else ""
    return f'<span class="tag">{trial.state}</span>{html.escape(more)}'


def _how_it_ended(trial: TrialRow) -> str:
    if trial.state in (COMPLETE, STOPPED) and trial.reason:
        return trial.reason
    return f"{trial.state}: {trial.reason}" if trial.reason else trial.state


def _flagged_progress(trial: TrialRow, text: str, about: About) -> str:
    """Return epochs trained, with the state below where the trial is not over."""
    over = trial.state in (COMPLETE, STOPPED)
    return text if over else f'{text}<br><span class="tag">{trial.state}</span>'


def _cer_with_doubts(trial: TrialRow, text: str, about: About) -> str:
    """Return a CER, with its interval on a first screen; marked where other weights are kept."""
    if about.view is View.TOP and math.isfinite(trial.val_cer_low):
        low, high = trial.val_cer_low, trial.val_cer_high
        text += f'<span class="more">{low:.1f} to {high:.1f}</span>'
    if trial.kept_note:
        said = html.escape(trial.kept_note, quote=True)
        text += f'<br><span class="tag" title="{said}">other weights kept</span>'
    return text


_WIDE, _NARROW = 96, 72
"""Characters below which a live table has no room for losses, and none for intervals."""
_ENDS = "{:.1f} to {:.1f}".format
_LIVE, _BOARD, _PAGE, _BRIEF = View.LIVE, View.BOARD, View.PAGE, View.BRIEF
_TOP = View.TOP
COLUMNS = (
    Column(
        _in("#", _LIVE, _BOARD) | _in("rank", _TOP, _PAGE, _BRIEF, file="rank"),
        lambda t: t.rank,
        markup=_marked_rank,
    ),
    Column(
        _in("trial", _LIVE, _TOP, _PAGE, _BRIEF, file="trial"),
        lambda t: t.number,
        "{:03d}".format,
    ),
    Column(_in("trial", _BOARD), lambda t: t.name, is_text=True),
    Column(_in("architecture", _LIVE, _BRIEF), lambda t: t.label, is_text=True),
    Column(_in("architecture", _TOP), lambda t: t.label, is_text=True, markup=_name_and_settings),
    Column(_in("architecture", _PAGE, file="architecture"), lambda t: t.architecture, is_text=True),
    Column(_in("epoch", _LIVE), _progress),
    Column(
        _in("loss", _LIVE),
        lambda t: t.val_loss,
        "{:.3f}".format,
        when=lambda about: about.width >= _WIDE,
    ),
    Column(
        _in("CER %", _LIVE, _BOARD) | _in("val CER %", _TOP, _PAGE, _BRIEF, file="val_cer"),
        lambda t: t.val_cer,
        "{:.2f}".format,
        markup=_cer_with_doubts,
    ),
    Column(_in("95 %", _LIVE), _interval_now, when=_has_intervals),
    Column(
        _in("95 % interval", _PAGE, _BRIEF),
        _interval,
        lambda ends: _ENDS(*ends),
        when=_has_intervals,
    ),
    Column(
        _in("over users", _LIVE, _BOARD, _TOP, _PAGE, _BRIEF),
        _over_users,
        lambda spread: "{:.1f} ± {:.1f}".format(*spread),
        when=_has_users,
    ),
    Column(_in("", file="val_cer_low"), lambda t: t.val_cer_low),
    Column(_in("", file="val_cer_high"), lambda t: t.val_cer_high),
    Column(
        _in("test CER %", _TOP, _PAGE, _BRIEF, file="test_cer"),
        lambda t: t.test_cer,
        "{:.2f}".format,
        when=lambda about: about.view is View.FILE or about.is_evaluated,
    ),
    Column(
        _in("worst user %", _PAGE, _BRIEF, file="val_cer_worst_user"),
        lambda t: t.val_cer_worst_user,
        "{:.1f}".format,
        when=_has_users,
    ),
    Column(_in("", file="val_cer_pooled"), lambda t: t.val_cer_pooled, when=_has_users),
    Column(_in("", file="val_cer_mean_user"), lambda t: t.val_cer_mean_user, when=_has_users),
    Column(_in("", file="val_cer_sd_user"), lambda t: t.val_cer_sd_user, when=_has_users),
    Column(_in("", file="best_epoch"), lambda t: t.best_epoch),
    Column(_in("", file="kept_epoch"), lambda t: t.kept_epoch),
    Column(_in("", file="epochs"), lambda t: t.epochs),
    Column(_in("", file="max_epochs"), lambda t: t.max_epochs),
    Column(_in("", file="state"), lambda t: t.state),
    Column(_in("", file="reason"), lambda t: t.reason),
    Column(_in("epochs", _BOARD, _PAGE, _BRIEF), _progress),
    Column(
        _in("parameters", _TOP, _PAGE, _BRIEF, file="parameters"),
        lambda t: t.parameters,
        "{:,}".format,
    ),
    Column(
        _in("MMAC/s", _PAGE, _BRIEF, file="macs_per_second"),
        lambda t: t.macs_per_second,
        lambda macs: f"{macs / 1e6:,.1f}",
        when=_objective("macs"),
    ),
    Column(
        _in("look-ahead", _PAGE, _BRIEF, file="lookahead_ms"), lambda t: t.lookahead_ms, lookahead
    ),
    Column(
        _in("electrodes", _PAGE, _BRIEF, file="electrodes"),
        lambda t: t.electrodes,
        when=_objective("electrodes"),
    ),
    Column(_in("", file="seconds"), lambda t: t.seconds),
    Column(
        _in("front", _LIVE, _PAGE, _BRIEF, file="front"),
        lambda t: t.on_front,
        lambda is_on: "●" if is_on else "",
        when=lambda about: about.has_front,
    ),
    Column(_in("time", _PAGE), lambda t: t.seconds, duration),
    Column(_in("state", _LIVE, _BRIEF), lambda t: t.state, is_text=True),
    Column(_in("epochs", _TOP), _progress, markup=_flagged_progress),
    Column(_in("how it ended", _BOARD), _how_it_ended, is_text=True),
    Column(
        _in("how it ended", _PAGE),
        lambda t: t.reason or t.state,
        is_text=True,
        markup=_flagged,
    ),
)
"""Every column, in the order in which a table has them."""
_STYLES = {RUNNING: "cyan", PAUSED: "dim", COMPLETE: "green", STOPPED: "dim", FAILED: "red"}


def ranking(about: About) -> Table:
    """Return a ranking of trials, in their order."""
    found = [(column.header_in(about), column) for column in COLUMNS]
    shown = [(header, column) for header, column in found if header is not None]
    is_live = about.view is View.LIVE
    return Table(
        headers=[header for header, _ in shown],
        rows=[[column.cell(trial, about) for _, column in shown] for trial in about.trials],
        left=[header for header, column in shown if column.is_text],
        unbroken=("state",) if is_live else (),
        widest="architecture" if is_live else "",
        styles=_STYLES if is_live else {},
        trials=[trial.number for trial in about.trials],
    )
