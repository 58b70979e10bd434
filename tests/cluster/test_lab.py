"""A lab of three machines, used as cluster/README.md says: up, search, faults, results, down.

The machines are network namespaces with SSH daemons; ``ray up cluster/onprem.yaml`` starts Ray on
them and an S3 server keeps the results. Each fault is compared with a search that nothing disturbs.
The tests run in the order in which they stand, on one cluster that loses its machines one by one.
"""

from __future__ import annotations

import importlib.util
import re
import time

import pytest
from lab import laboratory
from machines import missing
from objects import SECRET
from searches import kept, outcome, resumable, trials, undisturbed

from search.storage import Place, fetch

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with laboratory(tmp_path_factory.mktemp("lab")) as lab, pytest.MonkeyPatch.context() as patch:
        for name, value in lab.environment.items():
            patch.setenv(name, value)  # this process reads the storage
        yield lab


def somewhere(lab):
    """Return a look for a trial, half trained, on a machine that is not the head."""
    workers = {node.address: node for node in lab.nodes[1:]}

    def look(found):
        for trial in found:
            half = 3 <= len(trial["curve"]) <= 14
            if trial["state"] == "running" and trial["node"] in workers and half:
                return workers[trial["node"]], trial
        return None

    return look


def test_the_secrets_are_their_owners_alone(lab):
    """The token on all machines; the key for them on the desk and the head, not beyond."""
    key = (lab.desk.home / ".ssh/emgsearch").read_bytes()
    assert (lab.head.home / "ray_bootstrap_key.pem").read_bytes() == key
    secrets = [node.home / ".ray/auth_token" for node in (lab.desk, *lab.nodes)]
    for path in (
        *secrets,
        lab.desk.home / ".ssh/emgsearch",
        lab.head.home / "ray_bootstrap_key.pem",
    ):
        assert path.stat().st_mode & 0o077 == 0, path
    for node in lab.nodes[1:]:
        assert not [path for path in node.home.glob(".ssh/*") if path.read_bytes() == key]
        assert not (node.home / "ray_bootstrap_key.pem").exists()


def test_the_preflight_names_the_node_and_the_fix(lab):
    """Results that are not shared beside another source, and GPUs of nobody."""
    source = lab.nodes[2].home / "emgsearch/search/__init__.py"
    whole = source.read_text()
    source.write_text(whole + "\n# another release\n")
    code, printed = lab.type(lab.search("--out", "/root/results"))
    source.write_text(whole)
    assert code != 0
    for node in lab.nodes[1:]:
        assert re.search(rf"node {node.address} .*cannot use /root/results.*--storage", printed)
        has_another = re.search(rf"node {node.address} .*has emgsearch", printed)
        assert bool(has_another) == (node is lab.nodes[2])
    assert not list((lab.head.home / "results").glob("*")), "nothing may be left"

    begin = time.monotonic()
    code, printed = lab.type(lab.search("--storage", "s3://emg/none", "--gpus-per-trial", 1))
    assert code != 0
    assert "the largest node of the cluster has no GPU" in printed
    assert time.monotonic() - begin < 120


def test_the_readme_holds_line_by_line(lab):
    """Submit, watch, fetch, stop; and start again."""
    submit, attach, tensorboard, _ = lab.readme()[1]
    code, printed = lab.type(submit)
    assert code == 0, printed
    run = lab.folder / "shared/runs/lab-001"
    lab.look(attach, "of 3 trials", keys="\x02d")
    lab.visit(tensorboard, "http://localhost:6006")
    finished(run)
    assert outcome(run) == undisturbed()
    down, fetch_down, report, stop = lab.readme()[2]
    assert "s3://" in fetch_down  # that is for later, with results there
    for line in (down, report, stop):
        code, printed = lab.type(line)
        assert code == 0, printed
    assert (lab.desk.home / "emgsearch/runs/lab-001/report/report.html").is_file()
    (start,) = (line for line in lab.readme()[0] if line.startswith("ray up"))
    code, printed = lab.type(start)
    assert code == 0, printed
    lab.wait_for_nodes(3)


