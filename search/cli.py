"""The command ``emgsearch``: every ``python -m`` command under one name, with shell completion.

emgsearch run spaces/deep.yaml
emgsearch --install-completion
"""

from __future__ import annotations

import importlib
from typing import Any

import typer
from typer.core import TyperGroup

COMMANDS = {
    "run": ("search.run", "Search a space of architectures."),
    "runs": ("search.runs", "List searches with state, best CER, age and size."),
    "report": ("search.report.__main__", "Write tables, figures and one HTML page of a search."),
    "evaluate": ("search.evaluate.__main__", "Evaluate the winners on whole sessions."),
    "simulate": ("search.simulate", "Replay recorded learning curves through schedulers."),
    "storage": ("search.storage.__main__", "Fetch run folders from an object store."),
    "space": ("search.space.__main__", "Print every key of a space file."),
    "sessions": ("emgmodels.sessions.__main__", "Look at session files."),
    "train": ("emgmodels.training.__main__", "Train one model."),
    "language": ("emgmodels.language.__main__", "Build a language model for beam search."),
    "export": ("emgmodels.export.__main__", "Write a trained model for use elsewhere."),
    "stream": ("emgmodels.stream.__main__", "Play a session and read it as if it were live."),
}
"""Name, module with an ``app``, and what it is for: a module is imported when its command is."""


class _Commands(TyperGroup):
    """Imports a command's module when it is run or completed, and not to list its name."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name in COMMANDS:
            command = typer.main.get_command(importlib.import_module(COMMANDS[name][0]).app)
        return name, command, rest


def _placeholder() -> None:
    """Give a command its place in the list."""


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Finds the neural network that reads typed text from wrist EMG with the lowest CER.",
)
for _name, (_, _purpose) in COMMANDS.items():
    app.command(_name, help=_purpose)(_placeholder)
