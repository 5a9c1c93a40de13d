"""Environments spread over processes, for games that are slow and do not vectorise themselves.

Each process steps a block of slots in turn. Frames, rewards and ends lie in shared memory; for a
step each process gets one byte and sends one short answer. If a process dies, its episodes end as
truncated, and it is replaced.
"""

from __future__ import annotations

import itertools
import multiprocessing
import signal
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from isoclone.base.errors import ExecutionError
from isoclone.games.base import Env, FrameSpec, SerialVector

TRIES = 3
DIED = "died"  # 'end' of an episode whose process died


@dataclass(frozen=True)
class _Shared:
    """Arrays that parent and workers both see."""

    frames: np.ndarray
    rewards: np.ndarray
    ends: np.ndarray  # (2, n): terminated, truncated
    actions: np.ndarray

    @classmethod
    def over(cls, buffers: tuple[Any, ...], n: int, frame: FrameSpec) -> _Shared:
        frames, rewards, ends, actions = buffers
        return cls(
            np.frombuffer(frames, frame.dtype).reshape(n, *frame.shape),
            np.frombuffer(rewards, np.float64),
            np.frombuffer(ends, np.bool_).reshape(2, n),
            np.frombuffer(actions, np.int64),
        )

    def block(self, slots: slice) -> _Shared:
        return _Shared(
            self.frames[slots], self.rewards[slots], self.ends[:, slots], self.actions[slots]
        )


def _serve(
    pipe: Connection,
    make_env: Callable[[], Env],
    seeds: np.ndarray,
    begun: np.ndarray,
    frame: FrameSpec,
    buffers: tuple[Any, ...],
    n: int,
    slots: slice,
) -> None:
    """Serve as a worker: step at None, reset the slots of another message; end with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    mine = _Shared.over(buffers, n, frame).block(slots)
    envs = SerialVector(make_env, seeds, frame, begun, mine.frames)
    while True:
        try:
            which = pipe.recv()
        except EOFError:
            return
        if which is not None:
            envs.reset(which)
            pipe.send({})
            continue
        _, mine.rewards[:], mine.ends[0], mine.ends[1] = envs.step(mine.actions)
        ended = np.flatnonzero(mine.ends.any(0))
        pipe.send({slot: envs.episode_facts(slot) for slot in ended.tolist()})


class ProcessVector:
    """One slot for each of `seeds`, spread evenly over `processes`.

    Plays exactly what `SerialVector` plays with the same seeds (tested). The environments must
    have `episode_facts`.
    """

    def __init__(
        self, make_env: Callable[[], Env], seeds: np.ndarray, frame: FrameSpec, processes: int
    ):
        self.n = len(seeds)
        self._context = multiprocessing.get_context("spawn")
        sizes = (self.n * frame.size * np.dtype(frame.dtype).itemsize, 8 * self.n, 2 * self.n)
        self._buffers = tuple(self._context.RawArray("b", size) for size in (*sizes, 8 * self.n))
        self._shared = _Shared.over(self._buffers, self.n, frame)
        self._make_env, self._seeds, self._frame = make_env, seeds, frame
        self._begun = np.zeros(self.n, np.int64)
        self._live, self._lost = np.zeros((2, self.n), bool)
        self._facts: list[dict[str, Any] | None] = [None] * self.n
        bounds = np.linspace(0, self.n, processes + 1).astype(int)
        self._blocks = [slice(int(a), int(b)) for a, b in itertools.pairwise(bounds)]
        self._workers: list[Any] = [self._start(block) for block in self._blocks]
        self._close = weakref.finalize(self, _end_all, self._workers)

    def _start(self, block: slice) -> tuple[Any, Connection]:
        ours, theirs = self._context.Pipe()
        seeds, begun = self._seeds[block], self._begun[block].copy()
        args = (theirs, self._make_env, seeds, begun, self._frame, self._buffers, self.n, block)
        process = self._context.Process(target=_serve, args=args, daemon=True)
        process.start()
        theirs.close()
        return process, ours

    def _ask(self, questions: dict[int, Any]) -> dict[int, dict[int, Any] | None]:
        """Send each worker its question and gather the answers; None from one that has died."""
        answers: dict[int, dict[int, Any] | None] = {}
        for worker, question in questions.items():
            try:
                self._workers[worker][1].send(question)
            except OSError:
                answers[worker] = None
        for worker in questions.keys() - answers.keys():
            try:
                answers[worker] = self._workers[worker][1].recv()
            except (EOFError, OSError):
                answers[worker] = None
        for worker in [worker for worker, answer in answers.items() if answer is None]:
            self._replace(worker)
        return answers

    def reset(self, slots: np.ndarray) -> np.ndarray:
        """Start the next episode in each of `slots`.

        Raises:
            ExecutionError: the processes kept dying.
        """
        left = np.asarray(slots)
        for _ in range(TRIES):
            self._live[left] = False
            self._begun[left] += 1
            questions = {}
            for worker, block in enumerate(self._blocks):
                inside = left[(left >= block.start) & (left < block.stop)]
                if len(inside):
                    questions[worker] = inside - block.start
            dead = [worker for worker, answer in self._ask(questions).items() if answer is None]
            if not dead:
                self._live[slots] = True
                return self._shared.frames[slots].copy()
            left = np.concatenate([questions[w] + self._blocks[w].start for w in dead])
        raise ExecutionError(f"the games' processes died {TRIES} times as games were started")

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        shared = self._shared
        shared.actions[:] = actions
        working = [w for w, block in enumerate(self._blocks) if self._live[block].any()]
        shared.rewards[:], shared.ends[:] = 0, False
        for worker, facts in self._ask(dict.fromkeys(working)).items():
            for slot, told in (facts or {}).items():
                self._facts[self._blocks[worker].start + slot] = told
        shared.rewards[self._lost], shared.ends[:, self._lost] = 0, [[False], [True]]
        self._lost[:] = False
        rewards, ends = shared.rewards.copy(), shared.ends.copy()
        self._live &= ~ends.any(0)
        return shared.frames.copy(), rewards, ends[0], ends[1]

    def _replace(self, worker: int) -> None:
        """Replace a worker that died; its live episodes end with this step, as truncated."""
        block = self._blocks[worker]
        for slot in range(block.start, block.stop):
            if self._live[slot]:
                self._lost[slot], self._facts[slot] = True, {"end": DIED}
        _end_all([self._workers[worker]])
        self._workers[worker] = self._start(block)

    def episode_facts(self, slot: int) -> dict[str, Any]:
        """Return the game's facts about the slot's last episode; only 'end' if its process died."""
        facts = self._facts[slot]
        assert facts is not None, "no episode of this slot has ended"
        return facts

    def close(self) -> None:
        """End the processes."""
        self._close()


def _end_all(workers: list[Any]) -> None:
    for process, pipe in workers:
        pipe.close()
        process.terminate()
        process.join(timeout=5)
