"""What tests in several rooms import: tiny studies, and where shared data is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from isoclone.demos import open_demos
from isoclone.games import close, game
from isoclone.nethack.recordings import NldDemonstrations, import_nld
from isoclone.study.builtins import builtin
from isoclone.study.spec import StudySpec
from isoclone.training.recipes import recipe

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


def tiny_spec(**changes: object) -> StudySpec:
    """The toy study, cut down to a few seconds."""
    fields: dict[str, object] = {
        "name": "tiny",
        "samples": 4_000,
        "widths": (2, 4, 8),
        "budgets_flops": (3e6, 1e7, 3e7),
        "episodes": 4,
        "forecast_episodes": 4,
        "forecast_seeds": 1,
        "dev_samples": 300,
        "extend": 1,
        "recipe": recipe("lean", precision="float32").to_json(),
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
        "forecast_seeds": 1,
    }
    return builtin("nethack").replace(**{**fields, **changes})


def random_games(root: Path, seeds: Iterable[int]) -> NldDemonstrations:
    """Record real games of NetHack with NLE, random keys pressed, and import them."""
    env = game("nethack").make_env(savedir=root)  # type: ignore[call-arg]
    for seed in seeds:
        keys = np.random.default_rng(seed)
        env.reset(seed)
        for _ in range(160):
            if any(env.step(int(keys.integers(121)))[2:]):
                break
        else:
            env.quit("enough")  # type: ignore[attr-defined]
    close(env)
    return import_nld(root, root / "demos", dev_fraction=0.4)


def assert_holds(mixed: Any, parts: Sequence[tuple[Any, float]]) -> None:
    """Assert that a mixture has the episodes, split and score of its parts, by their weights."""
    wanted = [each.content_sha256 for part, _ in parts for each in part.episodes]
    assert [info.content_sha256 for info in mixed.episodes] == wanted
    for split in ("train", "dev"):
        assert mixed.samples_in(split) == sum(part.samples_in(split) for part, _ in parts)
    score = sum(weight * part.score()[0] for part, weight in parts)
    assert mixed.score()[0] == pytest.approx(score)
    assert open_demos(mixed.path).fingerprint == mixed.fingerprint


def assert_identical(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    """Demand that two states have the same tensors, to the last bit."""
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name
