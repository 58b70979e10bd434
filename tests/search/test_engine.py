"""What Ray's processes do around a search."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LISTEN = """
import json, os, time
from search.engine import engine
import psutil, ray

@ray.remote
def work():
    return True

with engine(None, 1):
    ray.get(work.remote())
    own = psutil.Process()
    found = {
        c.laddr.ip
        for process in (own, *own.children(recursive=True))
        for c in process.net_connections("inet")
        if c.status == "LISTEN"
    }
print(json.dumps(sorted(found)))
"""


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_local_search_listens_on_loopback_only():
    done = subprocess.run(
        [sys.executable, "-c", LISTEN], capture_output=True, text=True, timeout=150, check=True
    )
    addresses = json.loads(done.stdout.splitlines()[-1])
    assert addresses
    assert {address.removeprefix("::ffff:") for address in addresses} == {"127.0.0.1"}
