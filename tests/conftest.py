"""What several tests share: a finished tiny study, a few real Breakout episodes, shared data."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from storage import object_store

from isoclone.builtins import builtin
from isoclone.demos import Demonstrations, RecordRequest, record
from isoclone.demos.nld import NldDemonstrations, import_nld
from isoclone.games import close, game
from isoclone.recipes import recipe
from isoclone.spec import StudySpec
from isoclone.study import Study

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


def tiny_nethack_spec(**changes: object) -> StudySpec:
    """The study of NetHack, cut down to seconds."""
    fields: dict[str, object] = {
        "name": "tiny",
        "widths": (2, 4, 8),
        "budgets_flops": (2e7, 4e7),
        "forecast_flops": 6e7,
        "recipe": recipe("nethack", batch_size=48, precision="float32").to_json(),
        "policy_options": {"unroll": 12},
        "game_options": {"character": "mon-hum-neu-mal", "max_steps": 25},
        "samples": 60,
        "dev_samples": 200,
        "episodes": 2,
        "forecast_episodes": 2,
    }
    return builtin("nethack").replace(**{**fields, **changes})


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


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data too large for the repository."""
    if not SHARED.is_dir():
        pytest.skip(f"no shared data beside the checkout ({SHARED.name}/)")
    return SHARED
