"""A lab of three machines, followed as cluster/README.md says: up, search, faults, results.

The machines are network namespaces with SSH daemons; ``ray up cluster/onprem.yaml`` starts Ray on
them and an S3 server keeps the results. Each fault is compared with a search that nothing disturbs.
The tests run in the order in which they stand, on one cluster that loses its machines one by one.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from conftest import make_session
from machines import ROOT, Machine, machines, missing, network
from objects import SECRET, s3_server

from emgmodels.sessions import write_session
from search.results import read_curves, read_trials

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]

SPACE = """
name: lab
model:
  features: {hop: 64, bins: 6}
  norm: bin
  electrodes: {choice: [4, 8, 16]}
  mlp_features: 12
  encoder:
    order: [recurrent, conv]
    recurrent: {layers: 1, hidden: {choice: [8, 12]}}
    conv: {layers: {choice: [0, 1]}, channels: 4, kernel: 4}
training: {epochs: 8, batch_size: 2, learning_rate: 5.0e-3, warmup_steps: 3}
search: {trials: 4, sampler: random, seed: 3, scheduler: none, save_every: 0.01}
"""


@dataclass
class Lab:
    """Machines, and what a person at another one types."""

    nodes: list[Machine]
    folder: Path
    environment: dict[str, str]

    @property
    def config(self) -> Path:
        return self.folder / "onprem.yaml"

    def ray(self, *arguments: object, timeout: float = 400) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def command(self, *arguments: object) -> list[str]:
        return [str(Path(sys.executable).with_name("ray")), *map(str, arguments)]

    def on_head(self, command: str) -> list[str]:
        return self.command("exec", self.config, f"cd ~/emgsearch && {command}")

    def search(self, *arguments: object) -> str:
        words = " ".join(map(str, arguments))
        data = f"{self.folder}/lab.yaml --data {self.folder}/data"
        return f".venv/bin/python -m search.run {data} --address auto {words}"

    def local(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "search.run", *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, **self.environment},
            timeout=600,
            check=False,
        )

    def alive(self) -> int:
        done = subprocess.run(
            self.on_head(".venv/bin/python -c 'import ray; ray.init(\"auto\"); "
            "print(\"ALIVE\", sum(n[\"Alive\"] for n in ray.nodes()))'"),
            capture_output=True, text=True, cwd=ROOT, timeout=120, check=False,
        )  # fmt: skip
        found = re.search(r"ALIVE (\d+)", done.stdout)
        return int(found[1]) if found else 0

    def wait(self, run: Path, epochs: int, process: subprocess.Popen[str]) -> None:
        """Wait until a search that runs on the head has trained so many epochs."""
        deadline = time.monotonic() + 300
        journal = run / "study.journal"  # a line for each epoch, at once
        while not (journal.is_file() and journal.read_text().count("intermediate_v") >= epochs):
            assert time.monotonic() < deadline, f"fewer than {epochs} epochs in {run}"
            assert process.poll() is None, process.communicate()
            time.sleep(0.2)

    def start(self, storage: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.on_head(self.search("--storage", storage, "--out", "runs")),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
        )


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Three machines on which ``ray up cluster/onprem.yaml`` started Ray, and an S3 server."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "lab.yaml").write_text(SPACE)
    (folder / "data").mkdir()
    for i in range(4):
        write_session(folder / f"data/s{i}.hdf5", make_session(9, seed=i, name=f"s{i}"))
    token = folder / "token"
    token.write_text("0" * 64)
    with network() as here, s3_server(here) as environment:
        given = {**environment, "OMP_NUM_THREADS": "1", "PYTHONPATH": "/root/emgsearch"}
        with machines(3, folder, given) as nodes:
            made = Lab(nodes, folder, environment)
            config = yaml.safe_load((ROOT / "cluster/onprem.yaml").read_text())
            config["provider"]["head_ip"] = nodes[0].address
            config["provider"]["worker_ips"] = [node.address for node in nodes[1:]]
            config["auth"] = {"ssh_user": "root", "ssh_private_key": str(folder / "id_ed25519")}
            config["file_mounts"]["~/.ray/auth_token"] = str(token)
            made.config.write_text(yaml.safe_dump(config, sort_keys=False))
            done = made.ray("up", "-y", "--no-config-cache", made.config)
            assert done.returncode == 0, done.stdout + done.stderr
            deadline = time.monotonic() + 240
            while (alive := made.alive()) < 3:
                assert time.monotonic() < deadline, f"{alive} of 3 nodes came up"
            yield made


@pytest.fixture(scope="module")
def undisturbed(lab):
    """What the search gives where nothing happens to it, on one machine."""
    out = lab.folder / "undisturbed"
    done = lab.local(lab.folder / "lab.yaml", "--data", lab.folder / "data", "--out", out)
    assert done.returncode == 0, done.stderr
    return outcome(out / "lab-001")


def outcome(run: Path) -> list[tuple]:
    """Return the ranking: trial, architecture, state, and every epoch's CER and loss."""
    curves: dict[int, list[tuple]] = {}
    for row in read_curves(run).to_pylist():
        curves.setdefault(row["trial"], []).append((row["epoch"], row["val_cer"], row["val_loss"]))
    return [
        (row["trial"], row["architecture"], row["state"], curves[row["trial"]])
        for row in read_trials(run).to_pylist()
    ]


