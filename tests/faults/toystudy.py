"""A study of seconds for the fault harness; its environments are processes that can be killed."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

import isoclone
from isoclone.experts import CallableExpert
from isoclone.games.toy import Toy, ToyEnv
from isoclone.policies import make_policy
from isoclone.study.builtins import builtin

FORK = multiprocessing.get_context("fork")


def serve(ours: Connection, theirs: Connection, max_steps: int) -> None:
    """Play for whoever holds the other end, until it is closed."""
    theirs.close()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    env = ToyEnv(max_steps)
    try:
        while True:
            name, argument = ours.recv()
            ours.send(getattr(env, name)(argument))
    except (EOFError, OSError):
        return


class EnvApart:
    """A toy game played in a process of its own."""

    def __init__(self, max_steps: int):
        self._pipe, far = FORK.Pipe()
        FORK.Process(target=serve, args=(far, self._pipe, max_steps), daemon=True).start()
        far.close()

    def reset(self, seed: int) -> np.ndarray:
        return self._ask("reset", seed)

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool]:
        return self._ask("step", action)

    def _ask(self, name: str, argument: int) -> Any:
        self._pipe.send((name, argument))
        return self._pipe.recv()


class ToyApart(Toy):
    def make_env(self) -> EnvApart:  # type: ignore[override]
        return EnvApart(self.max_steps)


def catcher(observation: np.ndarray) -> int:
    """Move towards the brightest column above the paddle's row."""
    above, paddle = observation[-1][:-1].sum(0), observation[-1][-1]
    return int(np.sign(int(above.argmax()) - int(paddle.argmax()) - 1)) + 1


def fragile(width: int, *args: Any, **options: Any) -> Any:
    """The MLP; at width 4 it does to whoever trains it what the environment variable says."""
    fault = os.environ.get("ISOCLONE_FAULT") if width == 4 else None
    if fault == "raise" and in_a_worker():
        raise MemoryError("no room for width 4")
    if fault == "die" and in_a_worker():
        os.kill(os.getpid(), signal.SIGKILL)
    return make_policy("mlp", width, *args, **options)


def in_a_worker() -> bool:
    """Others build policies too: the driver to count and to time them, whoever registers one."""
    return registered and multiprocessing.parent_process() is not None


registered = False
isoclone.register_policy("fragile", fragile)
registered = True
isoclone.register_game(
    "toy-apart", lambda **options: dataclasses.replace(ToyApart(**options), name="toy-apart")
)
isoclone.register_expert("catcher", lambda game: CallableExpert(catcher, "catcher"))

study = builtin("toy").replace(
    name="faults",
    game="toy-apart",
    expert="catcher",
    policy="fragile",
    recipe=isoclone.recipe("lean", precision="float32").to_json(),  # whoever is timed beside whom
    game_options={"max_steps": 30},
    samples=900,
    widths=(2, 4, 8),
    budgets_flops=(1e6, 3e6, 1e7),
    episodes=2,
    forecast_episodes=2,
    dev_samples=100,
    extend=0,
)
