"""Frames a second of beam search, with and without a 3-gram, on noise and on typing.

Noise is the worst case: every frame brings new prefixes. Typing is emissions as a trained model
gives them at 125 frames a second: a key, or two that are alike, for some frames, then the blank.
The floor scores and ranks every candidate of every frame once, by numpy, without texts or a model.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.measure import Figure, Scope
from benchmarks.plain_beam import PlainLanguage, plain_beam_search
from emgmodels.charset import BLANK, NUM_CLASSES
from emgmodels.ctc import BeamSearch
from emgmodels.language import LanguageModel, typed_lines, write_arpa
from emgmodels.synthetic.text import sentence

WIDTH, LABELS, WEIGHT, BONUS = 50, 20, 1.6, 1.0


def run(scope: Scope) -> Iterator[Figure]:
    """Measure frames a second of both ways, which must give the same keys."""
    frames = 60 if scope.short else 400
    rng = np.random.default_rng(0)
    lines = list(typed_lines(sentence(rng) for _ in range(100 if scope.short else 2000)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "3gram.arpa"
        write_arpa(lines, 3, path)
        plain = PlainLanguage(path, WEIGHT, BONUS)
        language = LanguageModel(path)
    inputs = {"noise": noise(frames, rng), "typing": typing(lines[0] + lines[1], frames, rng)}
    for name, log_probs in inputs.items():
        for language_name in ("no language model", "3-gram"):
            with_language = language_name == "3-gram"
            search = BeamSearch(WIDTH, LABELS, language if with_language else None, WEIGHT, BONUS)
            parts = {
                "plain": lambda p=plain if with_language else None, e=log_probs: plain_beam_search(
                    e, WIDTH, LABELS, p
                ),
                "fast": lambda s=search, e=log_probs: s.decode(e),
            }
            if parts["plain"]() != parts["fast"]():
                raise AssertionError(f"{name}, {language_name}: the two ways read different keys")
            timings = scope.interleave({**parts, "floor": lambda: score_candidates(frames)})
            yield Figure(
                f"beam search, {name}, {language_name}",
                value=frames / timings.median("fast"),
                unit="frames/s",
                reference=frames / timings.median("plain"),
                ratio=timings.ratio("plain", "fast"),
                wanted="20 x",
                floor=frames / timings.median("floor"),
                share=1 / timings.ratio("fast", "floor"),
                note=f"beam {WIDTH}, {LABELS} keys a frame; the model's scores are cached"
                if with_language
                else f"beam {WIDTH}, {LABELS} keys a frame",
            )


def noise(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Return (T, 99) log-probabilities of nothing in particular."""
    return _log_softmax(3 * rng.normal(size=(frames, NUM_CLASSES)))


def typing(labels: list[int], frames: int, rng: np.random.Generator) -> np.ndarray:
    """Return (T, 99) log-probabilities of keys pressed every 28 frames, some of them doubtful."""
    scores = rng.normal(size=(frames, NUM_CLASSES))
    scores[:, BLANK] += 12
    for at, label in zip(range(10, frames - 2, 28), labels, strict=False):
        rival = int(rng.integers(BLANK))
        scores[at : at + 3, label] += rng.normal(13, 2)
        scores[at : at + 3, rival] += rng.normal(10, 3)
    return _log_softmax(scores)


def score_candidates(frames: int) -> None:
    """Do what no beam search of a frame can do without: add scores, add probabilities, rank."""
    prefixes, keys = np.zeros((WIDTH, 1)), np.zeros(LABELS)
    for _ in range(frames):
        candidates = np.logaddexp(prefixes + keys, keys).ravel()
        np.argpartition(candidates, -WIDTH)


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
