"""Says what the winners of a search are worth on whole sessions, and on the test sessions.

python -m search.evaluate runs/deep-001                     the best trial, on validation sessions
python -m search.evaluate runs/deep-001 --top 3 --test      the best three, on test sessions too
python -m search.evaluate runs/deep-001 --lm lm.arpa --tune-lm      with a language model
python -m search.evaluate runs/deep-001 --adapt norm        the norm follows each session as well

Nothing else in this project opens a test session, and the run folder records when this did.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from emgmodels.command import ALLOW_CODE, CommandLine
from emgmodels.ctc.defaults import BONUS, WEIGHT

app = CommandLine()


@app.command(
    epilog="Examples:\n\npython -m search.evaluate runs/deep-001\n\n"
    "python -m search.evaluate runs/deep-001 --top 3 --test\n\n"
    "python -m search.evaluate runs/deep-001 --lm lm.arpa --tune-lm"
)
def command(
    run: Annotated[Path, typer.Argument(help="Run folder, such as runs/deep-001.")],
    top: Annotated[int, typer.Option(min=1, help="How many of the best trials.")] = 1,
    test: Annotated[bool, typer.Option("--test", help="Look at the test sessions too.")] = False,
    lm: Annotated[
        Path | None,
        typer.Option(help="Language model, ARPA or KenLM's binary; emgmodels.language makes one."),
    ] = None,
    beam: Annotated[
        int | None, typer.Option(min=1, help="Width of the beam; default: 50 with --lm.")
    ] = None,
    lm_weight: Annotated[
        float,
        typer.Option(min=0, help="Weight of the language model's log10, as in emg2qwerty."),
    ] = WEIGHT,
    insertion_bonus: Annotated[
        float, typer.Option(help="Bonus for each key that the language model scores.")
    ] = BONUS,
    tune_lm: Annotated[
        bool, typer.Option("--tune-lm", help="Find weight and bonus on validation sessions.")
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(help="Folder or URI of the session files now, if they were moved."),
    ] = None,
    adapt: Annotated[
        Literal["norm"] | None,
        typer.Option(help="norm: also read each session with its own statistics in the norm."),
    ] = None,
    lines: Annotated[int, typer.Option(min=0, help="Lines of text to show with errors.")] = 3,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: the GPU.")] = None,
    allow_code: Annotated[bool, typer.Option("--allow-code", help=ALLOW_CODE)] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Evaluate a search's best trials on whole sessions: CER with its parts and 95 % intervals.

    Each session is read in 4 s windows whose emissions are stitched, and in
    one pass; beside them stands the score of single windows, by which the
    search ranked. Sessions without key times count by whole prompts. With
    --lm or --beam, a beam search stands beside greedy decoding; with --adapt
    norm, reading by the session's own statistics, which needs no labels. Test sessions
    are opened with --test alone, and the run folder records that they were.
    """
    from search.evaluate.evaluating import evaluate

    evaluate(
        run,
        top=top,
        test=test,
        lm=lm,
        beam=beam,
        lm_weight=lm_weight,
        insertion_bonus=insertion_bonus,
        tune_lm=tune_lm,
        data=data,
        adapt=adapt,
        lines=lines,
        device=device,
        allow_code=allow_code,
        quiet=quiet,
    )


if __name__ == "__main__":
    app(prog_name="python -m search.evaluate")
