"""Measure what a run costs beside FLOPs: memory in training, time of its policy's steps in play."""

from __future__ import annotations

import ctypes
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import torch

from isoclone.agents.checkpoint import TrainedPolicy
from isoclone.agents.runners import runner_for
from isoclone.base.records import Run
from isoclone.base.store import read_json
from isoclone.games import Game, action_sizes, close, is_playable, vector_env
from isoclone.games.actions import action_shape
from isoclone.study.folder import StudyFolder
from isoclone.study.lessons import lesson_of
from isoclone.study.spec import read_spec

BATCHES = 3  # trained on, of whose memory the peak is taken
SLOTS, SECONDS = 16, 1.0  # of play: games side by side, and how long they are played


def measure_costs(study: Path, run_id: str, device: str) -> dict[str, float | None]:
    """Train a run for a few batches from its beginning, and play with it; nothing of it is kept.

    Returns:
        `memory_bytes`, the most memory that training held at once beside what was there before
        (None where it cannot be told); `step_us`, the processor time of one step of one of `SLOTS`
        games side by side, that of the game itself left out (None where nothing is played).
    """
    torch.set_num_threads(1)
    spec = read_spec(study)
    run = Run.from_json(read_json(StudyFolder(study).run(run_id).file))
    lesson = lesson_of(study, spec, run)

    def train() -> None:
        with closing(lesson.learner(Path(folder), device)) as learner:
            learner.train_until(BATCHES * spec.batch_flops(run.width))
            made.append(learner.trained())

    made = list[TrainedPolicy]()
    with tempfile.TemporaryDirectory() as folder:
        train()  # what a process loads when it first trains is not the run's
        peak = peak_bytes(train)
    policy, game = made.pop(), spec.make_game()
    step = step_seconds(policy, game) * 1e6 if is_playable(game) else None
    return {"memory_bytes": peak if device == "cpu" else None, "step_us": step}


def peak_bytes(work: Callable[[], None]) -> int | None:
    """Do some work; return the most memory it held at once, None where the kernel does not tell."""
    if sys.platform != "linux":
        work()
        return None
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # what was freed before, and kept, counts for the work
        trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget earlier peaks
    except OSError:
        work()
        return None
    before = _kilobytes("VmRSS")
    work()
    return (_kilobytes("VmHWM") - before) << 10


def _kilobytes(name: str) -> int:
    """Return a figure of this process's memory, as the kernel names it."""
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def step_seconds(policy: TrainedPolicy, game: Game) -> float:
    """Return the processor time of a policy's step in one of `SLOTS` games side by side."""
    every, env = np.arange(SLOTS), vector_env(game, SLOTS, 0)
    try:
        frames = env.reset(every)
    finally:
        close(env)
    shape = action_shape(action_sizes(policy), SLOTS)
    runner, actions = runner_for(policy, SLOTS), np.zeros(shape, np.int64)
    runner.start(every, frames)
    runner.logits(every)  # the first call of a process takes longer
    steps, begun = 0, time.process_time()
    while time.process_time() - begun < SECONDS:
        runner.chose(every, actions)
        runner.push(every, frames)
        runner.logits(every)
        steps += SLOTS
    return (time.process_time() - begun) / steps
