"""Successive halving as one would write it down: every answer looks at all trials."""

from __future__ import annotations

import math
from operator import le

from search.halving.halving import Arrival, Decision, Halving, State

LAST = (math.inf, math.inf)
LIVE = (State.TRAINING, State.PAUSED, State.FINISHED)


class PlainHalving(Halving):
    """Decides from the trials' progress alone, and keeps no count of anything."""

    def promotable(self, upcoming=math.inf):
        arrivals = self._plain_arrivals(upcoming)
        closed = [coming == 0 for coming in arrivals]
        for rung in reversed(range(len(self.rungs))):
            awaited = min(self.patience, (len(self.reached(0)) + arrivals[0]) / 2)
            while_new_ones_come = 0 < upcoming < math.inf
            if while_new_ones_come and len(self.reached(rung)) < awaited / self.eta**rung:
                continue
            passing = self._paused_of(self._cut(rung, len(self.reached(rung))), rung)
            if not passing and closed[rung]:
                passing = self._last(rung)
            if passing:
                return passing[0].trial_id
        return None

    def hopeless(self, upcoming):
        if all(trial.state is not State.FINISHED for trial in self._progress.values()):
            return []
        arrivals = self._plain_arrivals(upcoming)
        return [
            entry.trial_id
            for rung in range(len(self.rungs))
            for entry in self._paused_of(self.reached(rung), rung)[
                len(self._hopeful_at(rung, arrivals[rung])) :
            ]
        ]

    def reached(self, rung):
        """Return who reached a rung, best first."""
        found = {name: t for name, t in self._progress.items() if len(t.scores) > rung}
        points = {name: (trial.scores[rung], *trial.costs) for name, trial in found.items()}
        return sorted(
            Arrival(self._key(points[name], points.values()), trial.order, name)
            for name, trial in found.items()
        )

    def _key(self, point, points):
        """Return what trials are ordered by: infinite scores last, fronts before scores."""
        if not self.fronts:
            return point[0]
        beaten = sum(other != point and all(map(le, other, point)) for other in points)
        return (beaten, point[0]) if point[0] < math.inf else LAST

    def _pass_or_stop(self, trial_id):
        trial = self._progress[trial_id]
        passing = self._cut(trial.target, len(self.reached(trial.target)), at_least=1)
        if any(entry.trial_id == trial_id for entry in passing):
            trial.target += 1
            return Decision.CONTINUE
        self.stop(trial_id)
        return Decision.STOP

    def _standing(self, trial_id):
        trial = self._progress[trial_id]
        reached = self.reached(trial.target)
        [own] = (entry for entry in reached if entry.trial_id == trial_id)
        rank = sum(entry.score <= own.score for entry in reached)
        return self.rungs[trial.target], rank, len(reached)

    def _count(self, trial_id, by):
        """Keep no count."""

    def _cut(self, rung, reached, at_least=0):
        entries = self.reached(rung)
        count = len(entries)
        if reached < math.inf:
            count = min(count, max(at_least, math.floor(reached / self.eta + 1e-9)))
        if count < len(entries):
            while count and entries[count - 1].score == entries[count].score:
                count -= 1
        while count and entries[count - 1].score in (math.inf, LAST):
            count -= 1
        return entries[:count]

    def _last(self, rung):
        entries = self.reached(rung)
        passed = [t for t in self._progress.values() if t.target > rung and t.state in LIVE]
        return [] if passed else self._paused_of(entries, rung)[:1]

    def _hopeful_at(self, rung, arrivals):
        reached = self.reached(rung)
        if not self.fronts or not arrivals:
            passing = self._cut(rung, len(reached) + arrivals)
            return self._paused_of(passing, rung) or self._last(rung)
        passing = (len(reached) + arrivals) / self.eta + 1e-9
        hopeful = [e for e in reached if e.score != LAST and e.score[0] + 1 <= passing]
        return self._paused_of(hopeful, rung) or self._last(rung)

    def _plain_arrivals(self, upcoming):
        heading = [0] * (len(self.rungs) + 1)
        for trial in self._progress.values():
            heading[trial.target] += trial.state is State.TRAINING
        arrivals = []
        coming = upcoming
        for rung in range(len(self.rungs)):
            coming += heading[rung]
            arrivals.append(coming)
            coming += len(self._hopeful_at(rung, coming))
        return arrivals

    def _paused_of(self, entries, rung):
        trials = [(entry, self._progress[entry.trial_id]) for entry in entries]
        return [e for e, t in trials if t.state is State.PAUSED and t.target == rung]
