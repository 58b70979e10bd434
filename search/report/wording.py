"""What a report says in sentences: outcome, cost, data, and what to beware of."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from emgmodels.bootstrap import TOLD_APART
from emgmodels.saying import counted, whose
from search.halving.further import outlook
from search.report.display.words import duration, interval, lookahead, number
from search.report.run import Run, Trial
from search.results.facts import left_out_command, trials_left_out
from search.results.record import COMPLETE, STOPPED

SYNTHETIC = (
    "These sessions were typed by a simulated typist. Error rates on them compare architectures "
    "with each other, and say nothing about people."
)
CONFIRMED = "Each was trained again, to its last epoch, with seeds that the search did not use."
OVER_SEEDS = (
    "Behind the mean CER: standard deviation and range over seeds. Above the best: 95 % interval "
    "of the distance (points). p: of being as good as the best, all that are compared considered."
)
FRONT = "No other trial beats these in all that was minimised:"


def outcome(run: Run) -> str:
    """Say what is best: what a confirmation found, where there is one, before the search's own."""
    if not run.ranked:
        return "No trial has a validation CER yet."
    best = run.ranked[0]
    if run.confirmed:
        return f"{_confirmed(run)} {_in_the_search(best)}"
    return (
        f"Best: {_named(best)} with a validation CER of {number(best.val_cer)} %{_tested(best)} "
        f"after {_epochs(best.best_epoch)}, {best.parameters:,} parameters, look-ahead "
        f"{lookahead(best.lookahead_ms)}."
    )


def further(run: Run) -> str:
    """Say what further trials may bring, from those that ended; empty where they are too few."""
    ended = [trial.val_cer for trial in run.trials if trial.state in (COMPLETE, STOPPED)]
    best = min((trial.val_cer for trial in run.ranked), default=math.inf)
    # The best may still train, or be cut off: it counts as if it had ended.
    return outlook([*ended, best] if best < min(filter(math.isfinite, ended), default=0) else ended)


def cautions(run: Run) -> Iterator[tuple[str, str]]:
    """Yield what to beware of in a run, each as a heading and a sentence."""
    if run.synthetic:
        yield "Synthetic data.", SYNTHETIC
    name, path = run.name, shlex.quote(str(run.path))
    if run.is_abandoned:
        yield (
            "Not running any more.",
            f"Trials of {name} were under way when it ended without a word: python -m search.run "
            f"--resume {path} goes on with them.",
        )
    elif run.is_running:
        yield (
            "Still running.",
            f"{name} is as it stood when this page was written. python -m search.report {path} "
            f"--watch keeps it fresh.",
        )
    if said := trials_left_out(run.environment):
        yield "Trials left out.", f"{said} {left_out_command(run.path)} trains them too."
    if run.cut_off:
        count = len(run.cut_off)
        which = counted(count, "trial was", "trials were")
        yield (
            "Cut off.",
            f"{which} under way when the search ended, so the ranking may change: python -m "
            f"search.run --resume {path} goes on with {'it' if count == 1 else 'them'}.",
        )
    if run.confirmed and run.ranked[0].number not in {row["trial"] for row in run.confirmed}:
        best = run.ranked[0]
        yield (
            "Confirmed before the search went on.",
            f"Trial {best.number:03d}, {number(best.val_cer)} %, leads since then and was not "
            f"confirmed: python -m search.run {path} --confirm {len(run.confirmed)} goes on.",
        )


def cost(run: Run) -> str:
    """Say how many trials and epochs a search trained."""
    history = run.history
    return (
        f"{counted(len(run.trials), 'trial')}, {len(run.stopped)} ended early, {len(run.failed)} "
        f"failed; "
        f"{counted(len(history.best), 'epoch')} of the {history.whole_epochs} that training all to "
        f"the end takes."
    )


