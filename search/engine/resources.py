"""What each trial is given, and which machines have it: this one, or the nodes of a cluster."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import ray
import torch

from emgmodels.config import read_yaml
from emgmodels.saying import counted

_LAUNCHED_WITH = Path("~/ray_bootstrap_config.yaml")
"""Where ``ray up`` leaves, on a head, the file by which the cluster grows."""
# Each trial that waits was suggested before the results of those that run, so a sampler that
# learns wants few of them.
_MOST_AHEAD = 16
"""Trials that wait for a slot at most."""


@dataclass(frozen=True)
class Resources:
    """What one trial is given."""

    cpus: float
    """Cores; also torch's threads, at least one."""
    gpus: float
    """GPUs; a fraction shares one."""

    @property
    def threads(self) -> int:
        """Torch threads of a trial."""
        return max(1, math.floor(self.cpus))

    @property
    def share(self) -> float:
        """Part of a GPU, or without one of a core, that a trial has; 1 where it has a whole one."""
        return min(1.0, self.gpus or self.cpus)


class Machine(NamedTuple):
    """What a machine has for trials."""

    cpus: float
    gpus: float

    def slots(self, trial: Resources) -> int:
        """Return how many trials fit at once."""
        room = [self.cpus / trial.cpus] + ([self.gpus / trial.gpus] if trial.gpus else [])
        # The little more is for shares such as 0.1, of which ten are a bit less than 1 in
        # floating point.
        return math.floor(min(room) + 1e-9)


