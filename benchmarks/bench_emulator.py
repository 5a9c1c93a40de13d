"""Recording and rollouts against the emulator by itself, in agent steps per CPU second."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from common import alternating, rate, show

import isoclone as ic
from isoclone.builtins import BREAKOUT
from isoclone.checkpoint import Trained
from isoclone.demos import RecordRequest, record
from isoclone.estimate import _made_up_cache
from isoclone.evaluate import rollout
from isoclone.executors import executor
from isoclone.games import vector_env
from isoclone.policies import make_policy

SLOTS = 8


def raw_emulator() -> object:
    """Four emulator frames a step, nothing looked at."""
    env = ic.game("atari/Breakout").make_env()
    env.reset(0)
    ale, rng = env.ale, np.random.default_rng(0)

    def steps() -> int:
        for _ in range(200):
            move = env.actions[rng.integers(4)]
            for _ in range(4):
                ale.act(move)
            if ale.game_over():
                ale.reset_game()
        return 200

    return steps


def raw_vector() -> object:
    """ale-py's vector environment, random actions."""
    env, rng = vector_env(ic.game("atari/Breakout"), SLOTS, 0), np.random.default_rng(0)
    env.reset(np.arange(SLOTS))

    def steps() -> int:
        for _ in range(25):
            ended = np.logical_or(*env.step(rng.integers(4, size=SLOTS))[2:])
            if ended.any():
                env.reset(np.flatnonzero(ended))
        return 25 * SLOTS

    return steps


def recording(samples: int = 40_000) -> tuple[float, float]:
    """(steps per wall second on two processes, raw rate of one core just before and after)."""
    raw = raw_emulator()
    folder = Path(tempfile.mkdtemp())
    with executor("processes", 2) as pool:
        warm = RecordRequest("atari/Breakout", "scripted", 2_000)
        record(warm, folder / "warm", pool)  # starts the workers
        before = rate(raw)  # type: ignore[arg-type]
        request = RecordRequest("atari/Breakout", "scripted", samples, seed=1)
        begun = time.perf_counter()
        demos = record(request, folder / "demos", pool)
        wall = time.perf_counter() - begun
    after = rate(raw)  # type: ignore[arg-type]
    shutil.rmtree(folder)
    return demos.samples / wall, (before + after) / 2


def main() -> None:
    torch.set_num_threads(1)
    speed, raw = recording()
    wanted = ">= .70"
    show("recording, 2 processes, wall seconds", [("scripted Breakout", 2 * raw, speed, wanted)])
    rows = []
    game = ic.game("atari/Breakout", max_steps=400)
    for width in (2, 8, 23):
        cache = _made_up_cache(BREAKOUT)
        run = BREAKOUT.run_for(width, 0, "benchmark", 1e12)
        module = make_policy("cnn", width, game.frame, 4)
        policy = Trained(
            module.eval(), cache.encoder, run, 4, 0, torch.bfloat16, torch.device("cpu")
        )

        def ours(policy: Trained = policy) -> int:
            return int(rollout(policy, game, 16, slots=SLOTS).lengths.sum())

        theirs, mine = alternating(raw_vector(), ours, rounds=3)  # type: ignore[arg-type]
        rows.append((f"rollouts, width {width}", theirs, mine, wanted))
    show("rollouts, 1 process", rows)


if __name__ == "__main__":
    main()
