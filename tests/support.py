"""What tests in several rooms import: tiny studies, and where shared data is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

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