def choose_resources(cpus: float | None, gpus: float | str | None, cluster: bool) -> Resources:
    """Return what a trial is given; the default is a GPU each where there are any, else a core.

    With a GPU each, trials share the cores of its machine; of machines that differ, those of the
    one with the fewest cores for each GPU.

    Args:
        cpus: cores for each trial, None for the default.
        gpus: GPUs for each trial, None for the default; ``auto`` is checked, and is one so far.
        cluster: ask the cluster what it has, or can start, instead of this machine.

    Raises:
        ValueError: no machine has that much, or no trial can train with it.
    """
    if cpus is not None and not cpus > 0:
        raise ValueError(f"--cpus-per-trial {cpus:g}: must be above 0, such as 1")
    if isinstance(gpus, str):
        gpus = _whole_gpu(cluster)
    if gpus is not None and not 0 <= gpus <= 1:
        raise ValueError(
            f"--gpus-per-trial {gpus:g}: a trial trains on one GPU: give it 1, a part of one such "
            f"as 0.5, or 0"
        )
    machines = _machines(cluster)
    if gpus is None:
        gpus = 1.0 if any(machine.gpus >= 1 for machine in machines) else 0.0
    if cpus is None:
        for_each = [m.cpus // max(1.0, m.gpus / gpus) for m in machines if gpus and m.gpus >= gpus]
        # The node with the fewest cores for each GPU decides, because Ray gives all trials the
        # same resources. A larger request would leave that node's GPUs idle.
        cpus = max(1.0, min((each for each in for_each if each >= 1), default=1.0))
    chosen = Resources(cpus, gpus)
    _check_fits(chosen, machines, cluster)
    return chosen


def resources_asked(
    facts: Mapping[str, Any], cpus: float | None, gpus: float | str | None
) -> tuple[float | None, float | str | None]:
    """Return the cores and GPUs to ask ``choose_resources`` for where a run is trained further.

    Args:
        facts: what the run folder's ``environment.json`` says.
        cpus: cores for each trial; None: as many as before, or with other GPUs the default.
        gpus: GPUs for each trial, or ``auto``; None: as many as before.
    """
    if "resources_per_trial" not in facts:  # of an old version
        return cpus, gpus
    before = Resources(**facts["resources_per_trial"])
    if gpus is None or gpus == before.gpus:
        # Cores change how sums are rounded, so a resumed search keeps them unless the user says
        # otherwise.
        return before.cpus if cpus is None else cpus, before.gpus
    return cpus, gpus


def in_words(trial: Resources, trials: int, cluster: bool) -> str:
    """Return how many trials run at once, on how many cores and on which GPUs.

    Args:
        trial: what each is given.
        trials: trials of the search.
        cluster: ask the cluster what it has, instead of this machine.
    """
    machines = _machines(cluster)
    slots = min(trials, sum(machine.slots(trial) for machine in machines))
    cores = sum(machine.cpus for machine in machines)
    gpus = sum(machine.gpus for machine in machines)
    each = f"{counted(trial.cpus, 'core')} each"
    each += f" and {trial.gpus:g} of a GPU" if 0 < trial.gpus < 1 else ""
    each += " and a GPU" if trial.gpus == 1 else ""
    where = f" of {counted(len(machines), 'node')}" if cluster else ""
    found = f"{counted(slots, 'trial')} at once on {counted(cores, 'core')}{where}, {each}"
    if not gpus:
        return f"{found}; no GPU was found."
    names = counted(gpus, "GPU")
    if not cluster:
        known = {torch.cuda.get_device_name(index) for index in range(int(gpus))}
        names = f"{names} ({', '.join(sorted(known))})"
    return f"{found}; {names}{'' if trial.gpus else ', not used'}."


def trials_ahead(trial: Resources) -> int:
    """Return how many trials may wait for a slot.

    One, which a free slot takes at once; more would be suggested before earlier results are known.
    A cluster that grows starts as many nodes at a time as trials wait for: half of its slots.
    """
    slots = sum(machine.slots(trial) for machine in _nodes_to_come())
    return max(1, min(_MOST_AHEAD, slots // 2))


def _machines(cluster: bool) -> list[Machine]:
    if not cluster:
        return [Machine(float(os.cpu_count() or 1), float(torch.cuda.device_count()))]
    here = [_machine(node["Resources"]) for node in ray.nodes() if node["Alive"]]
    return here + _nodes_to_come()


def _machine(resources: Mapping[str, float]) -> Machine:
    return Machine(resources.get("CPU", 0.0), resources.get("GPU", 0.0))


def _check_fits(trial: Resources, machines: Sequence[Machine], cluster: bool) -> None:
    """Raise ValueError where a trial fits on no machine."""
    where = "the largest node of the cluster has" if cluster else "this machine has"
    for option, wanted, most in (
        ("cpus", trial.cpus, max((machine.cpus for machine in machines), default=0.0)),
        ("gpus", trial.gpus, max((machine.gpus for machine in machines), default=0.0)),
    ):
        if wanted > most:
            name = option.upper()[:-1]
            has, remedy = counted(most, name), "ask for at most that"
            if not most and option == "gpus":
                has, remedy = f"no {name}", "leave --gpus-per-trial out, or give 0"
            elif not most:
                remedy = "start a node that has CPUs"
            raise ValueError(f"--{option}-per-trial {wanted:g}: {where} {has}: {remedy}")
    if not any(machine.slots(trial) for machine in machines):
        with_gpu = max(machine.cpus for machine in machines if machine.gpus >= trial.gpus)
        raise ValueError(
            f"--cpus-per-trial {trial.cpus:g}: no node has that many CPUs beside {trial.gpus:g} of "
            f"a GPU: ask for at most {with_gpu:g}"
        )


def _whole_gpu(cluster: bool) -> float:
    """Return 1, where this machine has a GPU that trials can share."""
    if cluster:
        raise ValueError(
            "--gpus-per-trial auto: sizes the GPUs of this machine, and --address may have others: "
            "give a number, such as 0.5"
        )
    if not torch.cuda.is_available():
        raise ValueError(
            "--gpus-per-trial auto: this machine has no GPU for trials to share: leave it out"
        )
    return 1.0


def _nodes_to_come() -> list[Machine]:
    """Return the nodes that the cluster of this machine can start."""
    try:
        text = _LAUNCHED_WITH.expanduser().read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    launched = read_yaml(text, str(_LAUNCHED_WITH))
    head, top = launched["head_node_type"], launched.get("max_workers", 0)
    found: list[Machine] = []
    for name, kind in launched["available_node_types"].items():
        if name != head:
            count = min(top, kind.get("max_workers", top))
            # The head is left out: it runs already and is counted among the nodes that are alive.
            found += [_machine(kind.get("resources", {}))] * count
    return found
