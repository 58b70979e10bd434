"""Checks a cluster before the first trial: every node can do what a trial will ask of it.

A node with another version, without the data, without the storage or without the GPUs that Ray
counts on would fail its trials one by one, hours into a search. Here it is named at the start, with
what to do about it. Nodes that join later are checked as they come, and told of.
"""

from __future__ import annotations

import contextlib
import functools
import platform
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from rich.console import Console

from emgmodels.saying import counted
from search.engine.resources import Resources
from search.engine.trial import TrialData, recordings
from search.report.display.words import say
from search.results.environment import source_hash
from search.storage import Place, redact

ANSWER_SECONDS = 120.0
"""A node that does not answer within this time is reported."""
LOOK_EVERY = 10.0
"""Seconds between two looks for nodes that have joined."""


@dataclass(frozen=True)
class Versions:
    """What must be the same on every node, or trials on it are not comparable."""

    python: str
    torch: str
    ray: str
    emgsearch: str


@dataclass(frozen=True)
class ClusterNode:
    """A node of the cluster, as Ray knows it."""

    id: str
    name: str
    """Address and host name, for a person."""
    gpus: float
    trains: bool
    """Whether a trial fits on it."""


def versions() -> Versions:
    """Return this process's versions; emgsearch's tells its source, however it was installed."""
    try:
        release = metadata.version("emgsearch")
    except metadata.PackageNotFoundError:
        release = "not installed"
    return Versions(
        python=platform.python_version(),
        # What follows the plus names the build for CPU or CUDA. Nodes may differ in that.
        torch=torch.__version__.partition("+")[0],
        ray=ray.__version__,
        emgsearch=f"{release} (source {source_hash()})",
    )


def check_cluster(
    data: TrialData, resources: Resources, storage: Place | Path, console: Console
) -> Newcomers:
    """Check every node of the cluster that is connected, and prepare the sessions on each.

    Args:
        data: what trials train on.
        resources: what a trial is given.
        storage: where results go: a folder that all nodes share, or an object store.
        console: told what is going on.

    Returns:
        A context for the search, in which nodes that join are checked too.

    Raises:
        ValueError: one line for each thing that is wrong: which node, what, and what to do.
    """
    if isinstance(storage, Path):
        storage = storage.absolute()
        storage.mkdir(parents=True, exist_ok=True)
    check = _Check(data, resources, storage, console)
    nodes = cluster_nodes(resources)
    say(console, f"Checking {counted(len(nodes), 'node')} ...")
    if problems := check.nodes(nodes) or check.sessions(nodes):
        raise ValueError("the cluster is not ready:\n" + "\n".join(f"  {p}" for p in problems))
    training = sum(node.trains for node in nodes)
    say(
        console, f"The cluster is ready: trials run on {training} of {counted(len(nodes), 'node')}."
    )
    return Newcomers(check, nodes)


@dataclass(frozen=True)
class _Check:
    """What nodes are asked."""

    data: TrialData
    resources: Resources
    storage: Place | Path
    console: Console

    def nodes(self, nodes: Sequence[ClusterNode]) -> list[str]:
        """Return what is wrong with nodes, a line each."""
        # A name that nobody has used before: an old file of the same name would look like an
        # answer.
        token = f".probe-{secrets.token_hex(8)}"
        wanted = asdict(versions())
        _write(self.storage, token, b"head")
        try:
            answers = _ask(nodes, _probe, wanted, self.resources.gpus > 0, self.storage, token)
            problems = [
                f"{node.name}: {problem}"
                for node, answer in zip(nodes, answers, strict=True)
                for problem in ([answer] if isinstance(answer, str) else answer)
            ]
            # A folder of the same path may be another disk on each node. Reading back on the head
            # what each node wrote shows that.
            problems += _unread(nodes, self.storage, token) if not problems else []
        finally:
            _clean(self.storage, token, nodes)
        return problems

    def sessions(self, nodes: Sequence[ClusterNode]) -> list[str]:
        """Prepare the sessions on the nodes that train; return a line for each that cannot."""
        nodes = [node for node in nodes if node.trains]
        tell = functools.partial(say, self.console)
        tell("Preparing the sessions on each node that lacks them ...")
        answers = _ask(nodes, _prepare, self.data, waiting=tell)
        return [
            f"{node.name}: cannot read the sessions: {answer}: mount the folder there under the "
            f"same path, or give --data as an object store's URI"
            for node, answer in zip(nodes, answers, strict=True)
            if answer is not None
        ]


