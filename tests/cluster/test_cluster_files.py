"""The files of cluster/, by the rules of those who read them: Ray, Kubernetes, Slurm."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml

CLUSTER = Path(__file__).parents[2] / "cluster"
LAUNCHED = ("onprem.yaml", "aws.yaml", "gcp.yaml")

RAY_JOB = {
    *("entrypoint", "entrypointNumCpus", "submissionMode", "backoffLimit", "rayClusterSpec"),
    *("shutdownAfterJobFinishes", "ttlSecondsAfterFinished"),
}
RAY_CLUSTER = {
    *("rayVersion", "enableInTreeAutoscaling", "autoscalerOptions", "headGroupSpec"),
    "workerGroupSpecs",
}
WORKER_GROUP = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
SBATCH = {
    *("job-name", "nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "exclusive"),
    *("time", "requeue", "open-mode", "output"),
}


def read(name: str) -> dict:
    return yaml.safe_load((CLUSTER / name).read_text())


def ray_schema() -> dict:
    import ray.autoscaler

    return json.loads(Path(ray.autoscaler.__file__).with_name("ray-schema.json").read_text())


@pytest.mark.parametrize("name", LAUNCHED)
def test_ray_takes_a_launcher_file(name):
    from ray.autoscaler._private.util import prepare_config, validate_config

    jsonschema.validate(read(name), ray_schema())
    validate_config(prepare_config(copy.deepcopy(read(name))))


@pytest.mark.parametrize("name", LAUNCHED)
def test_ray_would_refuse_a_misspelt_key(name):
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout"):
        jsonschema.validate({**read(name), "idle_timeout": 5}, ray_schema())


@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml"])
def test_workers_are_spot_and_none_wait_idle(name):
    config = read(name)
    workers = config["available_node_types"]["spot"]
    assert workers["min_workers"] == 0
    assert re.search(r"spot|preemptible", str(workers["node_config"]))
    assert config["available_node_types"]["head"]["resources"] == {"CPU": 0, "GPU": 0}


@pytest.mark.parametrize("name", LAUNCHED)
def test_a_cluster_asks_for_the_token_and_keeps_its_dashboard_to_itself(name):
    config = read(name)
    started = " ".join(config["head_start_ray_commands"])
    assert "RAY_AUTH_MODE=token" in started
    assert "RAY_AUTH_MODE=token" in " ".join(config["worker_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in started
    assert "~/.ray/auth_token" in config["file_mounts"]


@pytest.mark.parametrize("name", [*LAUNCHED, "kuberay.yaml", "slurm.sbatch", "README.md"])
def test_no_file_holds_a_secret(name):
    text = (CLUSTER / name).read_text()
    assert not re.search(r"AKIA[0-9A-Z]{16}|-----BEGIN|aws_secret|password\s*[:=]", text)


def test_the_ray_job_has_the_fields_of_its_kind():
    job = read("kuberay.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["spec"].keys() <= RAY_JOB
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster.keys() <= RAY_CLUSTER
    for group in cluster["workerGroupSpecs"]:
        assert group.keys() <= WORKER_GROUP
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_kubernetes_takes_the_pods():
    validate = pytest.importorskip("kubernetes_validate")
    cluster = read("kuberay.yaml")["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pods = {"apiVersion": "v1", "kind": "PodTemplate", "template": group["template"]}
        validate.validate(pods, validate.latest_version(), strict=True)
        broken = copy.deepcopy(pods)
        broken["template"]["spec"]["containers"][0]["imagePull"] = "Always"
        with pytest.raises(validate.ValidationError):
            validate.validate(broken, validate.latest_version(), strict=True)


def test_the_versions_agree_with_those_that_are_pinned():
    pinned = (CLUSTER.parent / "constraints.txt").read_text()
    (version,) = re.findall(r"^ray==(.+)$", pinned, flags=re.M)
    assert read("kuberay.yaml")["spec"]["rayClusterSpec"]["rayVersion"] == version
    assert f"ray:{version}-" in (CLUSTER / "Dockerfile").read_text()


def test_the_slurm_job_is_bash_with_options_of_sbatch():
    path = CLUSTER / "slurm.sbatch"
    done = subprocess.run(["bash", "-n", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = path.read_text().splitlines()
    options = re.findall(r"^#SBATCH --([a-z-]+)", path.read_text(), flags=re.M)
    assert set(options) == SBATCH
    first_command = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    last_option = max(i for i, line in enumerate(lines) if line.startswith("#SBATCH"))
    assert last_option < first_command, "sbatch reads no option after the first command"
