"""Error rates over users: what ranks, and what it is worth."""

import math

import numpy as np
import pytest
from conftest import make_session

from emgmodels.bootstrap import cer_interval, cer_intervals, compare
from emgmodels.config import Config, TrainingConfig
from emgmodels.metrics import EditCounts
from emgmodels.notation import parse_notation
from emgmodels.scoring import RANKINGS, Scoring
from emgmodels.sessions import write_session
from emgmodels.training.fit import fit
from emgmodels.windows.cache import prepare
from emgmodels.windows.users import balanced, check_users, users_of_windows

USERS = ["anna", "anna", "bob", "carl", "carl", "carl"]
EDITS = np.array([1, 3, 5, 0, 0, 2])
CHARACTERS = np.array([10, 10, 10, 20, 5, 5])


def test_rates_are_those_of_each_user():
    rates = Scoring.of(USERS).rates(EDITS, CHARACTERS)
    assert rates.users.tolist() == pytest.approx([20, 50, 100 * 2 / 30])
    assert rates.pooled == pytest.approx(100 * 11 / 60)
    assert rates.mean_user == pytest.approx(np.mean(rates.users))
    assert rates.sd_user == pytest.approx(np.std(rates.users, ddof=1))
    assert rates.worst_user == pytest.approx(50)


def test_of_several_users_the_mean_ranks_and_of_one_all_windows():
    assert Scoring.of(USERS).by == "mean_user"
    assert Scoring.of(["anna"] * 6).by == "pooled"
    alone = Scoring.of(["anna"] * 6).rates(EDITS, CHARACTERS)
    assert {float(alone.by(name)) for name in RANKINGS} == {float(alone.pooled)}
    assert math.isnan(alone.sd_user)


def test_small_numbers_of_a_search_do_not_overflow():
    edits = np.full((3, 4000), 60, dtype=np.uint16)
    characters = np.full(4000, 100, dtype=np.uint16)
    scoring = Scoring.of(["anna"] * 2000 + ["bob"] * 2000)
    for name in RANKINGS:
        assert scoring.rates(edits, characters).by(name).tolist() == pytest.approx([60] * 3)


@pytest.mark.parametrize("whose", ["abc", "aabccc", "abacbca", "a", ""])
def test_sums_are_those_of_each_users_windows_in_any_order(whose):
    scoring, rng = Scoring.of(whose), np.random.default_rng(len(whose))
    for shape in ((len(whose),), (3, len(whose)), (2, 3, len(whose))):
        values = rng.integers(0, 60_000, shape).astype(np.uint16)
        mine = (scoring.of_window[:, None] == np.arange(len(scoring.names))).astype(float)
        assert scoring.sums(values).tolist() == (values @ mine).tolist()


def test_whose_windows_are_is_written_in_short_and_read_back():
    scoring = Scoring.of([*USERS, "anna"], "worst_user")
    assert scoring.runs == [("anna", 2), ("bob", 1), ("carl", 3), ("anna", 1)]
    again = Scoring.of_runs([list(run) for run in scoring.runs], "worst_user")
    assert again.names == scoring.names
    assert again.of_window.tolist() == scoring.of_window.tolist()


def unlike_users(rng, users=6, windows=40):
    """Return edits and characters of users whom a model reads unequally well."""
    names = [f"u{user}" for user in range(users) for _ in range(windows)]
    characters = rng.integers(10, 30, len(names))
    rates = np.repeat(rng.uniform(0.1, 0.5, users), windows)
    return Scoring.of(names), rng.binomial(characters, rates)[None], characters


@pytest.mark.parametrize("by", RANKINGS)
def test_intervals_over_users_hold_the_rate_and_are_wider_than_over_windows(by):
    scoring, edits, characters = unlike_users(np.random.default_rng(0))
    scoring = Scoring(by, scoring.names, scoring.of_window)
    rng = np.random.default_rng
    low, high = cer_intervals(edits, characters, rng(1), scoring=scoring)[0]
    plain = cer_intervals(edits, characters, rng(1))[0]
    assert low <= scoring.cer(edits, characters)[0] <= high
    if by != "worst_user":
        assert high - low > 2 * (plain[1] - plain[0])
    again = cer_intervals(np.repeat(edits, 2, axis=0), characters, rng(1), scoring=scoring)
    assert again[0].tolist() == again[1].tolist() == pytest.approx([low, high])