def facts(run: Run) -> list[tuple[str, str]]:
    """Return the figures of a run with their names, the most important first."""
    ended = len(run.stopped) - len(run.cut_off)
    found = [("trials", str(len(run.trials))), ("ended early", str(ended))]
    if run.cut_off:
        found.append(("cut off", str(len(run.cut_off))))
    found.append(("failed", str(len(run.failed))))
    if not run.ranked:
        return found
    history, best = run.history, run.ranked[0]
    leading = [("best validation CER", f"{number(best.val_cer)} %")]
    if run.confirmed:
        first = run.confirmed[0]
        leading = [
            (f"confirmed, {counted(first['trainings'], 'seed')}", f"{number(first['mean_cer'])} %"),
            ("in the search", f"{number(best.val_cer)} %"),
        ]
    found = [*leading, *found]
    found.append(("epochs trained", f"{len(history.best)} of {history.whole_epochs}"))
    if math.isfinite(run.elapsed):
        found.append(("time of the search", duration(run.elapsed)))
    found.append(("training time", duration(3600 * float(history.hours[-1]))))
    return found


def data(run: Run) -> str:
    """Say on which sessions a search trained and validated."""
    split = run.environment.get("split", {})
    train, val = (split.get(part, []) for part in ("train", "val"))
    origin = f" ({split['origin']})" if "origin" in split else ""
    kind = "synthetic, " if run.synthetic else ""
    return (
        f"{kind}{whose(run.environment.get('subject', 'unknown'))}, "
        f"{counted(len(train), 'training session')} and "
        f"{counted(len(val), 'validation session')}{origin}.{_prompted(split)}"
    )


def shared(run: Run) -> str:
    """Say which settings all trials share; nothing where they share none."""
    if not run.shared:
        return ""
    return f"All trials share {', '.join(run.shared)}."


def doubts(runs: Sequence[Run]) -> list[str]:
    """Say why CERs of runs don't compare."""
    # CERs on other sessions are CERs of another text. The comparison still shows both, because it
    # is often asked for.
    validated = {
        (run.synthetic, run.environment.get("subject"), *sorted(_validation(run))) for run in runs
    }
    ranked = {run.environment.get("people", {}).get("rank_by", "pooled") for run in runs}
    if len(ranked) > 1:
        return [f"These searches rank by different CERs ({', '.join(sorted(ranked))})."]
    if len(validated) == 1:
        return []
    said = "; ".join(f"{run.name}: {run.data}, {', '.join(_validation(run))}" for run in runs)
    return [f"These searches validated on different sessions ({said})."]


def _confirmed(run: Run) -> str:
    first = run.confirmed[0]
    trial = next((t for t in run.ranked if t.number == first["trial"]), None)
    name = _named(trial) if trial else f"trial {first['trial']:03d}"
    low, high = first["cer_low"], first["cer_high"]
    spread = "" if low is None or high is None else f" (95 %: {interval(low, high)})"
    seeds = first["trainings"]
    return (
        f"Best, confirmed: {name} with a mean validation CER of {number(first['mean_cer'])} % over "
        f"{counted(seeds, 'new seed')}{spread}.{_standing(run.confirmed)}"
    )


def _standing(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say which others may be as good as the best, after a space."""
    others = [row for row in rows[1:] if row["p_best"] is not None]
    if not others:
        return ""
    alike = [f"{row['trial']:03d}" for row in others if row["p_best"] >= TOLD_APART]
    if not alike:
        return " It is better than all others that were confirmed."
    kind = "trial" if len(alike) == 1 else "trials"
    return f" Not told apart from it: {kind} {', '.join(alike)}."


def _in_the_search(best: Trial) -> str:
    return (
        f"In the search {_named(best)} was lowest: {number(best.val_cer)} %{_tested(best)}, "
        f"partly by luck."
    )


def _named(trial: Trial) -> str:
    return f"{trial.label} (trial {trial.number:03d})"


def _tested(trial: Trial) -> str:
    return f", test CER {number(trial.test_cer)} %" if math.isfinite(trial.test_cer) else ""


def _epochs(count: int | None) -> str:
    return counted(count or 0, "epoch")


def _prompted(split: Mapping[str, Any]) -> str:
    """Say which sessions counted by prompts, after a space; nothing where none did."""
    train, val = split.get("prompted", (0, 0))
    if not (train or val):
        return ""
    return (
        f" {train} of the training and {val} of the validation sessions have no key times: they "
        f"count by whole prompts, the others by 4 s windows."
    )


def _validation(run: Run) -> list[str]:
    return [Path(path).stem for path in run.environment.get("split", {}).get("val", [])]