@pytest.mark.skipif(
    importlib.util.find_spec("aiohttp_cors") is None,
    reason="the dashboard is not looked at: pip install 'ray[default]', as nodes of a cluster do",
)
def test_the_dashboard_is_seen_through_a_tunnel(lab):
    lab.visit(lab.readme()[1][3], "http://localhost:8265")


def test_changed_code_is_sent_without_another_start(lab):
    """What Ray and make left on the machines stays."""
    changed = lab.desk.home / "emgsearch/search/__init__.py"
    changed.write_text(changed.read_text() + "\n# changed at the desk\n")
    ((send,),) = lab.readme()[3:]
    code, printed = lab.type(send)
    assert code == 0, printed
    for node in lab.nodes:
        assert (node.home / "emgsearch/search/__init__.py").read_text() == changed.read_text()
        assert (node.home / "emgsearch/.venv/.cluster-ready").is_file()
    lab.wait_for_nodes(3)


def finished(run, seconds=240):
    deadline = time.monotonic() + seconds
    while not (run / "best.yaml").is_file() or any(
        trial["state"] != "complete" for trial in trials(run)
    ):
        assert time.monotonic() < deadline
        time.sleep(1)


def test_a_cable_is_pulled_for_a_while(lab, tmp_path):
    """Its trials go on elsewhere; what the machine does when it is back disturbs nothing."""
    with lab.searching("--storage", "s3://emg/runs") as search:
        node, trial = search.wait_for("a trial on another machine", somewhere(lab))
        node.cut()
        search.wait_for("the trial goes on elsewhere", moved(trial))
        node.mend()
        search.end()
    run = fetch(Place(f"s3://emg/runs/{search.run.name}"), tmp_path / "run")
    assert outcome(run) == undisturbed()
    assert kept(trial, run) >= len(trial["curve"]) - 1
    lab.wait_for_nodes(3)


def moved(trial):
    def look(found):
        (now,) = (other for other in found if other["trial"] == trial["trial"])
        return now["node"] != trial["node"]

    return look


def test_a_machine_dies(lab, tmp_path):
    with lab.searching("--storage", "s3://emg/runs") as search:
        node, trial = search.wait_for("a trial on another machine", somewhere(lab))
        node.kill()
        search.end()
    run = fetch(Place(f"s3://emg/runs/{search.run.name}"), tmp_path / "run")
    assert outcome(run) == undisturbed()
    assert kept(trial, run) >= len(trial["curve"]) - 1
    (after,) = (other for other in trials(run) if other["trial"] == trial["trial"])
    assert after["node"] in {other.address for other in lab.nodes} - {node.address}


def test_the_head_dies_and_another_machine_goes_on(lab, tmp_path):
    with lab.searching("--storage", "s3://emg/runs") as search:
        place = Place(f"s3://emg/runs/{search.run.name}")
        search.wait_for("a snapshot with results", lambda _: resumable(place))
        lab.head.kill()
    code, printed = lab.type(f"python -m search.run --resume {place.uri} --out elsewhere")
    assert code == 0, printed
    assert outcome(lab.desk.home / "emgsearch/elsewhere" / place.name) == undisturbed()
    assert outcome(fetch(place, tmp_path / "run")) == undisturbed()


def test_no_credential_is_written_anywhere(lab):
    """Not into run folders, here or in storage, nor into what Ray logs on a machine."""
    told = [SECRET.encode(), (lab.desk.home / ".ray/auth_token").read_bytes().strip()]
    own = ("sshd_config", "auth_token")
    searched = 0
    for path in lab.folder.rglob("*"):
        if path.is_file() and path.name not in own and ".venv" not in path.parts:
            searched += 1
            content = path.read_bytes()
            assert not [secret for secret in told if secret in content], path
    assert searched > 50
