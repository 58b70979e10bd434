"""Writes a model as a folder to share: weights, description, model card, configuration."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from emgmodels.checkpoints.loading import load
from emgmodels.checkpoints.shared import (
    CARD,
    CONFIG,
    DESCRIPTION,
    FOLDER_MARK,
    WEIGHTS,
    write_folder,
)
from emgmodels.config import dump_config
from emgmodels.config.own import code_of
from emgmodels.export.model_card import model_card
from emgmodels.outputs import check_output, write_text
from emgmodels.own_code import (
    FETCHED,
    FOLDER,
    Code,
    CodeError,
    Reference,
    codes_of,
    find_code,
    write_code,
)
from emgmodels.reading.reader import Reader

_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")


def export_folder(
    checkpoint: Path, folder: Path, licence: str | None = None, *, allow_code: bool = False
) -> Reader:
    """Write a model to a folder, which ``emgmodels.load`` reads, and return it.

    Args:
        checkpoint: file of the model.
        folder: where; files there that this did not write are never replaced.
        licence: identifier of the weights' licence, as the hub has it; None: what an earlier card
            in the folder says.
        allow_code: import code that the file names and carries.

    Raises:
        ValueError: the folder can't be written, or holds such a file; the licence is no identifier.
    """
    if licence is not None and not _LICENCE.fullmatch(licence):
        raise ValueError(
            f"--license {licence}: expected an identifier such as apache-2.0, cc-by-4.0 or other"
        )
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ValueError(f"{folder}: is there and is no folder: name another --out")
    for name in (WEIGHTS, DESCRIPTION, CARD, CONFIG):
        check_output(folder / name, FOLDER_MARK, [checkpoint])
    licence = licence or _licence_in(folder / CARD)
    reader = load(checkpoint, allow_code=allow_code)
    codes = list(_codes(code_of(reader.config), checkpoint.absolute().parent.parent))
    _check_code(codes, folder / FOLDER)
    write_folder(reader, folder)
    if codes:
        write_code(codes, folder / FOLDER)  # where a training looks for what its file names
        (folder / FETCHED).touch()  # whoever gets it is to be asked, wherever it lies
    write_text(folder / CONFIG, f"# {FOLDER_MARK}\n{dump_config(reader.config)}")
    write_text(folder / CARD, model_card(reader, checkpoint, folder.absolute().name, licence))
    return reader


def _licence_in(card: Path) -> str | None:
    """Return the licence that a card of this writer was given; None: it has none."""
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    found = re.search(r"^license: (\S+)$", text, re.MULTILINE)
    return found[1] if found and "license_name: not-stated" not in text else None


def _codes(references: Iterable[str], run: Path) -> Iterator[Code]:
    """Yield the code that a training names: a checkpoint carries its model's, a run folder all."""
    for text in references:
        if found := codes_of([text]):
            yield from found
        else:
            with contextlib.suppress(CodeError):  # what is read here is not imported
                yield find_code(Reference.read(text), run / FOLDER)[0]


def _check_code(codes: Iterable[Code], folder: Path) -> None:
    """Refuse to replace a file of another text."""
    for path, text in ((folder / path, text) for code in codes for path, text in code.files):
        if os.path.lexists(path) and not (path.is_file() and path.read_bytes() == text.encode()):
            raise ValueError(f"{path}: is there with another text: name another --out")
