"""An object store for tests: a server that is already there, or moto's simulation of one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, TextIO

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
    os.environ |= {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "secret"}
    os.environ |= {"AWS_DEFAULT_REGION": "us-east-1"}
    with serving("-m", "moto.server", "-H", "127.0.0.1", "-p", "0") as address:
        yield address


@contextmanager
def serving(*words: str) -> Iterator[str]:
    """The address of a server in Python while the block runs.

    It chooses its port itself, as one that is free now may be taken when it starts, and says
    'Running on http://...' when it listens.
    """
    with tempfile.TemporaryFile("w+") as said:
        server = subprocess.Popen(
            [sys.executable, "-u", *words], stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        try:
            yield _address(server, said)
        finally:
            server.kill()
            server.wait()


def _address(server: subprocess.Popen[bytes], said: TextIO, seconds: float = 120.0) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        alive = server.poll() is None
        text = os.pread(said.fileno(), 100_000, 0).decode(errors="replace")
        found = re.search(r"Running on (http://[\w.:]+)\s", text)
        if found and alive:
            return found[1]
        if not alive:
            break
        time.sleep(0.05)
    raise AssertionError(f"{server.args} does not serve: {text[-2000:]}")
