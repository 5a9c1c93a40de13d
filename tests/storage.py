"""An object store for tests: a server that is already there, or moto's simulation of one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import pytest

BUCKET = "isoclone-tests"


@contextmanager
def object_store() -> Iterator[str]:
    """A place nobody has used, in the server at ISOCLONE_TEST_S3_ENDPOINT or one started here.

    The environment tells programs where it is; that of the caller is put back at the end.
    """
    known, endpoint = dict(os.environ), os.environ.get("ISOCLONE_TEST_S3_ENDPOINT")
    try:
        with nullcontext(endpoint) if endpoint else _moto() as endpoint:
            os.environ |= {"AWS_ENDPOINT_URL": endpoint, "AWS_EC2_METADATA_DISABLED": "true"}
            store = client()
            with suppress(store.exceptions.ClientError):  # there already; else tests will tell
                store.create_bucket(Bucket=BUCKET)
            yield f"s3://{BUCKET}/{uuid.uuid4().hex[:8]}"
    finally:
        os.environ.clear()
        os.environ.update(known)


def client() -> Any:
    """The server as another client sees it, and one that survives a fork, unlike Arrow's."""
    boto3 = pytest.importorskip("boto3", reason="moto brings it: pip install 'isoclone[dev]'")
    return boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])


@contextmanager
def _moto() -> Iterator[str]:
    pytest.importorskip("moto", reason="moto is not installed: pip install 'isoclone[dev]'")
    port = free_port()
    os.environ |= {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "secret"}
    os.environ |= {"AWS_DEFAULT_REGION": "us-east-1"}
    words = ["-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with serving(port, *words):
        yield f"http://127.0.0.1:{port}"


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def serving(port: int, *words: str) -> Iterator[None]:
    """A server in Python while the block runs, from when it answers."""
    quiet = subprocess.DEVNULL
    server = subprocess.Popen([sys.executable, *words], stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield
    finally:
        server.kill()
        server.wait()
