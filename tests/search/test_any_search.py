"""Successive halving in random searches, beside its plain form in plain_halving.py."""

import copy
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_halving import PlainHalving

from search.halving.halving import Decision, Halving, State

SEARCHES = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10**6),
        "trials": st.integers(1, 30),
        "slots": st.sampled_from([1, 2, 3, 8, 80]),
        "eta": st.sampled_from([1.3, 1.5, 2.0, 3.0, 4.0]),
        "levels": st.sampled_from([1, 3, 1000]),
        "doomed": st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
        "crashing": st.sampled_from([0.0, 0.1]),
        "killed": st.sampled_from([0.0, 0.1]),
        "pausing": st.booleans(),
        "costs": st.sampled_from([0, 0, 1, 2]),
        # What epochs cost, from trial to trial; None: rungs count epochs.
        "prices": st.sampled_from([None, None, [1.0], [0.4, 1.0], [0.25, 1.0, 20.0]]),
        "uneven": st.booleans(),
    }
)


@settings(max_examples=25, deadline=None)
@given(SEARCHES)
def test_a_search_ends_as_the_plain_rule_says_with_every_trial_ended(search):
    Arrivals(**search).run()


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(SEARCHES)
def test_so_do_many_searches(search):
    Arrivals(**search).run()


class Agreeing:
    """Asks the plain halving the same as the quick one, and answers where both agree."""

    def __init__(self, eta, pausing, fronts, most=math.inf):
        options = {"pausing": pausing, "fronts": fronts, "most": most}
        self.quick = Halving([2, 3, 6], 10, eta, **options)
        self.plain = PlainHalving([2, 3, 6], 10, eta, **options)

    def __getitem__(self, trial_id):
        assert self.quick[trial_id] == self.plain[trial_id]
        return self.quick[trial_id]

    def __getattr__(self, method):
        def ask(*arguments):
            own = copy.deepcopy(arguments)  # a restored trial's progress is each one's own
            answer = getattr(self.quick, method)(*arguments)
            assert getattr(self.plain, method)(*own) == answer
            return answer

        return ask


def beats(point, other):
    return point != other and all(a <= b for a, b in zip(point, other, strict=True))


