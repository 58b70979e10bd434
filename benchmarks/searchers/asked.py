"""A search whose trials another process trains: what it asks for goes through a pipe, as JSON.

python -m benchmarks.searchers.asked MODULE PLAYER

It reads the search, and then an answer to each question, from its input, and ends with what was
trained. Only Python's own library is imported, since other libraries' environments run it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO, Any, overload

from benchmarks.searchers.problem import Config, Parameter, Problem

MEASURES = ("cer", "loss", "seconds")
"""What is known of each epoch: validation CER (%), validation loss, processor time (s)."""


class Channel:
    """Lines of JSON, to another process and from it."""

    def __init__(self, answers: IO[str], questions: IO[str]) -> None:
        self._answers, self._questions = answers, questions

    def ask(self, **question: Any) -> Any:
        """Send a question, and return what is answered."""
        self.send(question)
        return self.read()

    def send(self, said: Any) -> None:
        """Send a line."""
        # Other libraries suggest numbers of NumPy's types.
        self._questions.write(json.dumps(said, default=lambda value: value.item()) + "\n")
        self._questions.flush()

    def read(self) -> Any:
        """Return the next line."""
        line = self._answers.readline()
        if not line:
            raise EOFError("the process that trains has ended")
        return json.loads(line)


class Epochs(Sequence[float]):
    """One measure of a trial's epochs: what is read of it is trained first."""

    def __init__(self, channel: Channel, trial: int, name: str, epochs: int) -> None:
        self._channel, self._trial, self._name, self._epochs = channel, trial, name, epochs
        self._known: list[float] = []

    def __len__(self) -> int:
        return self._epochs

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[float]: ...
    def __getitem__(self, index: int | slice) -> float | Sequence[float]:
        wanted = range(self._epochs)[index]
        last = wanted if isinstance(wanted, int) else max(wanted, default=-1)
        if last >= len(self._known):
            self._known = self._channel.ask(train=self._trial, until=last + 1, of=self._name)
        return self._known[index]


@dataclass(frozen=True)
class Asked(Problem):
    """A search over a space. Each suggestion is a trial of its own.

    Attributes:
        channel: to the process that trains.
    """

    channel: Channel

    @classmethod
    def over(cls, channel: Channel) -> Asked:
        """Return the search that the process which trains sends first."""
        told = channel.read()
        trials, epochs = told.pop("trials"), told.pop("epochs")
        columns: dict[str, Any] = {
            name: [Epochs(channel, trial, name, epochs) for trial in range(trials)]
            for name in MEASURES
        }
        parameters = [
            Parameter(**{**each, "values": tuple(each["values"])})
            for each in told.pop("parameters")
        ]
        return cls(channel=channel, parameters=parameters, **columns, **told)

    def trial_for(self, values: Config, among: Iterable[int]) -> int:
        """Return the first free trial, which takes the suggested values."""
        trial = min(among)
        self.configs[trial] = dict(values)
        self.channel.ask(place=trial, values=dict(values))
        return trial


def main(module: str, player: str) -> None:
    """Let a player of a module search, and send what was trained."""
    # What a library prints must not get between the questions.
    questions = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    channel = Channel(sys.stdin, questions)
    events = importlib.import_module(module).PLAYERS[player](Asked.over(channel))
    channel.send({"events": events})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
