"""How every command ends: a mistake in one message, a fault of the program in a log.

A command's app is a ``CommandLine``, a Typer app whose commands and groups share ``_Plain.main``:

* What someone typed or gave wrongly is one message without a traceback, with exit code 2. It is a
  ``ValueError`` that this project raises, an ``OSError`` of the machine, or an option's own error.
* An error with an ``exit_code`` ends with that code, and its message.
* Anything else is a fault of the program: one line, and a log of this user with the traceback; 1.
* Ctrl-C ends with 130, and a closed pipe (``| head``) quietly with 1.

Importing this module is cheap: no PyTorch, no Ray.
"""

from __future__ import annotations

import contextlib
import dis
import errno
import math
import os
import platform
import shlex
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from emgmodels.paths import local_path, refuse_pointer
from emgmodels.redaction import redact
from emgmodels.saying import echo

# PyTorch's threads wait for each other by spinning, 300,000 times before they sleep. Where other
# programs use the cores, those that are waited for do not run: an epoch of 5 s took minutes. With
# 1,000, as libgomp takes where it knows of too many threads, it takes 14 s, and 5.5 s in quiet.
# It is read when PyTorch is imported, which commands do after this.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
WRONG, FAULT, INTERRUPTED = 2, 1, 130
"""Exit codes: a user's mistake, a fault of the program, Ctrl-C."""
_PACKAGES = ("emgmodels", "search", "benchmarks")
_RAISE = dis.opmap["RAISE_VARARGS"]
_MOST = 2**63
"""Integers of options are below it: what counts and seeds of any library hold."""
ALLOW_CODE = "Import code of its own that a space, run or checkpoint names; read it first."
"""Help of the option ``--allow-code``."""
_REMEDIES = {
    errno.ENOSPC: "free some space, or name another place",
    errno.EDQUOT: "free some space, or name another place",
    errno.EACCES: "change its permissions, or name another place",
    errno.EPERM: "change its permissions, or name another place",
    errno.EROFS: "name a place that can be written",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a file stands where a folder is needed: name another place",
    errno.EISDIR: "name a file",
    errno.EEXIST: "a file stands where a folder is needed: name another place",
    errno.ENAMETOOLONG: "give a shorter name",
}


@contextlib.contextmanager
def ends_plainly() -> Iterator[None]:
    """End the process as the module says, whatever is raised inside.

    Raises:
        SystemExit: something was.
    """
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        _say("interrupted")
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        _close_pipe()
        raise SystemExit(1) from None
    except typer.TyperException as error:
        _say(_usage(error))
        raise SystemExit(WRONG) from None
    except typer.Abort:
        _say("error: no answer was given")
        raise SystemExit(1) from None
    except Exception as error:
        code = getattr(error, "exit_code", WRONG if _is_expected(error) else None)
        if code is None:
            _say(f"error: {_fault(error)}")
            raise SystemExit(FAULT) from None
        _say(f"error: {told(error)}")
        raise SystemExit(code) from None


class _Plain:
    """What commands and groups share."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run, and end the process; ``standalone_mode`` is Typer's."""
        main: Any = super().main  # type: ignore[misc]
        if not standalone_mode:
            return main(*args, standalone_mode=False, **extra)
        for stream in (sys.stdout, sys.stderr):  # a terminal may lack symbols of keys and tables
            with contextlib.suppress(AttributeError, ValueError):
                # On a terminal of ASCII the symbol of a backspace would otherwise end the
                # command.
                stream.reconfigure(errors="replace")  # type: ignore[union-attr]
        with ends_plainly():
            code = main(*args, standalone_mode=False, **extra)
            if code == INTERRUPTED:  # Typer has caught Ctrl-C
                raise KeyboardInterrupt
        raise SystemExit(code if isinstance(code, int) else 0)

    def get_params(self, ctx: typer.Context) -> list[Any]:
        """Return the parameters; a flag shows no type in ``--help``."""
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if getattr(param, "is_flag", False):
                param.metavar = ""
        return params

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        """Refuse values that no option takes, and take ``file://`` URIs for paths."""
        given = list(args)
        rest: list[str] = super().parse_args(ctx, args)  # type: ignore[misc]
        if ctx.resilient_parsing:
            return rest
        if isinstance(self, TyperCommand) and "" in given:
            raise typer.BadParameter("an argument is empty: fill it in or leave it out", ctx=ctx)
        for param in self.params:  # type: ignore[attr-defined]
            try:
                ctx.params[param.name] = _checked(ctx.params.get(param.name))
            except ValueError as error:
                raise typer.BadParameter(str(error), ctx=ctx, param=param) from None
        return rest


