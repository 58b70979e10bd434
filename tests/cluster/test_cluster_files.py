"""The files of cluster/, by the rules of those who read them: Ray, Kubernetes, Slurm."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import time
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
    *("rayVersion", "authOptions", "enableInTreeAutoscaling", "autoscalerOptions"),
    *("headGroupSpec", "workerGroupSpecs"),
}
WORKER_GROUP = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
SBATCH = {
    *("job-name", "nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "exclusive"),
    *("time", "requeue", "open-mode", "output"),
}


def read(name: str) -> dict:
    return yaml.safe_load((CLUSTER / name).read_text())


def kubernetes() -> tuple[dict, dict]:
    """Return the job and the network policy."""
    job, policy = yaml.safe_load_all((CLUSTER / "kuberay.yaml").read_text())
    return job, policy


def pods() -> list[dict]:
    cluster, _ = kubernetes()
    spec = cluster["spec"]["rayClusterSpec"]
    return [group["template"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]


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


def test_workers_in_a_cloud_may_use_the_bucket_and_no_more():
    """Those who may start machines are others than those that train."""
    for name, key in (("aws.yaml", "IamInstanceProfile"), ("gcp.yaml", "serviceAccounts")):
        kinds = read(name)["available_node_types"]
        head, worker = (str(kinds[kind]["node_config"][key]) for kind in ("head", "spot"))
        assert "emgsearch-head" in head
        assert "emgsearch-worker" in worker


def test_ray_starts_workers_on_aws_with_their_own_profile():
    """What the file says of a node's profile is left alone, and none is made."""
    from ray.autoscaler._private.aws import config as aws

    config = {**read("aws.yaml"), "head_node": {}}
    assert aws._configure_iam_role(copy.deepcopy(config)) == config


def test_the_ray_job_has_the_fields_of_its_kind():
    job, _ = kubernetes()
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["spec"].keys() <= RAY_JOB
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster.keys() <= RAY_CLUSTER
    assert cluster["authOptions"] == {"mode": "token"}
    for group in cluster["workerGroupSpecs"]:
        assert group.keys() <= WORKER_GROUP
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_kubernetes_takes_the_pods():
    validate = pytest.importorskip("kubernetes_validate")
    for template in pods():
        pod = {"apiVersion": "v1", "kind": "PodTemplate", "template": template}
        validate.validate(pod, validate.latest_version(), strict=True)
        broken = copy.deepcopy(pod)
        broken["template"]["spec"]["containers"][0]["imagePull"] = "Always"
        with pytest.raises(validate.ValidationError):
            validate.validate(broken, validate.latest_version(), strict=True)


def test_kubernetes_takes_the_network_policy_which_is_of_these_pods():
    """Each other they reach on all ports; others reach the dashboard's, where the token is due."""
    validate = pytest.importorskip("kubernetes_validate")
    _, policy = kubernetes()
    validate.validate(policy, validate.latest_version(), strict=True)
    theirs = policy["spec"]["podSelector"]["matchLabels"]
    assert all(theirs.items() <= pod["metadata"]["labels"].items() for pod in pods())
    among, dashboard = policy["spec"]["ingress"]
    assert among == {"from": [{"podSelector": {"matchLabels": theirs}}]}
    ports = {
        port["name"]: port["containerPort"] for port in pods()[0]["spec"]["containers"][0]["ports"]
    }
    assert dashboard == {"ports": [{"port": ports["dashboard"]}]}


def test_the_versions_agree_with_those_that_are_pinned():
    pinned = (CLUSTER.parent / "constraints.txt").read_text()
    (version,) = re.findall(r"^ray==(.+)$", pinned, flags=re.M)
    job, _ = kubernetes()
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == version
    assert f"ray:{version}-" in (CLUSTER / "Dockerfile").read_text()


def test_a_node_is_set_up_anew_when_the_pinned_versions_change(tmp_path):
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy2(CLUSTER.parent / name, tmp_path)
    setup = ("make", "-n", "-C", tmp_path, "cluster-setup")

    def commands():
        return subprocess.run(setup, capture_output=True, text=True, check=True).stdout

    assert "-e '.[cluster]'" in commands()
    (tmp_path / ".venv").mkdir()
    for name in (".ready", ".cluster-ready"):  # a search's needs first, then a node's
        (tmp_path / ".venv" / name).touch()
    assert "pip" not in commands()
    os.utime(tmp_path / "constraints.txt", (time.time() + 10,) * 2)
    assert "-e '.[cluster]'" in commands()


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


@pytest.fixture
def allocation(tmp_path):
    """A job on two nodes, of which Ray is made up: where it is, and a way to run it."""
    made_up = {
        "bin/scontrol": "echo node1; echo node2",
        "bin/srun": 'echo "$*" >> steps; case "$*" in *hostname*) echo 192.0.2.1;; esac',
        ".venv/bin/ray": '[ "$1" = status ] && [ ! -e lost ] && printf " 1 node_a\n 1 node_b\n"; '
        "[ ! -e lost ]",
    }
    for name, line in made_up.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/bash\n{line}\n")
        path.chmod(0o755)
    script = (CLUSTER / "slurm.sbatch").read_text().replace("SECONDS + 600", "SECONDS + 1")
    slurm = {
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "node[1-2]",
    }

    def submit(*arguments):
        return subprocess.run(
            ["bash", "-c", script, "slurm.sbatch", *arguments],
            env={
                "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
                "SLURM_CPUS_PER_TASK": "64",
                **slurm,
            },
            capture_output=True,
            text=True,
            timeout=30,
        )

    return tmp_path, submit


def test_the_slurm_job_starts_ray_on_each_node_with_all_its_cores(allocation):
    folder, submit = allocation
    done = submit("spaces/deep.yaml", "--data", "data")
    assert done.returncode == 0, done.stderr
    steps = (folder / "steps").read_text().splitlines()
    (head,) = (step for step in steps if "--head" in step)
    (worker,) = (step for step in steps if "--address=192.0.2.1:20007" in step)
    (search,) = (step for step in steps if "search.run" in step)
    assert all("--cpus-per-task=64" in step for step in (head, worker, search))
    assert all("--num-cpus=64" in step for step in (head, worker))
    assert [step.split("-w ")[1].split()[0] for step in (head, worker)] == ["node1", "node2"]
    assert f"--storage {folder}/runs/job-7 --address 192.0.2.1:20007" in search
    assert (folder / "runs/job-7/.ray-token").stat().st_mode & 0o077 == 0


def test_the_slurm_job_gives_up_where_ray_does_not_start(allocation):
    folder, submit = allocation
    (folder / "lost").touch()
    done = submit("spaces/deep.yaml")
    assert done.returncode == 1
    assert "no Ray on node1 within 10 minutes" in done.stderr
    assert "search.run" not in (folder / "steps").read_text()