class Arrivals:
    """A search whose trials arrive in random order, some with ties.

    Some are doomed to diverge or to fail at a certain epoch, some crash and go back to the rung
    they came from; and now and then the whole search is killed and restored. Epochs may cost more
    in one trial than in another, and from one epoch to the next as seconds do.
    """

    def __init__(
        self,
        seed,
        trials,
        slots,
        eta,
        levels,
        doomed,
        crashing,
        killed,
        pausing,
        costs,
        prices=None,
        uneven=False,
    ):
        self.draw = random.Random(seed)
        self.eta, self.pausing, self.costs = eta, pausing, costs
        self.prices, self.uneven = prices, uneven
        self.price: dict[str, float] = {}
        self.spent: dict[tuple[str, int], float] = {}
        """What each epoch cost when it was first trained."""
        self.halving = self.new()
        self.trials, self.slots, self.levels = trials, slots, levels
        self.crashing, self.killed = crashing, killed
        self.dooms = {
            f"trial{number}": (
                self.draw.randint(1, 10),
                self.draw.choice(["nan", "before", "after"]),
            )
            for number in range(trials)
            if self.draw.random() < doomed
        }
        """Of trials that diverge, or fail before or after an epoch's result: when, and how."""
        self.running: dict[str, int] = {}
        self.epochs: dict[str, list[int]] = {}
        self.saved: dict[str, int] = {}
        """Epoch at which a trial last stood at a rung, where it was saved."""

    def new(self):
        return Agreeing(self.eta, self.pausing, self.costs > 0, 9 if self.prices else math.inf)

    def run(self):
        while self.fill():
            trial_id = self.draw.choice(sorted(self.running))
            if self.draw.random() < self.crashing:
                self.crash(trial_id)
            elif self.dooms.get(trial_id) == (len(self.epochs[trial_id]) + 1, "before"):
                self.fail(trial_id)
            else:
                self.step(trial_id)
            if self.draw.random() < self.killed:
                self.restore()
        assert all(self.halving.why(trial_id) for trial_id in self.epochs)
        states = [self.halving[trial_id].state for trial_id in self.epochs]
        assert len(states) == self.trials
        assert set(states) <= {State.FINISHED, State.STOPPED, State.DIVERGED, State.FAILED}
        if len(self.dooms) < self.trials and (self.pausing or not self.dooms):
            assert State.FINISHED in states

    def fill(self):
        while len(self.running) < self.slots:
            for trial_id in self.halving.hopeless(self.upcoming):
                self.halving.stop(trial_id)
            trial_id = self.halving.promotable(self.upcoming)
            if trial_id is not None:
                trains = self.halving.promote(trial_id)
                self.check_passed(trial_id, self.halving[trial_id].target - 1)
                if not trains:
                    assert self.prices, "epochs stand at one rung at a time"
                    assert self.halving[trial_id].state is State.PAUSED
                    continue
            elif self.upcoming:
                trial_id = f"trial{len(self.epochs)}"
                costs = [float(self.draw.randrange(self.levels)) for _ in range(self.costs)]
                self.halving.add(trial_id, None, costs)
                self.epochs[trial_id] = []
                if self.prices:
                    self.price[trial_id] = self.draw.choice(self.prices)
            else:
                break
            assert trial_id not in self.running
            self.running[trial_id] = 1
        return bool(self.running)

    def step(self, trial_id):
        epoch = len(self.epochs[trial_id]) + 1
        self.epochs[trial_id].append(epoch)
        loss = float(self.draw.randrange(self.levels))
        doomed, how = self.dooms.get(trial_id, (0, ""))
        if (doomed, how) == (epoch, "nan"):
            loss = math.nan
        rung = self.halving[trial_id].target
        cost = self.cost(trial_id, epoch)
        decision = self.halving.report(trial_id, epoch, 100.0, loss, self.upcoming, cost)
        trial = self.halving[trial_id]
        for passed in range(rung, trial.target):
            self.check_passed(trial_id, passed)
        if trial.target > rung or decision is Decision.PAUSE:
            self.saved[trial_id] = epoch
        if decision is Decision.PAUSE:
            assert epoch in self.halving.quick.rungs or self.prices
            assert self.pausing
        self.check_cost(trial_id, decision)
        if decision is not Decision.STOP and (doomed, how) == (epoch, "after"):
            self.fail(trial_id)
        elif decision is not Decision.CONTINUE:
            del self.running[trial_id]

    def cost(self, trial_id, epoch):
        """Return what an epoch costs; repeated, it takes another time."""
        if not self.prices:
            return None
        cost = self.price[trial_id] * (self.draw.uniform(0.5, 1.5) if self.uneven else 1.0)
        self.spent.setdefault((trial_id, epoch), cost)
        return cost

    def check_cost(self, trial_id, decision):
        """Assert that a trial costs what its epochs did, and stands where that brings it."""
        trial, rungs = self.halving[trial_id], self.halving.quick.rungs
        if not self.prices:
            assert trial.cost == trial.epoch
            return
        known = sum(self.spent[trial_id, epoch] for epoch in range(1, trial.epoch + 1))
        assert trial.cost == pytest.approx(known)
        if decision is Decision.PAUSE:
            assert trial.cost >= rungs[trial.target]
        elif decision is Decision.CONTINUE:
            again = len(self.epochs[trial_id]) < trial.epoch
            assert trial.cost < 9 or again
            assert trial.target == len(rungs) or trial.cost < rungs[trial.target] or again

    def fail(self, trial_id):
        self.halving.fail(trial_id)
        del self.running[trial_id]

    def crash(self, trial_id):
        self.halving.fail(trial_id)
        self.halving.revive(trial_id)
        del self.epochs[trial_id][self.saved.get(trial_id, 0) :]

    def restore(self):
        known, self.halving = self.halving, self.new()
        for trial_id in self.draw.sample(sorted(self.epochs), len(self.epochs)):
            self.halving.add(trial_id, known[trial_id])

    def check_passed(self, trial_id, rung):
        """Assert that a trial is in the best 1 / eta of a rung, or the best left where none is."""
        others = [self.halving[name] for name in self.epochs if name != trial_id]
        reached = [other for other in others if len(other.scores) > rung]
        own = self.halving[trial_id]
        points = [(trial.scores[rung], *trial.costs) for trial in (*reached, own)]
        keys = [
            (sum(beats(other, point) for other in points) if self.costs else 0, point[0])
            if point[0] < math.inf
            else (math.inf, math.inf)
            for point in points
        ]
        rank = sum(key <= keys[-1] for key in keys)
        live = (State.TRAINING, State.PAUSED, State.FINISHED)
        first = not any(other.target > rung and other.state in live for other in reached)
        left = [other.state is State.PAUSED and other.target == rung for other in reached]
        if self.pausing:
            best = all(keys[-1] <= key for key, here in zip(keys, left, strict=False) if here)
            alone = first and best and self.upcoming == 0
        else:
            alone = all(keys[-1] <= key for key in keys)
        assert rank <= len(points) / self.eta or alone

    @property
    def upcoming(self):
        return self.trials - len(self.epochs)
