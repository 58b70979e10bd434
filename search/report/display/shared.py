"""What architectures in compact notation have in common, to be said once above them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence

_TOKEN = re.compile(r"[^\s()]+(?:\([^()]*\))?")


def shared_settings(architectures: Collection[str]) -> list[str]:
    """Return the settings that all architectures share, as the compact notation writes them.

    Of a stage these are the settings with the same value wherever the stage stands, in more than
    one architecture. Stages, their layers and the electrodes are an architecture's name, and stay.

    Args:
        architectures: in compact notation; one alone shares nothing.

    >>> shared_settings(["gru:2(hidden=8) hop:64 @4ch", "gru:1(hidden=8) hop:64 @16ch"])
    ['hop:64', 'gru(hidden=8)']
    """
    if len(architectures) < 2:
        return []
    read = [_parts(text) for text in architectures]
    front = [word for word in read[0][1] if all(word in words for _, words in read)]
    stages: dict[str, list[list[str]]] = defaultdict(list)
    for found, _ in read:
        for name, settings in found:
            stages[name].append(settings)
    for name, known in stages.items():
        if len(known) > 1 and (same := _common(known)):
            front.append(f"{name}({','.join(same)})")
    return front


def without(architecture: str, shared: Sequence[str]) -> str:
    """Return an architecture without the settings that all share.

    >>> without("gru:2(hidden=8,dropout=0.1) hop:64 @4ch", ["hop:64", "gru(hidden=8)"])
    'gru:2(dropout=0.1) @4ch'
    """
    inside = {
        name: settings.rstrip(")").split(",")
        for name, bracket, settings in (text.partition("(") for text in shared)
        if bracket
    }
    words = []
    for word in _TOKEN.findall(architecture):
        head, bracket, settings = word.partition("(")
        if not bracket and word in shared:
            continue
        own = [
            each
            for each in settings.rstrip(")").split(",")
            if each and each not in inside.get(head.partition(":")[0], ())
        ]
        words.append(f"{head}({','.join(own)})" if own else head)
    return " ".join(words)


def beyond_name(architecture: str) -> str:
    """Return the settings that the brief notation of an architecture leaves out, in few words.

    >>> beyond_name("gru:2(hidden=8,dropout=0.1) conv:4 mlp:48 @4ch")
    'gru hidden=8 dropout=0.1, mlp:48'
    """
    found, front = _parts(architecture)
    own = [f"{name} {' '.join(settings)}" for name, settings in found if settings]
    return ", ".join([*own, *front])


def _parts(text: str) -> tuple[list[tuple[str, list[str]]], list[str]]:
    """Return stages with their settings, and the settings of front end and features."""
    from emgmodels.config import FeaturesConfig
    from emgmodels.notation import FRONT

    stages, front = [], []
    for word in _TOKEN.findall(text):
        head, _, settings = word.partition("(")
        name = head.partition(":")[0]
        if name in FRONT or name in FeaturesConfig.model_fields:
            front.append(word)
        elif not word.startswith("@"):
            stages.append((name, [each for each in settings.rstrip(")").split(",") if each]))
    return stages, front


def _common(known: Sequence[Sequence[str]]) -> list[str]:
    return [each for each in known[0] if all(each in settings for settings in known)]
