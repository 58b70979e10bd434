"""The decisions of successive halving, one at a time; in random searches: test_any_search.py."""

import math

import pytest

from search.halving.halving import RANKINGS, Decision, Halving, State


def reach(halving: Halving, scores: list[float], upcoming: float = math.inf) -> list[Decision]:
    """Train new trials, one after another, to the first rung with these losses."""
    decisions = []
    for loss in scores:
        trial_id = f"trial{len(halving._progress)}"
        halving.add(trial_id)
        decisions.append(halving.report(trial_id, halving.rungs[0], 100.0, loss, upcoming))
    return decisions


def test_one_in_eta_of_those_that_reached_a_rung_is_promoted_best_first():
    halving = Halving([5, 15], 50, eta=3)
    assert reach(halving, [3.0, 2.0]) == [Decision.PAUSE] * 2
    assert halving.promotable() is None
    assert reach(halving, [4.0]) == [Decision.PAUSE]
    assert halving.promotable() == "trial1"
    halving.promote("trial1")
    assert halving.promotable() is None
    assert halving.report("trial1", 6, 90.0, 1.9) == Decision.CONTINUE
    assert halving.report("trial1", 15, 80.0, 1.5) == Decision.PAUSE
    assert halving.why("trial1") == "paused at rung 15: rank 1 of 1"


def test_a_trial_that_would_be_resumed_at_once_goes_on_without_a_pause():
    assert reach(Halving([5], 50, eta=3), [3.0, 4.0, 2.0])[-1] == Decision.CONTINUE


def test_rungs_wait_for_a_quorum_as_long_as_new_trials_come():
    halving = Halving([5, 15], 50, eta=2)
    assert reach(halving, [2.0, 3.0], upcoming=4) == [Decision.PAUSE] * 2
    assert halving.promotable(4) is None, "half of the six have not come"
    assert halving.promotable(0) == "trial0", "a slot would be idle"
    assert halving.promotable() == "trial0", "nobody knows how many come"
    assert reach(halving, [1.0], upcoming=3) == [Decision.CONTINUE]
    assert halving.report("trial2", 15, 90.0, 0.9, upcoming=3) == Decision.PAUSE
    assert reach(halving, [0.5], upcoming=2) == [Decision.CONTINUE]
    assert halving.report("trial3", 15, 90.0, 0.4, upcoming=2) == Decision.CONTINUE, (
        "1.5 are enough"
    )


def test_the_first_rung_of_a_large_search_waits_for_no_more_than_its_patience():
    halving = Halving([5], 50, eta=2, patience=4)
    assert reach(halving, [2.0, 3.0, 4.0], upcoming=1000) == [Decision.PAUSE] * 3
    assert halving.promotable(1000) is None
    assert reach(halving, [5.0], upcoming=1000) == [Decision.PAUSE]
    assert halving.promotable(1000) == "trial0"


def test_stopping_lets_the_best_so_far_through_and_never_pauses():
    halving = Halving([5], 50, eta=3, pausing=False)
    assert reach(halving, [3.0, 4.0, 3.0, 2.0, 2.5, 2.4]) == [
        *(Decision.CONTINUE, Decision.STOP, Decision.STOP),
        *(Decision.CONTINUE, Decision.STOP, Decision.CONTINUE),
    ]
    assert halving.why("trial4") == "stopped at rung 5: rank 2 of 5 by CER times loss"


@pytest.mark.parametrize("pausing", [True, False])
def test_trials_that_tie_across_the_cut_do_not_pass(pausing):
    halving = Halving([5], 50, eta=3, pausing=pausing)
    decisions = reach(halving, [1.0, *[2.0] * 5])
    assert decisions.count(Decision.CONTINUE) == (0 if pausing else 1)
    assert halving.promotable() == ("trial0" if pausing else None)
    if pausing:
        halving.promote("trial0")
        assert halving.promotable() is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("metric", ["val_cer", "val_loss"])
