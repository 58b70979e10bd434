"""Several nodes on this machine, without network namespaces: a raylet for each."""

from __future__ import annotations

import contextlib
import random
import resource
import subprocess
import sys
import time

import pytest
from objects import s3_server
from searches import STEADY, kept, outcome, trials, undisturbed, write_search

from benchmarks.idle import IdleTrial, search_idly
from search.engine import engine
from search.results import read_curves, read_trials
from search.storage import Place, fetch

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

NOTICE = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
"""As cluster/onprem.yaml: how soon a node is given up."""


@contextlib.contextmanager
def raylets(count, environment=()):
    """Start a Ray cluster of so many nodes with a core each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**NOTICE, **dict(environment), **STEADY}.items():
            patch.setenv(name, value)
        cluster = Cluster(initialize_head=True, head_node_args={"include_dashboard": False})
        try:
            for _ in range(count - 1):
                cluster.add_node()
            yield cluster
        finally:
            cluster.shutdown()


@pytest.fixture
def stored():
    with s3_server("127.0.0.1") as environment:
        yield environment


def trains(node):
    """Return whether a trial runs on a node."""
    import psutil  # Ray brings it

    raylet = node.all_processes["raylet"][0].process.pid
    names = [" ".join(child.cmdline()) for child in psutil.Process(raylet).children()]
    return any("EmgTrial" in name for name in names)


def test_a_node_dies_at_a_random_moment(stored, tmp_path):
    write_search(tmp_path)
    chance = random.Random(time.time_ns())
    epochs = chance.randrange(4, 30)
    run = tmp_path / "runs/lab-001"
    with raylets(3, stored) as cluster:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "search.run", tmp_path / "lab.yaml", "--quiet"),
                *("--data", tmp_path / "data", "--out", tmp_path / "runs"),
                *("--storage", "s3://emg/dies", "--address", cluster.address),
            ],
        )
        try:
            while not (found := busy(cluster, run, epochs)):
                assert process.poll() is None
                time.sleep(0.05)
            before = trials(run)
            cluster.remove_node(found, allow_graceful=False)
            assert process.wait(300) == 0
        finally:
            process.kill()
            process.wait()
        moved = {int(path.stem.split("-")[0]) for path in (run / "failures").iterdir()}
        assert moved, "no trial was lost"
        fetched = fetch(Place("s3://emg/dies/lab-001"), tmp_path / "fetched")
    assert outcome(fetched) == undisturbed(), f"killed after {epochs} epochs"
    for trial in before:
        if trial["trial"] in moved:
            assert kept(trial, fetched) >= len(trial["curve"]) - 1


def busy(cluster, run, epochs):
    """Return a node beside the head on which a trial runs, once so many epochs were trained."""
    with contextlib.suppress(FileNotFoundError, ValueError):  # before the first epoch
        if sum(len(trial["curve"]) for trial in trials(run)) >= epochs:
            return next((node for node in cluster.worker_nodes if trains(node)), None)
    return None


SLEEP = 0.4
"""Seconds of a trial: long beside the 35 ms that all else of it takes."""


class SleepingTrial(IdleTrial):
    """Takes its time, and none of the processor's."""

    def step(self):
        time.sleep(SLEEP)
        return super().step()


def asleep(cluster, parent, trials):
    """Search with trials that sleep; return the run folder and trials ended per second."""
    overrides = [
        *(f"search.trials={trials}", "training.epochs=1", "search.sampler=random"),
        "search.scheduler=none",
    ]
    with engine(cluster.address, None):
        folder = search_idly(parent, overrides, trial=SleepingTrial)
    ended = sorted(read_curves(folder.path)["arrived"].to_pylist())
    begin = len(ended) // 5  # all processes have started
    return folder.path, (len(ended) - 1 - begin) / (ended[-1] - ended[begin])


def test_a_thousand_trials_on_four_nodes(tmp_path):
    """None is lost, the driver's memory grows little, and each node does what one alone does."""
    with raylets(1, {"TUNE_MAX_PENDING_TRIALS_PG": "8"}) as cluster:
        quiet = load() < 30
        _, alone = asleep(cluster, tmp_path, 40)
        for _ in range(3):
            cluster.add_node()
        before = resident()
        run, together = asleep(cluster, tmp_path, 1000)
    table = read_trials(run)
    assert sorted(table["trial"].to_pylist()) == list(range(1000))
    assert set(table["state"].to_pylist()) == {"complete"}
    assert len(read_curves(run)) == 1000
    assert resident() - before < 200_000, "kB"
    share = together / 4 / alone
    print(f"{share:.0%} of one node's throughput; {(resident() - before) / 1000:.0f} kB a trial")
    if quiet:  # else the cores are what is measured
        assert share > 0.6


def load():
    """Return how busy the machine's cores are (%)."""
    import psutil  # Ray brings it

    return psutil.cpu_percent(interval=3)


def resident():
    """Return the most memory that this process has held (kB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
