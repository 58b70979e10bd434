"""Estimates a character n-gram model from lines of text and writes it as an ARPA file.

Interpolated Kneser-Ney smoothing with three discounts (Chen and Goodman 1998), as KenLM's lmplz has
it. An n-gram is one integer, its keys the digits of base 101, so that counting is sorting.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emgmodels.atomic import whole
from emgmodels.charset import BLANK, encode, key_of, label_of
from emgmodels.language.orders import ORDERS
from emgmodels.outputs import mark_of

ARPA_MARK = mark_of("language model")
"""Lengths of n-grams that KenLM's Python package reads."""
_UNKNOWN, _BEGIN, _END = BLANK, BLANK + 1, BLANK + 2
_BASE = BLANK + 3
_NEVER = -99.0
"""log10 of the probability of ``<s>``, which is never predicted."""
_FALLBACK = (0.5, 1.0, 1.5)
"""Discounts where too few n-grams were counted to estimate them."""
_SHIFTED = frozenset(encode('ABCDEFGHIJKLMNOPQRSTUVWXYZ~!@#$%^&*()_+{}|:"<>?'))
"""Characters that a US keyboard has on shift."""


@dataclass(frozen=True, eq=False)
class _Order:
    """All n-grams of one length.

    Attributes:
        ngrams: (G,) as integers, sorted.
        probability: (G,) of the last key after the others.
        backoff: (G,) weight of shorter histories after this n-gram.
    """

    ngrams: np.ndarray
    probability: np.ndarray
    backoff: np.ndarray


def typed_lines(texts: str | Iterable[str], shifts: bool = True) -> Iterator[list[int]]:
    """Yield the labels of each line of texts, as a typist would type it.

    Args:
        texts: one or more, with any number of lines each; empty ones and what has no label are
            left out.
        shifts: press shift before each character that needs it.
    """
    shift, enter = label_of("Key.shift"), label_of("Key.enter")
    for text in [texts] if isinstance(texts, str) else texts:
        for line in text.splitlines():
            labels = [label for label in encode(line) if label != enter]
            if shifts:
                pressed = ([shift, x] if x in _SHIFTED else [x] for x in labels)
                labels = [label for pair in pressed for label in pair if label is not None]
            if labels:
                yield labels


def write_arpa(lines: Iterable[Sequence[int]], order: int, path: str | Path) -> list[int]:
    """Estimate a model of lines and write it.

    Args:
        lines: labels of each line; its end takes the place of the enter key.
        order: length of the longest n-grams.
        path: the ARPA file.

    Returns:
        How many n-grams of each length it has.

    Raises:
        ValueError: the order is not one that KenLM reads, or there is no text.
    """
    if order not in ORDERS:
        raise ValueError(
            f"order {order}: KenLM's Python package reads orders {ORDERS[0]} to {ORDERS[-1]}"
        )
    orders = _estimate(*_stream(lines), order)
    # One form of line end, since KenLM reads bytes.
    with whole(Path(path)) as scratch, scratch.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"# {ARPA_MARK}\n")  # KenLM passes over lines that begin so
        file.write("\\data\\\n")
        for n, grams in enumerate(orders, 1):
            file.write(f"ngram {n}={len(grams.ngrams)}\n")
        for n, grams in enumerate(orders, 1):
            file.write(f"\n\\{n}-grams:\n")
            file.writelines(_rows(grams, n, with_backoff=n < order))
        file.write("\n\\end\\\n")
    return [len(grams.ngrams) for grams in orders]