class Command(_Plain, TyperCommand):  # type: ignore[misc]
    """One command."""


class Group(_Plain, TyperGroup):  # type: ignore[misc]
    """A command with commands of its own."""


class CommandLine(typer.Typer):
    """A Typer app whose commands end plainly."""

    def __init__(self, **settings: Any) -> None:
        settings = {"cls": Group, "add_completion": False, **settings}
        super().__init__(pretty_exceptions_enable=False, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Any:
        """Return what makes a command of a function, as Typer's does."""
        return super().command(name, **{"cls": Command, **settings})


def _checked(value: Any) -> Any:
    """Return an option's value as the command takes it.

    Raises:
        ValueError: no command takes it.
    """
    if isinstance(value, list | tuple):
        return type(value)(map(_checked, value))
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no finite number")
    if isinstance(value, int) and not -_MOST <= value < _MOST:
        raise ValueError(f"{value} is too large")
    if isinstance(value, Path):
        value = local_path(value)
        refuse_pointer(value)
    return value


def _is_expected(error: Exception) -> bool:
    """Return whether an error is a user's mistake, or the machine's, and not the program's.

    A ``ValueError`` is one where this project raises it with a message of its own. One from inside
    a library, or from a call that failed, was not foreseen: its text helps no user.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return True
    if not isinstance(error, ValueError | OSError):
        return False
    origin: Any = error.__traceback__
    while origin.tb_next is not None:
        origin = origin.tb_next
    code, names = origin.tb_frame.f_code, origin.tb_frame.f_globals
    module = getattr(names.get("__spec__"), "name", None) or names.get("__name__", "")
    # Whoever raised it wrote the message for a person. An error of a library was not foreseen
    # here.
    return module.partition(".")[0] in _PACKAGES and code.co_code[origin.tb_lasti] == _RAISE


def told(error: Exception) -> str:
    """Return the message of an expected error, without secrets."""
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        where = " -> ".join(str(name) for name in (error.filename, error.filename2) if name)
        remedy = _REMEDIES.get(error.errno)
        parts = [*([where] if where else []), error.strerror, *([remedy] if remedy else [])]
        return redact(": ".join(parts))
    return redact(str(error) or type(error).__name__)


def _usage(error: typer.TyperException) -> str:
    message = " ".join(error.format_message().split())
    if isinstance(error, typer.BadParameter):
        message = _refused(message, getattr(error.__cause__, "errors", list)())
    if not message:  # the help was shown instead
        return ""
    context = getattr(error, "ctx", None)
    hint = f" ({context.command_path} --help says more)" if context else ""
    return redact(f"error: {message.rstrip('.')}{hint}")


def _refused(message: str, mistakes: Sequence[Mapping[str, Any]]) -> str:
    """Return what is wrong with an option's value, in the words of a space file's mistakes.

    Args:
        message: Typer's, which names the option.
        mistakes: pydantic's, of which the first is told; none: the message says it.
    """
    option, _, rule = message.removeprefix("Invalid value for ").partition(": ")
    option = option.strip("'")
    if mistakes:
        rule = mistakes[0]["msg"].removeprefix("Value error, ").partition(", unable to parse")[0]
    if not rule.startswith("Input should "):
        return f"{option}: {rule}" if rule else message
    value = shlex.quote(str(mistakes[0]["input"]))
    return f"{option} {value} is not allowed: must {rule.removeprefix('Input should ')}"


def _fault(error: Exception) -> str:
    """Write a log of a fault of the program, and return one line that names it."""
    what = redact(f"{type(error).__name__}: {error}".splitlines()[0])[:300]
    lines = [
        f"{shlex.join(sys.argv)}\n",
        f"Python {platform.python_version()}, {platform.platform()}, in {os.getcwd()}\n\n",
        *traceback.format_exception(error),
    ]
    try:
        # A traceback may show paths and names, so that only this user may read it.
        handle, path = tempfile.mkstemp(prefix="emgsearch-", suffix=".log")  # this user's alone
        with open(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(redact("".join(lines)))
    except OSError as full:
        return f"this is a fault of the program: {what} (no log could be written: {full})"
    return f"this is a fault of the program: {what}; report it with {path}"


def _say(message: str) -> None:
    if message:
        with contextlib.suppress(OSError):
            shown = "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in message)
            echo(shown, err=True)


def _close_pipe() -> None:
    """Let nothing more be written where nobody reads, at the interpreter's end among others."""
    with contextlib.suppress(OSError, ValueError):
        # Python flushes stdout once more when it ends, and would print a traceback then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
