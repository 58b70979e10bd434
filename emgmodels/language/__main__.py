"""Builds character n-gram language models for beam search.

python -m emgmodels.language build text.txt --out lm.arpa
python -m emgmodels.language build text.txt --prompts DIR --order 5 --out lm.arpa
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from emgmodels.command import CommandLine
from emgmodels.language.orders import ORDERS
from emgmodels.saying import counted, echo

app = CommandLine(no_args_is_help=True)


@app.callback()
def _commands() -> None:
    """Build language models for beam search."""


@app.command(
    epilog="Examples:\n\npython -m emgmodels.language build text.txt --out lm.arpa\n\n"
    "python -m emgmodels.language build --prompts DIR --subject 89335547 --out lm.arpa\n\n"
    "python -m search.evaluate runs/deep-001 --lm lm.arpa --tune-lm"
)
def build(
    texts: Annotated[
        list[Path] | None, typer.Argument(help="Text files in UTF-8, a sentence or prompt a line.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The ARPA file.")] = Path("lm.arpa"),
    order: Annotated[
        int, typer.Option(help=f"Length of n-grams, {ORDERS[0]} to {ORDERS[-1]}.")
    ] = ORDERS[-1],
    prompts: Annotated[
        Path | None,
        typer.Option(help="Folder of sessions: add the prompts of those for training."),
    ] = None,
    subject: Annotated[str | None, typer.Option(help="Whose sessions.")] = None,
    split: Annotated[Path | None, typer.Option(help="emg2qwerty's split file.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of a split without a file.")] = 0,
    shifts: Annotated[
        bool, typer.Option(help="Press shift before each character that needs it.")
    ] = True,
) -> None:
    """Estimate an n-gram model of the keys that type a text (modified Kneser-Ney).

    Its vocabulary is the keys that the text needs; the end of a line takes the
    place of enter. Prompts come from training sessions alone: those for
    validation and test are not opened. KenLM reads the file, and so does
    python -m search.evaluate --lm.
    """
    from emgmodels.language.estimate import ARPA_MARK, typed_lines, write_arpa
    from emgmodels.outputs import check_output

    check_output(out, ARPA_MARK, [*(texts or []), *([split] if split else [])])
    found = _texts(texts or [], prompts, subject, split, seed)
    lines = list(typed_lines(found, shifts))
    counts = write_arpa(lines, order, out)
    keys = sum(map(len, lines))
    echo(
        f"{out}: {' + '.join(map(str, counts))} n-grams of 1 to {counted(order, 'key')}, "
        f"from {counted(len(lines), 'line')} of {counted(keys, 'key')}"
    )


def _texts(
    paths: list[Path], prompts: Path | None, subject: str | None, split: Path | None, seed: int
) -> Iterator[str]:
    from emgmodels.sessions import read_session, session_paths, split_files

    if not paths and prompts is None:
        raise ValueError("no text: name a text file, or a folder of sessions with --prompts")
    for path in paths:
        try:
            yield path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: is not a text in UTF-8: {error}") from None
    if prompts is not None:
        # Only training sessions are opened, so recordings are not compared between subsets.
        chosen = split_files(session_paths(prompts), str(prompts), subject, split, seed)
        for session in chosen.train:
            yield from (prompt.text for prompt in read_session(session).prompts if prompt.text)


if __name__ == "__main__":
    app(prog_name="python -m emgmodels.language")