def _stream(lines: Iterable[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return (S,) keys of all lines, each between ``<s>`` and ``</s>``, and (S,) their lines."""
    wrapped = [[_BEGIN, *line, _END] for line in lines]
    if not wrapped:
        raise ValueError("there is no text to estimate a language model from")
    stream = np.array([key for line in wrapped for key in line], np.int64)
    return stream, np.repeat(np.arange(len(wrapped)), [len(line) for line in wrapped])


def _estimate(stream: np.ndarray, line: np.ndarray, order: int) -> list[_Order]:
    """Return the model, shortest n-grams first."""
    raw = [np.unique(_windows(stream, line, n), return_counts=True) for n in range(1, order + 1)]
    vocabulary = len(raw[0][0])  # <unk> and </s> among them, <s> not
    orders: list[_Order] = []
    for n in range(1, order + 1):
        ngrams, counts = raw[n - 1]
        if n < order:
            counts = _continuations(ngrams, counts, raw[n][0], n)
        if n == 1:
            ngrams, counts = ngrams[ngrams != _BEGIN], counts[ngrams != _BEGIN]
        probability, histories, weight = _discounted(ngrams, counts)
        shorter: np.ndarray | float = 1 / vocabulary
        if orders:
            shorter = _look_up(orders[-1], ngrams % _BASE ** (n - 1))
            at = np.searchsorted(orders[-1].ngrams, histories)
            orders[-1].backoff[at] = weight
        probability += weight[np.searchsorted(histories, ngrams // _BASE)] * shorter
        if n == 1:
            ngrams = np.concatenate((ngrams, [_UNKNOWN, _BEGIN]))
            probability = np.concatenate((probability, [weight[0] / vocabulary, 0.0]))
            ngrams, probability = ngrams[(by := np.argsort(ngrams))], probability[by]
        orders.append(_Order(ngrams, probability, np.ones(len(ngrams))))
    return orders


def _windows(stream: np.ndarray, line: np.ndarray, n: int) -> np.ndarray:
    """Return all n-grams that lie within one line."""
    count = max(len(stream) - n + 1, 0)
    code = np.zeros(count, np.int64)
    for i in range(n):
        code = code * _BASE + stream[i : i + count]
    return code[line[:count] == line[n - 1 : n - 1 + count]]


def _continuations(
    ngrams: np.ndarray, counts: np.ndarray, longer: np.ndarray, n: int
) -> np.ndarray:
    """Return after how many keys each n-gram was seen; how often, where ``<s>`` begins it."""
    _, seen = np.unique(
        np.concatenate((longer % _BASE**n, ngrams)), return_counts=True
    )  # each n-gram once more than seen
    return np.where(ngrams // _BASE ** (n - 1) == _BEGIN, counts, seen - 1)


def _discounted(
    ngrams: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (G,) discounted shares, (H,) histories and (H,) what discounting left to each."""
    histories, history = np.unique(ngrams // _BASE, return_inverse=True)
    taken = np.array([0.0, *_discounts(counts)])[np.minimum(counts, 3)]
    total = np.bincount(history, counts)
    return (
        (counts - taken) / total[history],
        histories,
        np.bincount(history, taken) / total,
    )


def _discounts(counts: np.ndarray) -> tuple[float, float, float]:
    """Return the discounts of n-grams counted once, twice, and more often."""
    n1, n2, n3, n4 = (int((counts == i).sum()) for i in range(1, 5))
    # In a short text some counts never occur, and the estimate would divide by zero.
    if 0 in (n1, n2, n3, n4):
        return _FALLBACK
    y = n1 / (n1 + 2 * n2)
    found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    if any(not 0 <= d <= i for i, d in enumerate(found, 1)):
        return _FALLBACK
    return found


def _look_up(order: _Order, ngrams: np.ndarray) -> np.ndarray:
    return order.probability[np.searchsorted(order.ngrams, ngrams)]


def _rows(grams: _Order, n: int, with_backoff: bool) -> Iterator[str]:
    names = [*(key_of(label) for label in range(BLANK)), "<unk>", "<s>", "</s>"]
    for code, probability, backoff in zip(
        grams.ngrams.tolist(), grams.probability.tolist(), grams.backoff.tolist(), strict=True
    ):
        words = " ".join(names[code // _BASE**i % _BASE] for i in reversed(range(n)))
        log = math.log10(probability) if probability > 0 else _NEVER
        end = f"\t{math.log10(backoff):.7g}" if with_backoff else ""
        yield f"{log:.7g}\t{words}{end}\n"
