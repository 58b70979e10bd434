"""What is compared: a search's winner, people, trainings, and the folder that keeps them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emgmodels.checkpoints.start import START, Start, read_start
from emgmodels.config import Config
from search.engine.resources import Resources
from search.engine.trial import TrialData
from search.halving.cost import macs_of_epoch
from search.people.persons import Person
from search.people.reading import Candidate
from search.people.trainings import ZERO_SHOT, Training
from search.results.folder import RunFolder
from search.results.record import TrialRecord
from search.run.forecast import slots_here
from search.run.inside import COMPARED, is_done
from search.run.plan import Plan
from search.run.sessions import open_again
from search.space import SearchConfig, load_space

FOLDER = "people"
"""Run folder of the trainings, inside that of the search."""


@dataclass(frozen=True)
class Comparison:
    """All that is compared.

    Attributes:
        run: folder of the search.
        into: folder of the trainings.
        winner: the trial whose model is tried.
        start: its checkpoint.
        people: whom it is tried on.
        trainings: what is trained.
    """

    run: RunFolder
    into: RunFolder
    winner: TrialRecord
    start: Start
    people: Sequence[Person]
    trainings: Sequence[Training]

    @property
    def trained(self) -> dict[Config, TrialRecord]:
        """The trainings that were begun, by configuration."""
        return {trial.config: trial for trial in self.into.trials.values()}

    def missing(self) -> list[tuple[int, Training]]:
        """Return number and training of each that is not done."""
        known, free, found = self.trained, max(self.into.trials, default=-1) + 1, []
        for training in self.trainings:
            begun = known.get(training.config)
            if begun is None:
                found.append((free, training))
                free += 1
            elif not is_done(begun):
                found.append((begun.number, training))
        return found

    def candidates(self) -> Iterator[Candidate]:
        """Yield the models of each person, the winner as it is first."""
        trained = self.trained
        for person in self.people:
            start = self.into.path / START
            yield Candidate(person, ZERO_SHOT, 0.0, False, start, self.start.hash, 0)
            for each in self.trainings:
                trial = trained.get(each.config) if each.person == person else None
                if trial is None or trial.weights is None:
                    continue
                path, best = self.into.path / "checkpoints" / f"{trial.slug}.pt", trial.weights
                if path.is_file():
                    yield Candidate(
                        *(person, each.way, each.minutes, each.is_all, path),
                        weights=best.hash,
                        epoch=best.epoch,
                    )

    def check_same(self) -> None:
        """Refuse to go on with a comparison of another winner, or on other sessions.

        Raises:
            ValueError: so it is.
        """
        path = self.into.path
        if not (path / "environment.json").is_file():
            return
        facts = self.into.read_environment()[COMPARED]
        if facts["weights"] != self.start.hash:
            raise ValueError(
                f"{path}: compares another winner (weights {facts['weights']}) than "
                f"{self.run.path} has now ({self.start.hash}): move it elsewhere to compare anew"
            )
        for person in self.people:
            if facts["people"].get(person.user) not in (None, person.names()):
                raise ValueError(
                    f"{path}: the sessions of {person.user} were others: put them back, or move "
                    f"the folder elsewhere to compare anew"
                )

    def seconds(
        self,
        left: Sequence[tuple[int, Training]],
        facts: Mapping[str, Any],
        given: Resources | None,
    ) -> float | None:
        """Return what trainings take (s), by what the winner's epochs took in the search.

        Args:
            left: those.
            facts: what ``environment.json`` of the search says.
            given: what each is given; None: a cluster decides.

        Returns:
            None on a cluster, and where an old version did not write how much EMG a search had.
        """
        emg, epochs = facts.get("emg_seconds"), self.winner.epoch
        if not left or not emg or not epochs or given is None:
            return None
        each = self.winner.seconds / epochs / macs_of_epoch(1.0, **emg)
        work = (
            macs_of_epoch(1.0, 60 * training.minutes, training.person.seconds("val"))
            * training.config.training.epochs
            for _, training in left
        )
        return each * sum(work) / min(len(left), slots_here(given))

    def plan(
        self,
        left: Sequence[tuple[int, Training]],
        facts: Mapping[str, Any],
        data: Path,
        asked: tuple[float | None, float | str | None],
        given: Resources | None,
        address: str | None,
    ) -> Plan:
        """Return the plan of the trainings that are missing.

        Args:
            left: those.
            facts: what ``environment.json`` of the search says.
            data: folder with the people's sessions.
            asked: cores and GPUs of a training.
            given: the same, as it is on this machine; None: a cluster decides.
            address: a running Ray cluster's address.
        """
        space = load_space(self.run.path / "space.yaml")
        settings: dict[str, Any] = {"sampler": "random", "scheduler": "none"}
        # All checkpoints stay, of earlier calls too: each is read when all are trained.
        kept = len(self.into.trials) + len(left)
        settings |= {"checkpoints": kept, "save_every": space.search.save_every}
        cpus, gpus = asked
        sessions = TrialData(
            tuple(dict.fromkeys(file for _, each in left for file in each.data.train)),
            tuple(dict.fromkeys(file for _, each in left for file in each.data.val)),
        )
        scratch = self.trainings[0].config
        training = scratch.training.model_dump(mode="json")
        written = {
            "name": space.name,
            "model": _without_nulls(scratch.model.model_dump(mode="json")),
            "training": _without_nulls(training) | {"warmup_steps": training["warmup_steps"]},
            "search": settings,
        }
        return Plan(
            space=replace(space, search=SearchConfig.model_validate(settings), start=None),
            opened=open_again(sessions),
            data=sessions,
            asked=(cpus, None if gpus is None else float(gpus)),
            resources=given,
            address=address,
            place=self.into.mirror.place if self.into.mirror else None,
            facts=self._facts(facts, data, sessions),
            written=written,
            listed=[(number, each.config) for number, each in left],
            start=self.start,
            sessions={number: each.data for number, each in left},
            seconds=self.seconds(left, facts, given),
        )

    def _facts(self, facts: Mapping[str, Any], data: Path, sessions: TrialData) -> dict[str, Any]:
        """Return what ``environment.json`` says, of people of earlier calls too."""
        begun = (self.into.path / "environment.json").is_file()
        earlier = self.into.read_environment()[COMPARED]["people"] if begun else {}
        people = {**earlier, **{person.user: person.names() for person in self.people}}
        test = [os.path.abspath(path) for person in self.people for path in person.test]
        return {
            **{key: facts[key] for key in ("code", "synthetic") if key in facts},
            "seed": self.trainings[0].config.seed,
            "subject": ", ".join(people),
            "split": {"origin": FOLDER, "train": sessions.train, "val": sessions.val, "test": test},
            "data": os.path.abspath(data),
            COMPARED: {
                "trial": self.winner.number,
                "weights": self.start.hash,
                "people": people,
            },
        }


def winner_of(folder: RunFolder) -> tuple[TrialRecord, Start]:
    """Return the best trial that has a checkpoint, and this.

    Raises:
        ValueError: none has.
    """
    for trial in folder.ranking():
        path = folder.path / "checkpoints" / f"{trial.slug}.pt"
        if path.is_file():
            return trial, read_start(path)
    raise ValueError(
        f"{folder.path}: holds no checkpoint: checkpoints/ keeps those of the best trials once a "
        f"trial has ended or paused"
    )


def _without_nulls(values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    return {name: _without_nulls(value) for name, value in values.items() if value is not None}
