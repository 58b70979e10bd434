"""Rules that a search may follow, and the choice of one on recorded learning curves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from emgmodels.config import Frozen, explain, settings_of, validated
from emgmodels.own_code import Reference, find_code, install, load
from emgmodels.saying import counted
from search.engine.schedulers import make_scheduler
from search.halving.halving import RANKINGS
from search.simulate.replay import Curve, ReplaySummary, replay_many
from search.space.choices import Chosen

RAY_ASHA = "ray_asha"
"""Ray's own ASHA, to compare with; it takes every CER at its word."""
_LEAST_GROUP = 8
"""Curves of a source that are enough to search among."""
# Not 1: the first epoch says nothing, whatever the training starts from.
_GRACES = (2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60, 90, 120)
# A later first rung spares little.
_LATEST = 0.3
"""No grace of long trainings beyond this share of them, or beyond 15 epochs."""
_ETAS = (1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
_FIRST = 10
"""One search in ten is enough to tell what a rule costs, and whether its regret is far off."""


@dataclass(frozen=True)
class Rule:
    """A scheduler and its options."""

    name: str
    given: tuple[tuple[str, Any], ...] = ()
    """Names and values of its options."""

    @classmethod
    def of(cls, name: str, **options: Any) -> Rule:
        """Return a rule with these options; None: not given."""
        return cls(name, tuple((key, val) for key, val in options.items() if val is not None))

    @property
    def options(self) -> dict[str, Any]:
        """Its options by name."""
        return dict(self.given)

    def __str__(self) -> str:
        said = {"rank_by": "by"}
        return " ".join([self.name, *(f"{said.get(k, k)} {_brief(v)}" for k, v in self.given)])

    def make(self, epochs: int) -> TrialScheduler:
        """Return a new scheduler for trainings of that many epochs."""
        if self.name == RAY_ASHA:
            grace, eta = self.options.get("grace", 1), self.options.get("eta", 4)
            return AsyncHyperBandScheduler(
                "epoch", max_t=epochs, grace_period=grace, reduction_factor=eta
            )
        chosen = self._own() if is_own(self.name) else None
        return make_scheduler(self.name, max_epochs=epochs, chosen=chosen, **self.options)

    def _own(self) -> Chosen:
        """Return the scheduler of the user's own, with those of the options that it has."""
        code, settings = own_scheduler(self.name)
        try:
            return Chosen(code, validated(settings, self.options))
        except ValidationError as error:
            raise ValueError("\n".join(explain(error, f"--scheduler {self.name}"))) from None


def is_own(name: str) -> bool:
    """Return whether a scheduler's name is a reference to code: ``my_search.py:Margin``."""
    return ":" in name


def own_scheduler(name: str) -> tuple[str, type[Frozen]]:
    """Return where a scheduler of the user's own stands, and the class of its settings.

    It is imported, since the user has named it.

    Raises:
        CodeError: there is none, or it cannot be imported.
    """
    code, reference = find_code(Reference.read(name), Path())
    install(code)
    return str(reference), settings_of(load(str(reference)))


@dataclass(frozen=True)
class Setting:
    """What is replayed beside the curves and the rule."""

    epochs: int
    slots: int
    trials: int
    repeats: int
    seed: int

    def replay(self, curves: list[Curve], rule: Rule) -> ReplaySummary:
        """Replay a rule; the same setting draws the same searches for every rule."""
        return replay_many(
            curves,
            lambda: rule.make(self.epochs),
            epochs=self.epochs,
            slots=self.slots,
            trials=min(self.trials, len(curves)),
            repeats=self.repeats,
            seed=self.seed,
        )


@dataclass(frozen=True)
class Tuned:
    """The cheapest rule within a bound, and what choosing so is worth on curves it never saw."""

    rule: Rule
    summary: ReplaySummary
    held_out: dict[str, tuple[Rule, ReplaySummary]]
    """For each group of curves: the rule chosen on the other groups, and its result here."""


def compared(epochs: int) -> list[Rule]:
    """Return the rules that --compare replays, those that fit such short trainings only."""
    asha = [(3, 1.5), (4, 1.5), (4, 2.0), (5, 1.5), (5, 3.0), (6, 1.5), (8, 1.5), (10, 2.0)]
    rules = [
        *(
            Rule.of("asha", grace=grace, eta=eta, rank_by=rank_by)
            for rank_by in RANKINGS
            for grace, eta in asha
        ),
        *(Rule.of("asha_stopping", grace=grace, eta=eta, rank_by="loss") for grace, eta in asha),
        *(Rule.of(RAY_ASHA, grace=grace, eta=3.0) for grace in (1, 3, 5, 10)),
    ]
    fitting = [rule for rule in rules if rule.options["grace"] < epochs]
    return [*fitting, Rule("hyperband"), Rule("median"), Rule("none")]


def tune(curves: list[Curve], setting: Setting, bound: float, rules: Iterable[Rule]) -> Tuned:
    """Choose the cheapest rule whose mean regret stays within a bound.

    The same choice is made on all sources but one, for each, and looked at on that one. That tells
    what a choice is worth on curves it was not made on. Every rule replays a part of the searches,
    and all of them those that come into question, from the cheapest on.

    Raises:
        ValueError: no rule reaches the bound.
    """
    groups = group(curves, setting.seed)
    others = {
        name: [curve for other in groups if other != name for curve in groups[other]]
        for name in groups
    }
    # Hundreds of rules on hundreds of searches would take minutes. A tenth of the searches rules
    # most of them out.
    first = replace(setting, repeats=max(1, setting.repeats // _FIRST))
    on_all: dict[Rule, ReplaySummary] = {}
    on_others: dict[str, dict[Rule, ReplaySummary]] = {name: {} for name in groups}
    for rule in rules:
        on_all[rule] = first.replay(curves, rule)
        for name in groups:
            on_others[name][rule] = first.replay(others[name], rule)
    rule, summary = _cheapest(curves, setting, bound, on_all)
    if summary.regret > bound:
        raise ValueError(
            f"--tune {bound:g}: no rule keeps mean regret that low on these curves; "
            f"the lowest found is {summary.regret:.3f} CER points"
        )
    held_out = {}
    for name, members in groups.items():
        choice, _ = _cheapest(others[name], setting, bound, on_others[name])
        held_out[name] = (choice, setting.replay(members, choice))
    return Tuned(rule, summary, held_out)


def group(curves: list[Curve], seed: int) -> dict[str, list[Curve]]:
    """Return the curves by source, small sources together; of one source, two random halves."""
    sizes = Counter(curve.source for curve in curves)
    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        # A source of three curves would find its best trial with any rule.
        name = curve.source if sizes[curve.source] >= _LEAST_GROUP else "other sources"
        groups.setdefault(name, []).append(curve)
    if len(groups) > 1:
        return groups
    order = np.random.default_rng(seed).permutation(len(curves))
    half = len(curves) // 2
    return {
        "first half": [curves[index] for index in order[:half]],
        "second half": [curves[index] for index in order[half:]],
    }


def grid(epochs: int) -> list[Rule]:
    """Return the rules that --tune chooses among.

    Raises:
        ValueError: such short trainings leave no choice.
    """
    latest = min(epochs - 1, max(15, _LATEST * epochs))
    graces = [grace for grace in _GRACES if grace <= latest]
    if not graces:
        raise ValueError(
            f"--tune: trainings of {counted(epochs, 'epoch')} leave no rung to choose: they need "
            f"{_GRACES[0] + 1}"
        )
    return [
        Rule.of("asha", grace=grace, eta=eta, rank_by=rank_by)
        for grace in graces
        for eta in _ETAS
        for rank_by in RANKINGS
    ]


def _brief(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cheapest(
    curves: list[Curve], setting: Setting, bound: float, found: dict[Rule, ReplaySummary]
) -> tuple[Rule, ReplaySummary]:
    """Return the cheapest rule within the bound, or where none is one of little regret.

    Args:
        curves: Curves to replay.
        setting: All searches.
        bound: Highest mean regret (CER points).
        found: What the first few of these searches came to, by each rule.
    """
    # From the cheapest on, so that the first rule within the bound is the answer and the dear
    # ones are never replayed whole.
    for rule in sorted(found, key=lambda rule: found[rule].share):
        if found[rule].regrets.sum() <= bound * setting.repeats:  # no search has less than none
            summary = setting.replay(curves, rule)
            if summary.regret <= bound:
                return rule, summary
    nearest = min(found, key=lambda rule: (found[rule].regret, found[rule].share))
    return nearest, setting.replay(curves, nearest)
