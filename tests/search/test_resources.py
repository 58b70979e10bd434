"""What a trial is given, on one machine and on clusters of unlike nodes."""

import shutil
from pathlib import Path

import pytest
import ray
import torch

from search.engine.resources import Resources, choose_resources, resources_asked, trials_ahead


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    """A function that says what nodes Ray has."""
    monkeypatch.setenv("HOME", str(tmp_path))

    def of(*nodes):
        found = [{"Alive": True, "Resources": {"CPU": c, "GPU": g}} for c, g in nodes]
        monkeypatch.setattr(ray, "nodes", lambda: found)

    return of


def test_trials_may_ask_for_nodes_that_the_cluster_can_start(tmp_path, cluster):
    """The head of such a cluster has no GPU, and trains nothing."""
    cluster((0.0, 0.0))
    with pytest.raises(ValueError, match="the largest node of the cluster has 0 CPUs"):
        choose_resources(None, 1.0, cluster=True)
    for name in ("aws.yaml", "gcp.yaml"):
        file = Path(__file__).parents[2] / "cluster" / name
        shutil.copy(file, tmp_path / "ray_bootstrap_config.yaml")  # as `ray up` does
        assert choose_resources(None, 1.0, cluster=True) == Resources(4.0, 1.0)
        assert trials_ahead(Resources(4.0, 1.0)) == 4, "of 8 nodes 4 start at a time"


def test_cores_and_gpus_are_those_of_one_node(cluster):
    """A big head without a GPU beside a worker that has two."""
    cluster((64.0, 0.0), (16.0, 2.0))
    assert choose_resources(None, None, cluster=True) == Resources(8.0, 1.0)
    assert choose_resources(None, 0.5, cluster=True) == Resources(4.0, 0.5)
    assert choose_resources(32.0, 0.0, cluster=True) == Resources(32.0, 0.0)
    with pytest.raises(ValueError, match=r"no node has that many CPUs beside 1 of a GPU.*most 16"):
        choose_resources(32.0, 1.0, cluster=True)


def test_of_unlike_gpu_nodes_a_trial_fits_on_each(cluster):
    cluster((64.0, 8.0), (4.0, 1.0), (32.0, 8.0))
    assert choose_resources(None, None, cluster=True) == Resources(4.0, 1.0)
    assert trials_ahead(Resources(4.0, 1.0)) == 1, "all nodes are there"


def test_no_trial_is_given_more_than_one_gpu(cluster):
    cluster((64.0, 8.0))
    for gpus in (1.5, 2.0, -1.0):
        with pytest.raises(ValueError, match="a trial trains on one GPU"):
            choose_resources(None, gpus, cluster=True)


def test_a_run_is_trained_further_with_what_it_had_or_is_asked_for():
    facts = {"resources_per_trial": {"cpus": 16.0, "gpus": 1.0}}
    assert resources_asked(facts, None, None) == (16.0, 1.0)
    assert resources_asked(facts, 4.0, None) == (4.0, 1.0)
    assert resources_asked(facts, None, 0.0) == (None, 0.0), "16 cores went with the GPU"
    assert resources_asked(facts, None, "auto") == (None, "auto")
    assert resources_asked(facts, 2.0, 0.5) == (2.0, 0.5)


def test_on_this_machine_a_trial_has_a_core_or_a_gpu(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert choose_resources(None, None, cluster=False) == Resources(1.0, 0.0)
    with pytest.raises(ValueError, match="this machine has 6 CPUs"):
        choose_resources(7.0, None, cluster=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_resources(None, None, cluster=False) == Resources(3.0, 1.0)
    assert choose_resources(None, 0.25, cluster=False) == Resources(1.0, 0.25)
