"""What several tests share: a finished tiny study, a few real Breakout episodes, shared data."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from storage import object_store
from support import SHARED, random_games, tiny_spec

from isoclone.base.limits import VARIABLE as UNPACK_LIMIT_VARIABLE
from isoclone.base.registry import MODULES_VARIABLE
from isoclone.demos import FrameDemonstrations, RecordRequest, record
from isoclone.executors.setup import STUDY_FILE_VARIABLE
from isoclone.nethack.recordings import NldDemonstrations
from isoclone.study import pipeline
from isoclone.study.study import Study

# `make test` runs two files at a time (pytest-xdist), each in one process, so that its tests share
# their fixtures. These are cut into single tests, and begin first, so that no core waits for the
# other at the end.
SPREAD = ("test_docs_code.py",)
ON_RAY = ("test_ray.py", "test_plugin.py")  # one after the other: each starts a cluster of its own


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what takes long begin first."""
    items.sort(key=lambda item: item.path.name not in SPREAD + ON_RAY)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Group tests by file ourselves: marks of groups are ignored from pytest 9.2 on."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            name = file.rpartition("/")[2]
            return nodeid if name in SPREAD else "ray" if name in ON_RAY else file

    config.option.loadscopereorder = False  # in the order of the items
    return ByFile(config, log)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test hand the files and modules that it trusts on to the next one."""
    for name in (STUDY_FILE_VARIABLE, MODULES_VARIABLE, UNPACK_LIMIT_VARIABLE):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute with one thread, as a worker does: the order of sums is then fixed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole toy study from recording to report. Read it, do not change it."""
    path = tmp_path_factory.mktemp("finished") / "tiny"
    return pipeline.run(Study.create(path, tiny_spec())).path


@pytest.fixture
def study_copy(finished_study: Path, tmp_path: Path) -> Path:
    """A copy of the finished study that a test may spoil."""
    return Path(shutil.copytree(finished_study, tmp_path / "tiny"))


@pytest.fixture(scope="session")
def breakout_demos(tmp_path_factory: pytest.TempPathFactory) -> FrameDemonstrations:
    """Three short real Breakout episodes (sticky actions, as always)."""
    request = RecordRequest("atari/Breakout", "scripted", 300, game_options={"max_steps": 120})
    return record(request, tmp_path_factory.mktemp("breakout") / "demos")


@pytest.fixture(scope="session")
def toy_demos(tmp_path_factory: pytest.TempPathFactory) -> FrameDemonstrations:
    """A dozen toy episodes."""
    request = RecordRequest("toy", "scripted", 1_000)
    return record(request, tmp_path_factory.mktemp("toy") / "demos")


@pytest.fixture(scope="session")
def nethack_demos(tmp_path_factory: pytest.TempPathFactory) -> NldDemonstrations:
    """Five short real games of NetHack, random keys pressed, recorded by NLE and imported."""
    pytest.importorskip("nle", reason="the extra 'nethack' is not installed")
    return random_games(tmp_path_factory.mktemp("nethack"), range(5))


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """A place of its own in a bucket of an S3 server, spoken to over HTTP; its address."""
    with object_store() as address:
        yield address


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data too large for the repository."""
    if not SHARED.is_dir():
        pytest.skip(f"no shared data beside the checkout ({SHARED.name}/)")
    return SHARED
