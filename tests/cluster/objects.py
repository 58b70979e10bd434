"""A real S3 server on this machine, started by a test."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator

from machines import wait_for

SECRET = secrets.token_hex(20)
BUCKET = "emg"


@contextlib.contextmanager
def s3_server(address: str) -> Iterator[dict[str, str]]:
    """Start the server with a bucket, and yield the environment that its clients need."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", address, "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    environment = {
        "AWS_ENDPOINT_URL": f"http://{address}:{port}",
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        wait_for(address, port, 120)
        create = "import boto3; boto3.client('s3').create_bucket(Bucket='emg')"
        subprocess.run(
            [sys.executable, "-c", create], env={**os.environ, **environment}, check=True
        )
        yield environment
    finally:
        server.kill()
        server.wait()