def test_a_metric_that_is_not_finite_ends_the_trial_and_ranks_last(bad, metric):
    halving = Halving([5], 50, eta=2)
    reach(halving, [3.0])
    halving.add("bad")
    cer, loss = (bad, 1.0) if metric == "val_cer" else (50.0, bad)
    assert halving.report("bad", 2, cer, loss) == Decision.STOP
    assert halving["bad"].state is State.DIVERGED
    assert halving.why("bad") == f"diverged at epoch 2: {metric} is {bad}"
    assert halving.promotable() == "trial0", "the other one is now the better half"
    assert reach(Halving([5], 50, eta=1.01), [1.0], upcoming=0) == [Decision.CONTINUE]


def test_a_winner_is_trained_to_the_end_when_fewer_trials_than_eta_reach_a_rung():
    halving = Halving([5, 15], 50, eta=3)
    assert reach(halving, [3.0], upcoming=1) == [Decision.PAUSE]
    assert reach(halving, [2.0], upcoming=0) == [Decision.CONTINUE]
    assert halving.report("trial1", 15, 50.0, 1.0, upcoming=0) == Decision.CONTINUE
    assert halving.hopeless(0) == [], "trial1 may yet fail"
    assert halving.report("trial1", 50, 20.0, 1.0, upcoming=0) == Decision.STOP
    assert halving.why("trial1") == "trained all 50 epochs"
    assert halving.hopeless(0) == ["trial0"]


def test_once_a_trial_has_finished_one_stops_as_soon_as_no_result_could_promote_it():
    halving = Halving([5], 50, eta=3)
    reach(halving, [4.0, 3.0, 1.0])
    assert reach(halving, [9.0], upcoming=2) == [Decision.PAUSE], "of six trials two pass"
    assert halving.report("trial2", 50, 20.0, 0.5, upcoming=2) == Decision.STOP
    assert halving.hopeless(2) == ["trial0", "trial3"]
    assert halving.hopeless(math.inf) == []
    halving.stop("trial3")
    assert halving.why("trial3") == "stopped at rung 5: rank 4 of 4 by CER times loss"
    assert reach(halving, [9.5], upcoming=1) == [Decision.STOP]
    assert reach(halving, [2.5], upcoming=0) == [Decision.CONTINUE]
    assert halving.hopeless(0) == ["trial1", "trial0"]


@pytest.mark.parametrize(("trials", "eta"), [(5, 2.0), (9, 3.0), (16, 2.0), (27, 1.5)])
@pytest.mark.parametrize("end", [State.DIVERGED, State.FAILED])
@pytest.mark.parametrize("good", [1, 4])
def test_the_best_that_neither_diverges_nor_fails_wins_when_those_before_it_end_late(
    trials, eta, end, good
):
    halving = Halving([3, 6, 12, 24], 32, eta)
    epochs: dict[str, int] = {}
    while True:
        upcoming = trials - len(epochs)
        trial_id = halving.promotable(upcoming)
        if trial_id is not None:
            halving.promote(trial_id)
        elif upcoming:
            trial_id = f"trial{len(epochs)}"
            halving.add(trial_id)
            epochs[trial_id] = 0
        else:
            break
        decision = Decision.CONTINUE
        while decision is Decision.CONTINUE:
            epoch = epochs[trial_id] = epochs[trial_id] + 1
            quality = int(trial_id[5:])
            ends = quality < good and epoch == 14 + quality
            if ends and end is State.FAILED:
                halving.fail(trial_id)
                break
            loss = math.nan if ends else 1.0 + quality
            decision = halving.report(trial_id, epoch, 50.0, loss, trials - len(epochs))
    assert [halving[f"trial{quality}"].state for quality in range(good)] == [end] * good
    assert halving[f"trial{good}"].state is State.FINISHED
    for trial_id in halving.hopeless(0):
        halving.stop(trial_id)
    assert all(halving[each].state not in (State.TRAINING, State.PAUSED) for each in epochs)


