"""The command ``emgsearch``: the commands of both packages under one name, with shell completion.

emgsearch run spaces/deep.yaml
emgsearch --install-completion
"""

from __future__ import annotations

import importlib
import re
from typing import Any

import typer

from emgmodels.command import CommandLine, Group

COMMANDS = {
    "run": ("search.run.command", "Search a space of architectures."),
    "runs": ("search.runs", "List searches with state, best CER, age and size."),
    "report": ("search.report.__main__", "Write tables, figures and one HTML page of a search."),
    "evaluate": ("search.evaluate.__main__", "Evaluate the winners on whole sessions."),
    "people": (
        "search.people.__main__",
        "Fine-tune a winner to people that it has never seen, and compare.",
    ),
    "simulate": ("search.simulate.__main__", "Replay recorded learning curves through schedulers."),
    "storage": ("search.storage.__main__", "Fetch run folders from an object store."),
    "space": ("search.space.__main__", "Print every key of a space file."),
    "sessions": ("emgmodels.sessions.__main__", "Look at session files."),
    "windows": ("emgmodels.windows.__main__", "Convert sessions ahead of a search; the cache."),
    "synthetic": ("emgmodels.synthetic.__main__", "Write session files of a synthetic typist."),
    "factory": (
        "emgmodels.network.show",
        "Print stages, shapes and parameters of an architecture.",
    ),
    "train": ("emgmodels.training.__main__", "Train one model."),
    "language": ("emgmodels.language.__main__", "Build a language model for beam search."),
    "export": ("emgmodels.export.__main__", "Write a trained model for use elsewhere."),
    "stream": ("emgmodels.stream.__main__", "Play a session and read it as if it were live."),
}
"""Name, module with an ``app``, and what it is for: a module is imported when its command is."""
NAMES = {module.removesuffix(".__main__"): name for name, (module, _) in COMMANDS.items()}
# What is typed after ``python -m`` where the module with the app is another one.
NAMES |= {"search.run": "run", "emgmodels.factory": "factory"}
_MODULE = re.compile(r"\bpython -m ([\w.]*\w)")


class _Commands(Group):
    """Imports a command's module when it is run or completed, and not to list its name."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name in COMMANDS:
            command = typer.main.get_command(importlib.import_module(COMMANDS[name][0]).app)
            _rename(command)
        return name, command, rest


def _rename(command: Any) -> None:
    """Write a command's help, and that of commands of its own, with the names of this one."""
    for part in (command, *command.params):
        for attribute in ("help", "epilog", "short_help"):
            if text := getattr(part, attribute, None):
                setattr(part, attribute, _MODULE.sub(_called, text))
    for own in getattr(command, "commands", {}).values():
        _rename(own)


def _called(match: re.Match[str]) -> str:
    return f"emgsearch {NAMES[match[1]]}" if match[1] in NAMES else match[0]


def _placeholder() -> None:
    """Give a command its place in the list."""


app = CommandLine(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=True,
    help="Finds the neural network that reads typed text from wrist EMG with the lowest CER.",
)
for _name, (_, _purpose) in COMMANDS.items():
    app.command(_name, help=_purpose)(_placeholder)


if __name__ == "__main__":
    app(prog_name="emgsearch")
