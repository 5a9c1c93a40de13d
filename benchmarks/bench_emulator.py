"""Recording and rollouts against the emulator by itself, in agent steps per CPU second."""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch
from common import alternating, show

import isoclone as ic
from isoclone.agents.checkpoint import TrainedPolicy
from isoclone.demos import RecordRequest, record
from isoclone.evaluation.rollout import rollout
from isoclone.executors import executor
from isoclone.executors.setup import keep_freed_memory
from isoclone.policies import make_policy
from isoclone.policies.kernels import take_kernels
from isoclone.study.builtins import BREAKOUT
from isoclone.study.estimate import _made_up
from isoclone.training.device import precisions_on

SLOTS = 16


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


def raw_both(seconds: float = 4.0) -> float:
    """Steps per wall second of two processes that do nothing but `raw_emulator`."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        return sum(pool.map(raw_for, [seconds] * 2, chunksize=1))


def raw_for(seconds: float) -> float:
    """Steps per wall second of one process."""
    steps = raw_emulator()
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        count += steps()  # type: ignore[operator]
    return count / (time.perf_counter() - begun)


def raw_vector() -> object:
    """ale-py's own vector environment with the same preprocessing, random actions."""
    from ale_py.vector_env import AtariVectorEnv

    env = AtariVectorEnv("breakout", SLOTS, num_threads=1, stack_num=1, noop_max=0)
    env.reset(seed=0)
    rng = np.random.default_rng(0)

    def steps() -> int:
        for _ in range(25):
            env.step(rng.integers(4, size=SLOTS))
        return 25 * SLOTS

    return steps


def recording(samples: int = 60_000) -> tuple[float, float]:
    """(steps per wall second on two processes, raw rate of both just before and after)."""
    folder = Path(tempfile.mkdtemp())
    with executor("processes", 2) as pool:
        warm = RecordRequest("atari/Breakout", "scripted", 2_000)
        record(warm, folder / "warm", pool)  # starts the workers
        before = raw_both()
        request = RecordRequest("atari/Breakout", "scripted", samples, seed=1)
        begun = time.perf_counter()
        demos = record(request, folder / "demos", pool)
        wall = time.perf_counter() - begun
    after = raw_both()
    shutil.rmtree(folder)
    return demos.samples / wall, (before + after) / 2


def trained(width: int, dtype: torch.dtype) -> TrainedPolicy:
    """Return a policy of a width as training would leave it, its weights as they begin."""
    run = BREAKOUT.run_for(width, 0, "benchmark", 1e12)
    module = make_policy("cnn", width, ic.game("atari/Breakout").frame, 4).eval()
    encoder = _made_up(BREAKOUT).encoder
    return TrainedPolicy(module, encoder, run, 4, 0, dtype, torch.device("cpu"))


def main() -> None:
    torch.set_num_threads(1)
    speed, raw = recording()
    recorded, played = ">= .70", ">= .85"
    show("recording, 2 processes, wall seconds", [("scripted Breakout", raw, speed, recorded)])
    keep_freed_memory()  # as every worker does
    rows = []
    game = ic.game("atari/Breakout", max_steps=400)
    for precision, kernels in product(precisions_on("cpu"), (False, True)):
        way, dtype = precision + ", kernels" * kernels, getattr(torch, precision)
        for width in (2, 8, 23):
            policy = trained(width, dtype)
            if kernels:
                take_kernels(policy.module, dtype)

            def ours(policy: TrainedPolicy = policy) -> int:
                return int(rollout(policy, game, 2 * SLOTS, slots=SLOTS).lengths.sum())

            theirs, mine = alternating(raw_vector(), ours, rounds=3)  # type: ignore[arg-type]
            rows.append((f"rollouts, width {width}, {way}", theirs, mine, played))
    show("rollouts, 1 process", rows)


if __name__ == "__main__":
    main()
