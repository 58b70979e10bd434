"""Several nodes on this machine, without network namespaces: a raylet for each."""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import threading
import time

import pytest
from machines import missing
from objects import s3_server
from rich.console import Console
from searches import (
    STEADY,
    kept,
    outcome,
    resumable,
    trials,
    undisturbed,
    write_people,
    write_search,
)

from benchmarks.idle import IdleTrial, search_idly
from search.engine import cluster_check
from search.engine.ray_session import engine
from search.engine.resources import Resources
from search.engine.trial import TrialData
from search.people.comparing import compare_people
from search.results.growing_tables import read_parquet
from search.results.reading import read_curves, read_trials
from search.run import search
from search.storage import Place, fetch

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

instead = pytest.mark.skipif(
    not missing() and "EMGSEARCH_RAYLETS" not in os.environ,
    reason="test_lab.py does it with machines; EMGSEARCH_RAYLETS=1 does it with raylets too",
)
"""Faults, where namespaces can't be had."""

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
    for child in psutil.Process(raylet).children():
        with contextlib.suppress(psutil.Error):  # it may have ended
            # So Ray calls trials that have resources, and nothing else.
            if "ResourceTrainable" in " ".join(child.cmdline()):
                return True
    return False


def lose(cluster):
    """Kill every process of a cluster: its nodes' own, and their trials'."""
    import psutil  # Ray brings it

    nodes = cluster.list_all_nodes()
    started = [one for node in nodes for kind in node.all_processes.values() for one in kind]
    processes = [psutil.Process(one.process.pid) for one in started]
    for one in [*processes, *(child for own in processes for child in own.children(True))]:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()


@contextlib.contextmanager
def searching(cluster, folder, storage):
    """Search on a cluster while something else happens."""
    write_search(folder)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "search.run", folder / "lab.yaml", "--quiet"),
            *("--data", folder / "data", "--out", folder / "runs"),
            *("--storage", storage, "--address", cluster.address),
        ],
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(process, run, seen):
    """Wait until something is seen in a search's trials so far, and return it."""
    while True:
        assert process.poll() is None
        with contextlib.suppress(FileNotFoundError, ValueError):  # before the first epoch
            if found := seen(trials(run)):
                return found
        time.sleep(0.05)


@instead
def test_a_node_dies_at_a_random_moment(stored, tmp_path):
    epochs = random.Random(time.time_ns()).randrange(4, 30)
    run = tmp_path / "runs/lab-001"
    with raylets(3, stored) as cluster:

        def busy(found):
            """A node beside the head on which a trial runs, once so many epochs were trained."""
            if sum(len(trial["curve"]) for trial in found) < epochs:
                return None
            return next((node for node in cluster.worker_nodes if trains(node)), None)

        with searching(cluster, tmp_path, "s3://emg/dies") as process:
            found = wait_for(process, run, busy)
            before = trials(run)
            cluster.remove_node(found, allow_graceful=False)
            assert process.wait() == 0
        moved = {int(path.stem.split("-")[0]) for path in (run / "failures").iterdir()}
        assert moved, "no trial was lost"
        fetched = fetch(Place("s3://emg/dies/lab-001"), tmp_path / "fetched")
    assert outcome(fetched) == undisturbed(), f"killed after {epochs} epochs"
    for trial in before:
        if trial["trial"] in moved:
            assert kept(trial, fetched) >= len(trial["curve"]) - 1


@instead
def test_all_machines_are_lost_and_another_goes_on(stored, tmp_path):
    """Head, workers, search and run folder are gone at once; what is in storage is enough."""
    place = Place("s3://emg/lost/lab-001")
    with raylets(3, stored) as cluster:
        with searching(cluster, tmp_path, "s3://emg/lost") as process:
            wait_for(process, tmp_path / "runs/lab-001", lambda _: resumable(place))
            process.kill()
            lose(cluster)
        before = trials(fetch(place, tmp_path / "before"))
        shutil.rmtree(tmp_path / "runs")
        resume = (sys.executable, "-m", "search.run", "--resume", place.uri, "--quiet")
        subprocess.run([*resume, "--out", tmp_path / "elsewhere"], check=True)
        fetched = fetch(place, tmp_path / "fetched")
    assert outcome(tmp_path / "elsewhere/lab-001") == outcome(fetched) == undisturbed()
    assert sum(kept(trial, fetched) for trial in before) > 0, "all was trained again"


OWN = """
from emgmodels.stages.stage import Stage
from emgmodels.training.augmentation import Augmentation

class Same(Stage):
    def forward(self, x):
        return x

    def macs(self, frames):
        return 0

class Negative(Augmentation):
    def emg(self, emg, generator):
        return -emg
"""