def test_a_rung_compares_the_lowest_value_so_far():
    halving = Halving([3], 50, eta=2)
    for trial_id, losses in {"spiked": [3.0, 2.0, 9.0], "steady": [3.0, 2.8, 2.5]}.items():
        halving.add(trial_id)
        for epoch, loss in enumerate(losses, start=1):
            halving.report(trial_id, epoch, 100.0, loss)
    assert halving.promotable() == "spiked"


def test_rankings_tell_trials_apart_on_the_plateau_and_after():
    assert RANKINGS["loss"](100.0, 2.9) < RANKINGS["loss"](100.0, 3.1)
    assert RANKINGS["cer"](20.0, 9.0) < RANKINGS["cer"](20.1, 0.1)
    assert RANKINGS["cer"](100.0, 2.9) < RANKINGS["cer"](100.0, 3.1)
    assert RANKINGS["both"](967.0, 2.9) < RANKINGS["both"](100.0, 3.1)
    assert RANKINGS["both"](20.0, 0.6) < RANKINGS["both"](21.0, 0.6)


def test_a_restored_search_has_the_same_rungs():
    first, second = Halving([5, 15], 50, eta=2), Halving([5, 15], 50, eta=2)
    reach(first, [3.0, 2.0, 4.0, 1.0, 2.0])
    for trial_id in reversed(list(first._progress)):
        second.add(trial_id, first[trial_id])
    assert second.promotable() == first.promotable()
    assert [rung.entries for rung in second._rungs] == [rung.entries for rung in first._rungs]
    assert second.add("new").order == 5


def test_a_retried_trial_replaces_its_score_and_loses_no_place():
    halving = Halving([5], 50, eta=3)
    reach(halving, [3.0, 4.0])
    halving.fail("trial0")
    assert halving.why("trial0") == "failed after 5 epochs"
    halving.revive("trial0")
    assert halving.report("trial0", 5, 100.0, 2.5) == Decision.PAUSE
    assert halving.why("trial0") == "paused at rung 5: rank 1 of 2"


def test_a_rung_keeps_what_nothing_beats_in_both_error_and_cost():
    halving = Halving([5], 50, eta=2, fronts=True)
    losses_and_sizes = {"large": (1.0, 9.0), "worse": (1.1, 10.0), "bad": (1.2, 8.0)}
    losses_and_sizes |= {"worst": (1.5, 9.5), "small": (2.0, 1.0), "tiny": (3.0, 1.0)}
    for trial_id, (loss, size) in losses_and_sizes.items():
        halving.add(trial_id, costs=[size])
        halving.report(trial_id, 5, 100.0, loss)
    passed = []
    while (trial_id := halving.promotable()) is not None:
        halving.promote(trial_id)
        passed.append(trial_id)
    passed += [name for name in losses_and_sizes if halving[name].target and name not in passed]
    assert sorted(passed) == ["bad", "large", "small"]
    assert halving.why("tiny") == "paused at rung 5: rank 5 of 6"


def test_a_trial_that_few_beat_is_not_given_up_while_others_may_fall_behind_it():
    halving = Halving([5], 50, eta=2, fronts=True)

    def arrive(trial_id, loss, size, upcoming):
        halving.add(trial_id, costs=[size])
        return halving.report(trial_id, 5, 100.0, loss, upcoming)

    for number in range(1, 6):
        arrive(f"front{number}", float(number), 6.0 - number, upcoming=8 - number)
    assert arrive("sixth", 1.5, 6.0, upcoming=2) is Decision.PAUSE
    assert halving.why("sixth") == "paused at rung 5: rank 6 of 6"
    assert halving.hopeless(2) == []
    arrive("better", 1.8, 0.5, upcoming=1)
    passed = []
    while (trial_id := halving.promotable(1)) is not None:
        halving.promote(trial_id)
        passed.append(trial_id)
    assert passed == ["front1", "better", "sixth"]
