"""Reads the test sessions of people with every model of a comparison, each once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from emgmodels.bootstrap import cer_interval
from emgmodels.checkpoints.loading import load
from emgmodels.checkpoints.weights import weights_hash
from emgmodels.metrics import EditCounts
from emgmodels.reading.sessions import STITCHED, emit
from emgmodels.windows.cache import prepare
from emgmodels.windows.recording import Recording
from search.people.persons import Person
from search.people.results import Found


@dataclass(frozen=True)
class Candidate:
    """A model for a person.

    Attributes:
        person: who.
        way: how it was made.
        minutes: of own data that it learnt from.
        is_all: whether these are all that there are.
        path: its checkpoint.
        weights: their hash.
        epoch: that they are of; 0: the winner's own.
    """

    person: Person
    way: str
    minutes: float
    is_all: bool
    path: Path
    weights: str
    epoch: int

    @property
    def key(self) -> tuple[object, ...]:
        """What ``Found.key`` is of it."""
        return self.person.user, self.way, self.minutes, self.weights, self.person.test_names


def read_people(
    candidates: Sequence[Candidate],
    done: Sequence[Found],
    note: Callable[[Sequence[Path]], None],
) -> Iterator[Found]:
    """Yield what candidates read that are not among those done, person by person.

    Args:
        candidates: the models.
        done: what was read before.
        note: told all test sessions before the first of them is opened.
    """
    known = {found.key for found in done}
    left = [candidate for candidate in candidates if candidate.key not in known]
    people = list(dict.fromkeys(candidate.person for candidate in left))
    if people:
        note([path for person in people for path in person.test])
    for person in people:
        recordings = prepare(person.test)
        yield from (_read(each, recordings) for each in left if each.person == person)


def _read(candidate: Candidate, recordings: Sequence[Recording]) -> Found:
    reader = load(candidate.path)
    training = reader.config.training
    read = [emit(reader.model, each, training, STITCHED).read() for each in recordings]
    edits = sum((transcript.edits for transcript in read), EditCounts())
    chunks = [chunk for transcript in read for chunk in transcript.chunks]
    # A seed of its own, so that the same command says the same.
    low, high = cer_interval(chunks)
    return Found(
        user=candidate.person.user,
        way=candidate.way,
        minutes=candidate.minutes,
        is_all=candidate.is_all,
        cer=edits.cer,
        cer_low=low,
        cer_high=high,
        characters=edits.target,
        weights=weights_hash(reader.model.state_dict()),
        best_epoch=candidate.epoch,
        sessions=candidate.person.test_names,
        seed=reader.config.seed,
    )