def test_code_of_ones_own_is_sent_to_every_node(tmp_path):
    """Nodes cannot read it: its folder is none that Python looks in, and no module has its name."""
    write_search(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    with (tmp_path / "lab.yaml").open("a") as file:
        file.write("stages: {same: own.py:Same}\naugmentations: {negative: own.py:Negative}\n")
    own = ("model.encoder.order=[same, recurrent]", "training.augmentation.negative={}")
    small = ("training.epochs=2", "search.trials=2", "model.encoder.conv.layers=0")
    with raylets(2) as cluster:
        options = [word for each in (*own, *small) for word in ("--set", each)]
        searched = subprocess.run(
            [
                *(sys.executable, "-m", "search.run", tmp_path / "lab.yaml", "--quiet"),
                *("--data", tmp_path / "data", "--storage", tmp_path / "runs"),
                *("--address", cluster.address, "--allow-code", *options),
            ],
            check=False,
        )
    assert searched.returncode == 0
    assert [trial["state"] for trial in trials(tmp_path / "runs/lab-001")] == ["complete"] * 2


def test_a_search_over_people_and_their_comparison_survive_the_death_of_a_node(tmp_path):
    """Each loses a node while it trains there, and both come to the undisturbed tables."""
    write_people(tmp_path)
    space, data = tmp_path / "lab.yaml", tmp_path / "data"
    whole, run = tmp_path / "whole/lab-001", tmp_path / "runs/lab-001"
    with raylets(3) as cluster, engine(cluster.address, None):
        search(space, data=data, storage=whole.parent, quiet=True)
        compare_people(whole, data=data, quiet=True)
        with losing_a_node(cluster, run):
            search(space, data=data, storage=run.parent, quiet=True)
        with losing_a_node(cluster, run / "people"):
            compare_people(run, data=data, quiet=True)
    assert outcome(run) == outcome(whole)
    assert outcome(run / "people") == outcome(whole / "people")
    for name in ("users.parquet", "people/people.parquet"):
        # Rows are in the order in which epochs ended, which the death of a node changes.
        found, expected = (
            sorted(map(str, read_parquet(folder / name).to_pylist())) for folder in (run, whole)
        )
        assert found == expected, name


@contextlib.contextmanager
def losing_a_node(cluster, run):
    """Take away a node on which a trial trains, while something else happens."""
    ended = threading.Event()

    def lose_one():
        while not ended.wait(0.05):
            with contextlib.suppress(FileNotFoundError, ValueError):  # before the first epoch
                began = any(trial["curve"] for trial in trials(run))
                if node := began and next(filter(trains, cluster.worker_nodes), None):
                    cluster.remove_node(node, allow_graceful=False)
                    return

    thread = threading.Thread(target=lose_one)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert list((run / "failures").iterdir()), "no trial was lost"


def test_nodes_that_join_a_search_are_checked(tmp_path, monkeypatch):
    """As those of an autoscaler: one is fine, of another Ray counts a GPU that is not there."""
    write_search(tmp_path)
    monkeypatch.setattr(cluster_check, "LOOK_EVERY", 0.2)
    path = tuple(map(str, sorted((tmp_path / "data").iterdir())))
    console = Console(file=io.StringIO(), width=200)
    with raylets(1) as cluster, engine(cluster.address, None):
        data = TrialData(train=path[:1], val=path[1:2])
        with cluster_check.check_cluster(data, Resources(1, 0.5), tmp_path / "results", console):
            for options, said in (
                ({}, "has joined, and is ready"),
                ({"num_gpus": 1}, "joined while searching: node .*Ray counts 1 GPU.*torch sees 0"),
            ):
                cluster.add_node(**options)
                deadline = time.monotonic() + 60
                while not re.search(said, console.file.getvalue()):
                    assert time.monotonic() < deadline, console.file.getvalue()
                    time.sleep(0.2)
    assert not list((tmp_path / "results").iterdir()), "nothing may be left"


TRIALS = 400
SLEEP = 0.25
"""Seconds of a trial: long beside the 35 ms that all else of it takes."""
WANTED = 0.85
"""What each of four nodes does, as a share of what one alone does."""
IDLE = 30
"""Where the cores are idle for less (%), they are what is measured: all four nodes share them."""


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


@pytest.mark.alone
def test_hundreds_of_trials_on_four_nodes(tmp_path, capsys):
    """None is lost, the driver's memory grows little, and each node does what one alone does."""
    import psutil  # Ray brings it

    with raylets(1) as cluster:
        _, alone = asleep(cluster, tmp_path, 30)
        for _ in range(3):
            cluster.add_node()
        before = resident()
        psutil.cpu_times_percent()  # from here on
        run, together = asleep(cluster, tmp_path, TRIALS)
        idle = psutil.cpu_times_percent().idle
        grown = resident() - before
        for again in range(2):  # something else may have come in between
            if together / 4 / alone < WANTED:
                psutil.cpu_times_percent()
                together = asleep(cluster, tmp_path / f"again-{again}", 200)[1]
                idle = psutil.cpu_times_percent().idle
    table = read_trials(run)
    assert sorted(table["trial"].to_pylist()) == list(range(TRIALS))
    assert set(table["state"].to_pylist()) == {"complete"}
    assert len(read_curves(run)) == TRIALS
    assert grown < 200 * TRIALS, "kB"
    share = together / 4 / alone
    with capsys.disabled():
        print(
            f"\neach of 4 nodes: {share:.0%} of what one node alone does ({alone:.2f} trials/s); "
            f"cores idle {idle:.0f} %; the driver's memory: {grown / TRIALS:.0f} kB a trial"
        )
    assert share > WANTED or idle < IDLE, "the nodes wait, and not for the machine's cores"


def resident():
    """Return the most memory that this process has held (kB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