# Ray places trials by resources alone. A trial that left a bad node would be sent there again
# while the node is free, so problems of newcomers are only told.
class Newcomers:
    """Checks nodes that join while a search runs: of an autoscaler, or mended ones.

    What is wrong with one is told; its trials go on, and fail there or do not.
    """

    def __init__(self, check: _Check, known: Sequence[ClusterNode]) -> None:
        self._check = check
        self._known = {node.id for node in known}
        # A thread, because the search's own loop is Ray Tune's and offers no place for this.
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, name="newcomers", daemon=True)

    def __enter__(self) -> Newcomers:
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watch.join(LOOK_EVERY)

    def _look(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            # The head may be restarting. The next look will tell.
            with contextlib.suppress(ray.exceptions.RayError, ConnectionError):
                nodes = cluster_nodes(self._check.resources)
                new = [node for node in nodes if node.id not in self._known]
                # Before they are asked, so that a node that does not answer is asked once only.
                self._known.update(node.id for node in new)
                for node in new:
                    self._tell(node)

    def _tell(self, node: ClusterNode) -> None:
        try:
            problems = self._check.nodes([node])
            if not problems and not self._over.is_set():  # a task would start another Ray
                problems = self._check.sessions([node])
        except (ValueError, OSError) as error:  # the storage fails the head
            problems = [f"{node.name}: not checked: {redact(str(error))}"]
        if self._over.is_set():
            return
        for problem in problems:
            say(self._check.console, f"note: joined while searching: {problem}")
        if not problems:
            say(self._check.console, f"{node.name} has joined, and is ready.")


def cluster_nodes(trial: Resources) -> list[ClusterNode]:
    """Return the nodes that are connected."""
    nodes = []
    for node in ray.nodes():
        if not node["Alive"]:
            continue
        has = node["Resources"]
        address, host = node["NodeManagerAddress"], node["NodeManagerHostname"]
        nodes.append(
            ClusterNode(
                id=node["NodeID"],
                name=f"node {address} ({host})",
                gpus=has.get("GPU", 0.0),
                trains=has.get("CPU", 0.0) >= trial.cpus and has.get("GPU", 0.0) >= trial.gpus,
            )
        )
    return nodes


def _ask(
    nodes: Sequence[ClusterNode],
    task: Any,
    *arguments: Any,
    waiting: Callable[[str], None] | None = None,
) -> list[Any]:
    """Run a task on every node at once; an error is answered as its text.

    Args:
        nodes: where to run it.
        task: what to run, with the node as its first argument.
        arguments: the others.
        waiting: told which nodes are waited for, now and then; None: they have ANSWER_SECONDS.
    """
    refs = {
        ray.remote(task)
        .options(
            # Trials may hold all cores, and the check must run beside them.
            num_cpus=0,
            max_retries=0,
            # Without it Ray would run the task on another node that is free, and report that
            # node's state.
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
        )
        .remote(node, *arguments): node
        for node in nodes
    }
    late = list(refs)
    while late:
        # Preparing sessions may take an hour on a slow disk, so it has no limit. A probe takes
        # seconds, so one that is late points to a broken node.
        _, late = ray.wait(late, num_returns=len(late), timeout=ANSWER_SECONDS)
        if late and waiting is None:
            break
        if late and waiting is not None:
            names = ", ".join(refs[ref].name for ref in late)
            waiting(f"still waiting for {names}; Ctrl-C gives up")
    return [_late(ref) if ref in late else _answer(ref) for ref in refs]


def _late(ref: Any) -> str:
    # By force, since a task that hangs in a system call does not see a polite request.
    ray.cancel(ref, force=True)
    return (
        f"does not answer within {ANSWER_SECONDS:.0f} s: look at `ray status` and at the logs "
        f"under /tmp/ray/session_latest/logs there, or take it out of the cluster"
    )


def _answer(ref: Any) -> Any:
    try:
        return ray.get(ref)
    except ray.exceptions.RayError as error:
        return _explain(error)


def _explain(error: Exception) -> str:
    last = [line.strip() for line in str(error).splitlines() if line.strip()][-1]
    if "ModuleNotFoundError" in str(error):
        return f"cannot run emgsearch ({last}): install the same release there as on the head"
    return f"failed: {redact(last)}"


def _probe(
    node: ClusterNode, wanted: dict[str, str], on_gpu: bool, storage: Place | Path, token: str
) -> list[str]:
    """Return what is wrong with the node that this runs on."""
    problems = []
    for name, found in asdict(versions()).items():
        if found != wanted[name]:
            problems.append(
                f"has {name} {found}, the head {wanted[name]}: install the head's there, with "
                f"constraints.txt, and start Ray on it again"
            )
    if on_gpu and node.gpus and torch.cuda.device_count() < node.gpus:
        problems.append(
            f"Ray counts {counted(node.gpus, 'GPU')} there, torch sees "
            f"{torch.cuda.device_count()}: install "
            f"a driver and a CUDA build of torch, or start Ray with --num-gpus"
        )
    try:
        if _read(storage, token) != b"head":
            raise ValueError("it holds something else than what the head wrote")
        _write(storage, f"{token}-{node.id}", socket.gethostname().encode())
    except (ValueError, OSError) as error:
        problems.append(f"cannot use {_where(storage)}: {error}: {_remedy(storage)}")
    return problems


def _prepare(node: ClusterNode, data: TrialData) -> str | None:
    """Prepare the sessions on the node that this runs on, and return why that failed."""
    try:
        recordings(data)
    except (ValueError, OSError) as error:
        return redact(str(error))
    return None


def _unread(nodes: Sequence[ClusterNode], storage: Place | Path, token: str) -> list[str]:
    """Return the nodes of which the head does not see what they wrote."""
    problems = []
    for node in nodes:
        try:
            _read(storage, f"{token}-{node.id}")
        except (ValueError, OSError):
            problems.append(
                f"{node.name}: writes to {_where(storage)}, but the head does not see it: "
                f"{_remedy(storage)}"
            )
    return problems


def _where(storage: Place | Path) -> str:
    return storage.uri if isinstance(storage, Place) else str(storage)


def _remedy(storage: Place | Path) -> str:
    if isinstance(storage, Place):
        return "give that node credentials for it and a way to it"
    return "give --storage a folder that every node mounts under this path, or s3:// or gs://"


def _write(storage: Place | Path, name: str, content: bytes) -> None:
    if isinstance(storage, Place):
        storage.write(name, content)
    else:
        (storage / name).write_bytes(content)


def _read(storage: Place | Path, name: str) -> bytes:
    return storage.read(name) if isinstance(storage, Place) else (storage / name).read_bytes()


def _clean(storage: Place | Path, token: str, nodes: Sequence[ClusterNode]) -> None:
    names = [token, *(f"{token}-{node.id}" for node in nodes)]
    for name in names:
        try:
            if isinstance(storage, Place):
                storage.delete([name])
            else:
                (storage / name).unlink(missing_ok=True)
        except OSError:
            continue
