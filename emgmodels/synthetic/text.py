"""English sentences for the synthetic typist, from a small grammar.

A rule's alternatives stand one a line, equally likely; a word list's words stand in order of
frequency, drawn with weight 1 / (rank + 2): Zipf's law with Mandelbrot's offset, here chosen so
that in a list of forty the first word is about seven times as frequent as the median one.
"""

from __future__ import annotations

import functools
import re

import numpy as np

_RULES = {
    "sentence": """
        <clause>.
        <clause>.
        <clause>.
        <clause>.
        <place>, <clause>.
        <when>, <clause>.
        <when> <clause>.
        <clause>, <joining> <clause>.
        <clause> <joining> <clause>.
        <clause> <joining> <clause>.
        <someone> said that <clause>.
        <request> <see> <thing> <place>.
        did <who> <see> <thing> <place>?
        why did <who> <see> <thing>?
        <one> <was> <quality>, but <clause>.
        <clause> - <manner>!
        <clause> at <hour>:<minute>.
        <who> <saw> <number> <things> <place>.
        <clause>; <clause>.
    """,
    "clause": """
        <who> <saw> <thing>
        <who> <saw> <thing> <place>
        <who> <went> <place>
        <who> <went> <place> <when>
        <one> <was> <quality>
        <who> <manner> <saw> <thing>
        <who> <wanted> to <see> <thing>
        there was <a> <place>
        <one> of <who-else> <was> <quality>
        <who> <saw> <thing> and <thing>
        it was <quality> that <who> <saw> <thing>
        <who> didn't <see> <thing>
    """,
    "who": """
        <pronoun>
        <pronoun>
        <someone>
        the <person>
        the <quality> <person>
    """,
    "who-else": """
        the <person>
        <someone>
    """,
    "thing": """
        <one>
        <one>
        <some> <things>
        the <person>'s <object>
    """,
    "one": """
        the <object>
        the <object>
        the <quality> <object>
        <whose> <object>
        <a>
    """,
    "a": """
        a <object>
        a <quality> <object>
    """,
    "place": """
        <at> the <area>
        <at> the <area>
        <at> the <quality> <area>
        <at> <whose> <area>
    """,
    "number": """
        <hour>
        <minute>
        <hour>00
    """,
}

_WORDS = {
    "pronoun": "I they he she we you it somebody everyone",
    "someone": "Anna Tom Maria James Lucy Peter Zoe Jack Olivia Max Quinn Ben",
    "whose": "my his their our her your",
    "some": "some many the few all those several two most these seven",
    "joining": "and but when because so while before although until after if",
    "was": "was seemed became looked remained stayed",
    "request": "please always never kindly just",
    "when": "today then yesterday later again tonight soon once sometimes",
    "at": "in at near by from behind on under around over through across past outside beyond",
    "person": """
        man woman child teacher doctor neighbour friend boy girl farmer driver sister student guest
        uncle captain writer baker king player lawyer pilot queen judge sailor gardener""",
    "object": """
        house letter book time door road table word picture day thing plan river window garden car
        question boat horse light train paper story bridge song tree box key field cup clock ship
        machine basket dress fire ticket voice jacket coin lamp puzzle knife map kitchen lake engine
        blanket zebra jar quilt violin prize axe wheel ladder yacht""",
    "things": """
        people words books things letters houses children trees birds pictures questions flowers
        boxes chairs boats hours lights horses stories songs tickets keys apples stamps jewels maps
        gloves quizzes""",
    "area": """
        house town river garden station school market hill village kitchen city forest office church
        harbour shop bridge museum park field library sea mountain hotel island factory yard beach
        square jungle zoo valley""",
    "quality": """
        good old little new long great small young large white dark early quiet warm heavy strange
        black green cold empty happy difficult red bright simple wooden beautiful careful broken
        quick tired blue gentle huge narrow famous exact lazy sharp brave frozen quaint dizzy vivid
        extra junior""",
    "manner": """
        slowly always quickly never often quietly really almost just suddenly gladly carefully
        finally hardly proudly exactly lazily bravely""",
    "saw": """
        saw had took made found gave left liked wrote heard kept brought sold bought remembered
        opened watched carried followed needed painted knew changed fixed missed loved built moved
        closed repaired drew lost washed mixed judged squeezed""",
    "see": """
        see have take find make give leave like write keep bring sell buy remember open watch carry
        follow paint change fix build move close lose wash""",
    "went": """
        went came lived walked waited worked sat stayed slept stood ran played returned arrived
        travelled sang rested jumped vanished""",
    "wanted": "wanted tried hoped used came had began decided learned forgot expected refused",
    "hour": "1 2 3 4 5 6 7 8 9 10 11 12",
    "minute": "30 15 45 20 50 10 40 25 38 16 27 49",
}

_SLOT = re.compile(r"<([\w-]+)>")


def sentence(rng: np.random.Generator) -> str:
    """Return one English sentence of about 15 to 100 characters, in characters of a US keyboard.

    Args:
        rng: Source of all choices.
    """
    text = _expand("sentence", rng)
    text = re.sub(r"\ba (?=[aeiou])", "an ", text)
    return text[0].upper() + text[1:]


def _expand(symbol: str, rng: np.random.Generator) -> str:
    """Return a random expansion of a rule or a word of a list."""
    choices, cumulative = _choices(symbol)
    chosen = choices[int(np.searchsorted(cumulative, rng.random(), side="right"))]
    return _SLOT.sub(lambda slot: _expand(slot[1], rng), chosen)


@functools.cache
def _choices(symbol: str) -> tuple[list[str], np.ndarray]:
    """Return what a symbol can become and the cumulative probabilities."""
    if symbol in _WORDS:
        choices = _WORDS[symbol].split()
        weights = 1 / (np.arange(len(choices)) + 3.0)
    else:
        choices = [line.strip() for line in _RULES[symbol].strip().splitlines()]
        weights = np.ones(len(choices))
    cumulative = np.cumsum(weights / weights.sum())
    cumulative[-1] = 1.0
    return choices, cumulative
