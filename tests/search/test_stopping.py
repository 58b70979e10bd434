"""When a search is over before its last trial, and what further trials may still bring."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.idle import IdleTrial, search_idly
from search.halving.ending import RULES, Why, ending_of
from search.halving.further import LEAST, StopRules, chance, most, outlook
from search.results.listing import FINISHED, list_runs
from search.results.record import CUT_OFF

NAN, INF = math.nan, math.inf


def test_a_further_trial_is_the_best_as_often_as_its_place_says():
    """Of n + m trials in any order, the best is one of the last m in m / (n + m) of all cases."""
    cers = np.random.default_rng(0).normal(30, 5, 40)
    for more in (1, 10, 40):
        assert chance(cers, more) == pytest.approx(more / (40 + more), abs=0.01)
    assert chance(cers, 10, 0.3) < chance(cers, 10)
    assert chance(cers, 10, 50) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match=f"{LEAST - 1} trials have a CER"):
        chance([*cers[: LEAST - 1], NAN, INF], 1)


def test_equal_cers_leave_the_chance_of_any_gain_alone():
    assert chance([20.0] * 9, 1) > 0
    assert chance([20.0] * 9, 1, 0.1) == 0
    assert most([20.0] * 9, 1) == 0


def draws(name: str, rng: np.random.Generator, count: int) -> np.ndarray:
    return {
        "normal": lambda: rng.normal(30, 8, count),
        "skewed": lambda: 12 + rng.gamma(2, 5, count),
        "a hard end": lambda: 12 + rng.exponential(8, count),
        "a long tail": lambda: 10 + np.exp(rng.normal(2, 0.8, count)),
    }[name]()


def test_what_is_said_with_90_percent_holds_in_85_to_95_of_100_searches():
    """Over distributions of several shapes; the chance of a gain is right on average as well."""
    rng = np.random.default_rng(7)
    holds, gains, chances = [], [], []
    for name in ("normal", "skewed", "a hard end", "a long tail"):
        for _ in range(150):
            cers = draws(name, rng, 64)
            ended = int(rng.integers(16, 56))
            gain = max(0.0, cers[:ended].min() - cers[ended:].min())
            holds.append(gain <= most(cers[:ended], 64 - ended))
            gains.append(gain > 0.3)
            chances.append(chance(cers[:ended], 64 - ended, 0.3))
    assert 0.85 <= np.mean(holds) <= 0.95
    assert np.mean(chances) == pytest.approx(np.mean(gains), abs=0.06)


def test_the_outlook_is_one_sentence_once_enough_trials_ended():
    assert outlook([20.0, 21.0, NAN]) == ""
    said = outlook([20 + 0.5 * place for place in range(12)])
    assert said.startswith("16 more trials like these lower the best CER by 0.3 points or more")
    assert said.endswith(" points with a chance of 90 %.")
    assert "at most" not in outlook([10.0 + 9 * place for place in range(8)])


@pytest.mark.parametrize(
    ("rules", "cers", "best", "known", "why"),
    [
        (StopRules(target=12), [15.0, 13.0], 12.5, 0, None),
        (StopRules(target=12), [15.0, 13.0], 12.0, 0, Why.TARGET),
        (StopRules(target=12), [11.0, 13.0], 11.0, 2, None),
        (StopRules(target=12), [15.0, 11.0], 11.0, 1, Why.TARGET),
        (StopRules(patience=2), [15.0, 16.0, 14.0, 17.0], 14.0, 0, None),
        (StopRules(patience=2), [15.0, 16.0, NAN], 15.0, 0, Why.PATIENCE),
        (StopRules(patience=2), [NAN, INF], INF, 0, Why.PATIENCE),
        (StopRules(patience=2), [15.0, 16.0, 17.0, 18.0], 15.0, 3, None),
        (StopRules(patience=2), [15.0, 16.0, 17.0, 18.0, 19.0], 15.0, 3, Why.PATIENCE),
        (StopRules(points=5.0, probability=0.05), [15.0 + n / 9 for n in range(9)], 15.0, 0, "im"),
        (StopRules(points=0.1, probability=0.05), [15.0 + n for n in range(9)], 15.0, 0, None),
        (StopRules(points=5.0, probability=0.05), [15.0] * 7, 15.0, 0, None),
        (StopRules(), [15.0] * 20, 15.0, 0, None),
    ],
)
def test_a_search_is_over_by_the_first_rule_that_holds(rules, cers, best, known, why):
    earlier = min(cers[:known], default=INF)
    found = rules.ending(cers, best, 4, known, earlier)
    assert (found and found.why) == (Why.IMPROVEMENT if why == "im" else why)
    if found is not None:
        assert found.why in RULES
        assert ending_of(str(found)) == found  # as tables have it
        cut = found.cut("paused", 3)
        assert ending_of(str(cut)) == cut
    assert rules.ending(cers, best, 0, known, earlier) is None or found.why is Why.TARGET


def test_a_target_counts_once_though_the_trial_that_reached_it_never_ended():
    rules = StopRules(target=12)
    assert rules.ending([15.0], 11.0, 4, known=1, earlier=11.0) is None
    assert rules.ending([15.0], 11.0, 4, known=1, earlier=13.0).why is Why.TARGET


def test_rules_are_read_from_a_space_file(space_of):
    search = space_of(SPACE_WITH_RULES).search
    assert search.stop.patience == 20
    assert search.stop.target_cer == 12
    assert (search.stop.improvement.points, search.stop.improvement.probability) == (0.5, 0.05)


SPACE_WITH_RULES = """
search: {stop: {target_cer: 12, patience: 20 trials, improvement: {points: 0.5}}}
"""


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("{patience: 0}", "search.stop.patience"),
        ("{patience: 20 epochs}", "search.stop.patience"),
        ("{target_cer: -1}", "search.stop.target_cer"),
        ("{improvement: {probability: 5}}", "search.stop.improvement.probability"),
        ("{improvment: {}}", "search.stop.improvment"),
    ],
)
def test_wrong_rules_are_refused_with_their_place(space_of, text, where):
    with pytest.raises(ValueError, match=where):
        space_of(f"search: {{stop: {text}}}")


class WorseAndWorse(IdleTrial):
    """Each trial is worse than the one before."""

    def step(self):
        found = super().step()
        cer = 20.0 + self.config["number"]
        return {**found, "val_cer": cer, "best_val_cer": cer}


def test_a_search_that_no_trial_betters_ends_and_says_so(all_cores, tmp_path):
    # The rule is looked at once a second, in which a hundred of these trials end.
    rules = ["search.stop={patience: 3}", "search.trials=1000", "training.epochs=1"]
    folder = search_idly(tmp_path, [*rules, "search.scheduler=none"], trial=WorseAndWorse, slots=2)
    assert 4 <= len(folder.trials) < 1000
    cut_off = [trial for trial in folder.trials.values() if trial.state == CUT_OFF]
    for trial in cut_off:
        assert trial.ending.why is Why.PATIENCE
    (listed,) = list_runs(tmp_path)
    assert listed.state == FINISHED