def fetched(lab: Lab, uri: str) -> Path:
    """Bring a run folder here, with the command of the README."""
    to = lab.folder / re.sub(r"\W+", "-", uri)
    done = subprocess.run(
        [sys.executable, "-m", "search.storage", "fetch", uri, "--to", str(to)],
        capture_output=True,
        text=True,
        env={**os.environ, **lab.environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return to


def test_the_preflight_names_the_node_and_the_fix(lab):
    """Results that are not shared, data that one machine lacks, another source, GPUs of nobody."""
    done = subprocess.run(
        lab.on_head(lab.search("--out", "/root/results")), capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode != 0
    for node in lab.nodes[1:]:
        assert f"node {node.address}" in done.stdout + done.stderr
    assert "--storage" in done.stdout + done.stderr
    assert not list((lab.nodes[0].home / "results").glob("*")), "nothing may be left"

    source = lab.nodes[2].home / "emgsearch/search/__init__.py"
    whole = source.read_text()
    source.write_text(whole + "\n# another release\n")
    done = subprocess.run(
        lab.on_head(lab.search("--storage", "s3://emg/none")),
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    source.write_text(whole)
    assert done.returncode != 0
    assert re.search(rf"node {lab.nodes[2].address} .*has emgsearch", done.stdout + done.stderr)
    assert f"node {lab.nodes[1].address}" not in done.stdout + done.stderr

    begin = time.monotonic()
    done = subprocess.run(
        lab.on_head(lab.search("--storage", "s3://emg/none", "--gpus-per-trial", 1)),
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode != 0
    assert "the largest node of the cluster has 0 GPUs" in done.stdout + done.stderr
    assert time.monotonic() - begin < 120


def test_a_machine_dies(lab, undisturbed):
    process = lab.start("s3://emg/dies")
    chance = random.Random(time.time_ns())
    epochs = chance.randrange(3, 16)
    lab.wait(lab.nodes[0].home / "emgsearch/runs/lab-001", epochs, process)
    lab.nodes[2].kill()
    printed, _ = process.communicate(timeout=500)
    assert process.returncode == 0, printed
    run = fetched(lab, "s3://emg/dies/lab-001")
    assert outcome(run) == undisturbed, f"killed after {epochs} epochs"
    nodes = set(read_trials(run)["node"].to_pylist())
    assert nodes <= {node.address for node in lab.nodes}


def test_a_cable_is_pulled(lab, undisturbed):
    process = lab.start("s3://emg/cut")
    lab.wait(lab.nodes[0].home / "emgsearch/runs/lab-002", 6, process)
    lab.nodes[1].cut()
    begin = time.monotonic()
    printed, _ = process.communicate(timeout=500)
    assert process.returncode == 0, printed
    assert outcome(fetched(lab, "s3://emg/cut/lab-002")) == undisturbed
    assert time.monotonic() - begin < 300


def test_the_head_dies_and_another_machine_goes_on(lab, undisturbed):
    process = lab.start("s3://emg/head")
    lab.wait(lab.nodes[0].home / "emgsearch/runs/lab-003", 12, process)
    time.sleep(11)  # Ray takes its snapshots every ten seconds
    lab.nodes[0].kill()
    process.kill()
    process.communicate()
    out = lab.folder / "elsewhere"
    done = lab.local("--resume", "s3://emg/head/lab-003", "--out", out)
    assert done.returncode == 0, done.stderr
    assert outcome(out / "lab-003") == undisturbed
    assert outcome(fetched(lab, "s3://emg/head/lab-003")) == undisturbed


def test_no_credential_is_written_anywhere(lab):
    """Not into run folders here or in storage, nor into what Ray logs on a machine."""
    searched = 0
    for path in lab.folder.rglob("*"):
        if path.is_file() and path.name != "sshd_config" and ".venv" not in path.parts:
            searched += 1
            assert SECRET.encode() not in path.read_bytes(), path
    assert searched > 50
