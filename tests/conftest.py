"""What several tests share: a finished tiny study, a few real Breakout episodes, shared data."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from pyarrow.fs import FileSystem

from isoclone.builtins import builtin
from isoclone.demos import Demonstrations, RecordRequest, record
from isoclone.demos.nld import NldDemonstrations, import_nld
from isoclone.games import close, game
from isoclone.spec import StudySpec
from isoclone.study import Study

BUCKET = "isoclone-tests"
SHARED = Path(__file__).resolve().parents[2] / "shared"


def tiny_spec(**changes: object) -> StudySpec:
    """The toy study, cut down to a few seconds."""
    fields: dict[str, object] = {
        "name": "tiny",
        "samples": 4_000,
        "widths": (2, 4, 8),
        "budgets_flops": (3e6, 1e7, 3e7),
        "episodes": 4,
        "forecast_episodes": 4,
        "dev_samples": 300,
        "extend": 1,
    }
    return builtin("toy").replace(**{**fields, **changes})


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole toy study from recording to report. Read it, do not change it."""
    path = tmp_path_factory.mktemp("finished") / "tiny"
    return Study.create(path, tiny_spec()).run().path


@pytest.fixture
def study_copy(finished_study: Path, tmp_path: Path) -> Path:
    """A copy of the finished study that a test may spoil."""
    return Path(shutil.copytree(finished_study, tmp_path / "tiny"))


@pytest.fixture(scope="session")
def breakout_demos(tmp_path_factory: pytest.TempPathFactory) -> Demonstrations:
    """Three short real Breakout episodes (sticky actions, as always)."""
    request = RecordRequest("atari/Breakout", "scripted", 300, game_options={"max_steps": 120})
    return record(request, tmp_path_factory.mktemp("breakout") / "demos")


@pytest.fixture(scope="session")
def toy_demos(tmp_path_factory: pytest.TempPathFactory) -> Demonstrations:
    """A dozen toy episodes."""
    request = RecordRequest("toy", "scripted", 1_000)
    return record(request, tmp_path_factory.mktemp("toy") / "demos")


@pytest.fixture(scope="session")
def nethack_demos(tmp_path_factory: pytest.TempPathFactory) -> NldDemonstrations:
    """Five short real games of NetHack, random keys pressed, recorded by NLE and imported."""
    pytest.importorskip("nle", reason="the extra 'nethack' is not installed")
    root = tmp_path_factory.mktemp("nethack")
    env = game("nethack").make_env(savedir=root)  # type: ignore[call-arg]
    for seed in range(5):
        keys = np.random.default_rng(seed)
        env.reset(seed)
        for _ in range(160):
            if any(env.step(int(keys.integers(121)))[2:]):
                break
        else:
            env.quit("enough")  # type: ignore[attr-defined]
    close(env)
    return import_nld(root, root / "demos", dev_fraction=0.4)


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """A place of its own in a bucket of an S3 server, spoken to over HTTP; its address."""
    with object_store() as address:
        yield address


@contextmanager
def object_store() -> Iterator[str]:
    """The server at ISOCLONE_TEST_S3_ENDPOINT, with the AWS_* of the environment; or moto's."""
    known, endpoint = dict(os.environ), os.environ.get("ISOCLONE_TEST_S3_ENDPOINT")
    try:
        with nullcontext(endpoint) if endpoint else _moto() as endpoint:
            os.environ |= {"AWS_ENDPOINT_URL": endpoint, "AWS_EC2_METADATA_DISABLED": "true"}
            scheme, _, host = endpoint.partition("://")
            system = FileSystem.from_uri(
                f"s3://{BUCKET}?allow_bucket_creation=true&scheme={scheme}&endpoint_override={host}"
            )[0]
            system.create_dir(BUCKET)
            yield f"s3://{BUCKET}/{uuid.uuid4().hex[:8]}"
    finally:
        os.environ.clear()
        os.environ.update(known)


@contextmanager
def _moto() -> Iterator[str]:
    """A simulated S3 on a free port of this machine; its endpoint."""
    pytest.importorskip("moto", reason="moto is not installed: pip install 'isoclone[dev]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "secret"}
    os.environ |= {"AWS_DEFAULT_REGION": "us-east-1"}
    quiet = subprocess.DEVNULL
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(words, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data too large for the repository."""
    if not SHARED.is_dir():
        pytest.skip(f"no shared data beside the checkout ({SHARED.name}/)")
    return SHARED
