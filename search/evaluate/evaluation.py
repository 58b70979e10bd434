"""One trial on one set of sessions, in every way of reading a session."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from emgmodels.bootstrap import cer_interval
from emgmodels.ctc import BeamSearch
from emgmodels.metrics import EditCounts
from emgmodels.network.network import Network
from emgmodels.network.summary import describe
from emgmodels.notation import notation
from emgmodels.reading.adapting import adapted, can_adapt
from emgmodels.reading.sessions import ONE_PASS, STITCHED, WINDOWS, Transcript, emit
from emgmodels.scoring import RankBy, Rates, Scoring
from emgmodels.windows.recording import Recording
from search.report.display.words import lookahead
from search.results.record import TrialRecord, Weights

GREEDY = "greedy"
ADAPTED = "stitched, norm adapted"
"""Read as whole sessions, with the norm's statistics of each."""
# More than the spread between seeds; public transformers went from 37 % to 94 %.
PARTING = 3.0
"""Points of CER between stitched and one pass that are worth a warning."""
# Another device rounds sums differently, which moves a few keys.
_RECORDED = 0.5
"""Points of CER by which a checkpoint may differ from what the search recorded."""


@dataclass(frozen=True, eq=False)
class Row:
    """One way of reading one session, all of one user, or the whole set.

    Attributes:
        session: its name; None: all sessions of the set, or of the user.
        way: ``STITCHED``, ``ONE_PASS`` or ``WINDOWS``.
        search: how the emissions were decoded; None: greedily.
        transcripts: of the sessions, one each.
        user: whose it is; None: the whole set.
        users: of the whole set, whose each transcript is.
        rank_by: the CER that ranks; None: over several users their mean.
    """

    session: str | None
    way: str
    search: BeamSearch | None
    transcripts: list[Transcript]
    user: str | None = None
    users: Sequence[str] = ()
    rank_by: RankBy | None = None

    @cached_property
    def scoring(self) -> Scoring | None:
        """Whose each 4 s are; None: of one user."""
        if len(set(self.users)) < 2:
            return None
        pairs = zip(self.users, self.transcripts, strict=True)
        return Scoring.of((user for user, found in pairs for _ in found.chunks), self.rank_by)

    @property
    def rates(self) -> Rates | None:
        """The CERs over its users; None: there is one."""
        return self.scoring.rates(*_counts(self.chunks)) if self.scoring else None

    @property
    def cer(self) -> float:
        """The CER (%) that ranks: pooled, or over several users as the search ranked."""
        if self.scoring is None:
            return self.edits.cer
        return float(self.scoring.cer(*_counts(self.chunks)))

    def interval_by(self, ranking: RankBy) -> tuple[float, float]:
        """Return the 95 % interval of a CER (%), over users and their text."""
        scoring = self.scoring and replace(self.scoring, by=ranking)
        return cer_interval(self.chunks, scoring=scoring)

    @property
    def decoder(self) -> str:
        """What a table calls the way of decoding."""
        return self.search.name if self.search else GREEDY

    @property
    def edits(self) -> EditCounts:
        """Edits of all its sessions."""
        return sum((found.edits for found in self.transcripts), EditCounts())

    @property
    def chunks(self) -> list[EditCounts]:
        """Edits of each 4 s."""
        return [chunk for found in self.transcripts for chunk in found.chunks]

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the pooled CER (%)."""
        return self.interval_by("pooled")

    @property
    def seconds(self) -> float:
        """Time from EMG to labels (s)."""
        return sum(found.seconds for found in self.transcripts)

    @property
    def duration(self) -> float:
        """Length of the EMG (s)."""
        return sum(found.duration for found in self.transcripts)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What one trial read in one set of sessions.

    Attributes:
        trial: as the search recorded it.
        subset: ``val`` or ``test``.
        searches: how emissions were decoded; None: greedily.
        transcripts: session, and what was read in it, one way after the other.
        notes: what the user should know.
        weights: those that read; None: it is not known which.
        users: who typed each session.
        rank_by: the CER that the search ranked by; None: over several users their mean.
    """

    trial: TrialRecord
    subset: str
    searches: Sequence[BeamSearch | None] = (None,)
    transcripts: list[tuple[str, Transcript]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    weights: Weights | None = None
    users: dict[str, str] = field(default_factory=dict)
    rank_by: RankBy | None = None

    @property
    def sessions(self) -> list[str]:
        """Names of the sessions."""
        return list(dict.fromkeys(name for name, _ in self.transcripts))

    def rows(self) -> Iterator[Row]:
        """Yield the whole set, then each of several users, then each session, by way.

        A way that did not succeed in every session has no row of the whole set.
        """
        for way in (STITCHED, ADAPTED, ONE_PASS, WINDOWS):
            for search in self.searches:
                read = self.read(way, search)
                # A sum over some of the sessions would look better or worse than the whole set.
                if len(read) != len(self.sessions):
                    continue
                users = [self.users.get(name, "") for name, _ in read]
                found = [transcript for _, transcript in read]
                yield Row(None, way, search, found, None, users, self.rank_by)
                for user in dict.fromkeys(users) if len(set(users)) > 1 else ():
                    own = [each for whose, each in zip(users, found, strict=True) if whose == user]
                    yield Row(None, way, search, own, user)
        for name, transcript in self.transcripts:
            way, user = transcript.way, self.users.get(name, "")
            yield Row(name, way, transcript.search, [transcript], user)

    def read(self, way: str, search: BeamSearch | None) -> list[tuple[str, Transcript]]:
        """Return sessions and what was read in them in one way."""
        return [
            (name, found)
            for name, found in self.transcripts
            if found.way == way and found.search is search
        ]

    def cer(self, way: str, search: BeamSearch | None = None) -> float:
        """Return the CER of the whole set that ranks (%), NaN where there is none."""
        for row in self.rows():  # the whole set comes first
            if row.user is None and row.way == way and row.search is search:
                return row.cer
        return math.nan

    def warnings(self) -> Iterator[str]:
        """Yield why its figures, or the model, should not be trusted as they are."""
        stitched, one_pass = self.cer(STITCHED), self.cer(ONE_PASS)
        if abs(stitched - one_pass) > PARTING:
            yield (
                f"warning: CER is {stitched:.1f} % stitched and {one_pass:.1f} % in one pass: the "
                f"model has learnt how long its windows were. Read with it in such windows, as "
                f"emgmodels.load does by itself"
            )
        windows, ranked = self.cer(WINDOWS), self.trial.weights
        if self.weights and ranked and self.weights.are_others(ranked):
            yield (
                f"warning: {self.trial.name} is ranked by epoch {ranked.epoch} ({ranked.cer:.2f} % "
                f"in validation), and its checkpoint is of epoch {self.weights.epoch} "
                f"({self.weights.cer:.2f} %): all figures here are of the checkpoint"
            )
        elif self.subset == "val" and ranked and abs(windows - ranked.cer) > _RECORDED:
            yield (
                f"warning: the search recorded {ranked.cer:.2f} % for these windows: the "
                f"checkpoint is of another epoch, or the sessions have changed"
            )


def evaluate_trial(
    trial: TrialRecord,
    model: Network,
    subset: str,
    recordings: Iterable[Recording],
    searches: Sequence[BeamSearch | None] = (None,),
    weights: Weights | None = None,
    rank_by: RankBy | None = None,
    adapts: bool = False,
) -> Evaluation:
    """Read sessions in every way.

    Args:
        trial: whose model it is.
        model: in evaluation mode.
        subset: ``val`` or ``test``.
        recordings: sessions of that subset.
        searches: how to decode emissions; None: greedily.
        weights: the model's, as its checkpoint says.
        rank_by: the CER that the search ranked by.
        adapts: also read each session, stitched, with its own statistics in the norm.
    """
    evaluation = Evaluation(trial, subset, searches, weights=weights, rank_by=rank_by)
    for recording in recordings:
        name = recording.name
        if name in evaluation.users:  # of another user
            name = f"{recording.user}/{name}"
        evaluation.users[name] = recording.user
        for way in (STITCHED, ONE_PASS, WINDOWS):
            try:
                emissions = emit(model, recording, trial.config.training, way)
            except (MemoryError, ValueError) as error:
                # A model with a fixed number of positions, or a long session on a small GPU,
                # cannot be read at once. The other ways still tell the result.
                if way != ONE_PASS:
                    raise
                evaluation.notes.append(f"note: {name} was not read in one pass: {error}")
                continue
            evaluation.transcripts.extend((name, emissions.read(search)) for search in searches)
        if adapts and can_adapt(model):
            with adapted(model, recording):
                emissions = emit(model, recording, trial.config.training, STITCHED)
            emissions = replace(emissions, way=ADAPTED)
            evaluation.transcripts.extend((name, emissions.read(search)) for search in searches)
    if adapts and not can_adapt(model):
        evaluation.notes.append("note: a rolling norm follows each session by itself")
    return evaluation


def _counts(chunks: Sequence[EditCounts]) -> tuple[np.ndarray, np.ndarray]:
    """Return (W,) edits and (W,) characters."""
    return np.array([each.edits for each in chunks]), np.array([each.target for each in chunks])


def reach(evaluation: Evaluation) -> str:
    """Return how far into the future its model looks, and its architecture, in a line."""
    config = evaluation.trial.config.model
    return f"Look-ahead: {lookahead(describe(config).lookahead_ms)}; {notation(config)}"