def test_95_in_100_intervals_over_users_hold_the_mean_of_all_people():
    rng, held = np.random.default_rng(3), 0
    for _ in range(60):
        scoring, edits, characters = unlike_users(rng, users=20, windows=8)
        low, high = cer_intervals(edits, characters, rng, draws=300, scoring=scoring)[0]
        held += low <= 30 <= high
    assert held >= 51


def test_one_user_has_the_interval_of_windows():
    windows = [EditCounts(substitutions=n % 3, target=10) for n in range(40)]
    plain = cer_interval(windows, np.random.default_rng(2))
    alone = cer_interval(windows, np.random.default_rng(2), scoring=Scoring.of(["anna"] * 40))
    assert alone == plain


@pytest.mark.parametrize("by", RANKINGS)
def test_seeds_are_compared_by_what_ranks(by):
    rng = np.random.default_rng(4)
    scoring, edits, characters = unlike_users(rng)
    scoring = Scoring(by, scoring.names, scoring.of_window)
    better = np.concatenate([edits, edits])
    worse = np.minimum(better + 4, characters)
    found = compare([better, worse], characters, rng, scoring=scoring)
    assert found.means[0] == pytest.approx(scoring.cer(edits, characters)[0])
    assert found.p_best.tolist()[0] == 1.0
    assert found.p_best.tolist()[1] < 0.05


@pytest.mark.parametrize("groups", [["a", "b", "b"], ["a", "b", "c"]])
def test_an_epoch_draws_equally_from_groups(groups):
    rows = np.array([[0, i] for i in range(9)] + [[1, 0], [1, 1]] + [[2, i] for i in range(4)])
    drawn = balanced(rows, groups, np.random.default_rng(0))
    counts = dict.fromkeys(groups, 0)
    for place, _ in drawn.tolist():
        counts[groups[place]] += 1
    assert len(drawn) == len(rows)
    assert max(counts.values()) - min(counts.values()) <= 1
    # What has to be repeated is repeated evenly, and what need not be is not.
    times = np.unique(drawn, axis=0, return_counts=True)[1]
    assert times.max() <= 3
    assert len({tuple(row) for row in drawn.tolist() if row[0] == 0}) == sum(drawn[:, 0] == 0)


def test_without_groups_windows_stay_as_they_are():
    rows = np.array([[0, 3], [0, 1], [1, 2]])
    assert balanced(rows, ["a", "a"], np.random.default_rng(0)) is rows


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    for place, user in enumerate(("anna", "bob", "carl")):
        session = make_session(seconds=8 + 4 * place, seed=place, name=f"{user}-0", user=user)
        write_session(folder / f"{user}-0.hdf5", session)
    return prepare(sorted(folder.glob("*.hdf5")))


def test_windows_know_whose_they_are(opened):
    assert users_of_windows(opened) == ["anna"] * 2 + ["bob"] * 3 + ["carl"] * 4


def test_a_validation_user_without_keys_in_windows_is_refused(opened):
    from dataclasses import replace

    far = replace(opened[1], first=opened[1].first + 10**6, last=opened[1].last + 10**6)
    check_users(opened)
    with pytest.raises(ValueError, match="validation user bob lies inside a window"):
        check_users([opened[0], far])


@pytest.mark.parametrize("by", RANKINGS)
def test_a_training_follows_what_ranks(opened, by):
    model = parse_notation("gru:1(hidden=8) mlp:8 hop:64 @16ch")
    config = Config(model=model, training=TrainingConfig(epochs=2, balance="users"))
    results = list(fit(config, opened[:1], opened, rank_by=by))
    for result in results:
        assert result.val_cer == pytest.approx(getattr(result, f"val_cer_{by}"))
    best = min(results, key=lambda result: result.val_cer)
    assert (results[-1].best_val_cer, results[-1].best_epoch) == (best.val_cer, best.epoch)
    scoring = Scoring.of(users_of_windows(opened), by)
    assert float(scoring.cer(*results[-1].best_windows.T)) == pytest.approx(best.val_cer)
