"""What a game hands out is copied and checked where it comes in, whoever plays."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import pytest

from isoclone.base.errors import ExecutionError
from isoclone.demos.play import play
from isoclone.evaluation.rollout import random_returns
from isoclone.experts import CallableExpert, score_expert
from isoclone.games import FrameSpec, make_env, vector_env

MADE: list[object] = []
VECTOR = FrameSpec((3,), "float32", 1)
ENDS = {
    "text": str,
    "nothing": lambda over: over or None,
    "half": lambda over: 0.5,
    "two": lambda over: [over, over],
    "array": lambda over: np.array([over]),
    "integer": int,
}


class Env:
    """Writes every frame into the same array; `ill` says what goes wrong at the fifth step."""

    def __init__(self, ill: str):
        if ill == "exit made":
            sys.exit(0)
        if ill == "make":
            raise OSError("no such device")
        self.ill, self.frame, self.closed = ill, np.zeros(3, np.float32), False
        MADE.append(self)

    def reset(self, seed: int) -> np.ndarray:
        if self.ill == "exit reset":
            sys.exit()
        if self.ill == "reset":
            raise KeyError("seed")
        self.t = 0
        self.frame[:] = seed % 7
        return self.frame

    def step(self, action: int):
        self.t += 1
        self.frame[:] = self.t
        frame, reward = self.frame, 1.0
        if self.t == 5:
            if self.ill == "exit step":
                sys.exit("enough")
            if self.ill == "ctrl-c":
                raise KeyboardInterrupt
            if self.ill == "step":
                raise ZeroDivisionError("by zero")
            reward = {"reward": float("nan"), "endless": float("inf")}.get(self.ill, 1.0)
            frame = {
                "number": np.array([0, np.inf, 0], np.float32),
                "shape": np.zeros(4, np.float32),
                "dtype": np.zeros(3, np.float64),
            }.get(self.ill, frame)
        reward = 1e308 if self.ill == "huge" else reward
        return frame, reward, ENDS.get(self.ill, bool)(self.t == 9), False

    def close(self) -> None:
        self.closed = True
        if self.ill == "close":
            raise OSError("socket lost")


@dataclass(frozen=True)
class Ill:
    ill: str = ""
    name: str = "ill"
    n_actions: int = 2
    frame: FrameSpec = VECTOR
    max_steps: int = 20
    random_score: float | None = None
    expert_score: float | None = None

    def make_env(self) -> Env:
        return Env(self.ill)

    def options(self) -> dict[str, object]:
        return {"ill": self.ill}


SAID = {
    "make": r"game 'ill' cannot be made: OSError: no such device",
    "reset": r"game 'ill' failed at reset \(seed \d+\): KeyError: 'seed'",
    "step": r"game 'ill' failed at step 5: ZeroDivisionError: by zero",
    "exit made": r"game 'ill' cannot be made: .*test_checked.py, line \d+, called sys.exit\(0\)",
    "exit reset": r"failed at reset \(seed \d+\): .*test_checked.py, line \d+, called sys.exit\(\)",
    "exit step": r"failed at step 5: .*test_checked.py, line \d+, called sys.exit\('enough'\)",
    "reward": r"game 'ill', step 5: reward is nan, not a finite number",
    "endless": r"game 'ill', step 5: reward is inf, not a finite number",
    "number": r"game 'ill', step 5: 1 of 3 numbers of the frame are not finite",
    "shape": r"game 'ill', step 5: a frame has shape \(4,\), not \(3,\)",
    "huge": r"game 'ill', step 2: the rewards so far are too large to be summed",
    "text": r"game 'ill', step 1: terminated is 'False', not True or False",
    "nothing": r"game 'ill', step 1: terminated is None, not True or False",
    "half": r"game 'ill', step 1: terminated is 0.5, not True or False",
    "two": r"game 'ill', step 1: terminated is \[False, False\], not True or False",
    "dtype": r"game 'ill', step 5: a frame is float64, not float32",
}
EXPERT = CallableExpert(lambda observation: 0)
PLAYERS = {
    "record": lambda game: list(play(game, EXPERT, 0, (0,))),
    "rollout": lambda game: random_returns(game, 2, slots=2),
    "score": lambda game: score_expert(EXPERT, game, 2),
}


@pytest.mark.parametrize("ill", SAID)
@pytest.mark.parametrize("player", PLAYERS)
def test_what_is_wrong_is_refused_with_the_step_and_the_reason(player, ill):
    MADE.clear()
    with pytest.raises(ExecutionError, match=SAID[ill]):
        PLAYERS[player](Ill(ill))
    assert all(env.closed for env in MADE)


@pytest.mark.parametrize("player", PLAYERS)
def test_ctrl_c_in_a_game_is_ctrl_c(player):
    with pytest.raises(KeyboardInterrupt):
        PLAYERS[player](Ill("ctrl-c"))


@pytest.mark.parametrize("player", PLAYERS)
def test_every_environment_is_closed(player):
    MADE.clear()
    PLAYERS[player](Ill())
    assert MADE
    assert all(env.closed for env in MADE)


@pytest.mark.filterwarnings("ignore:close")
@pytest.mark.parametrize("player", PLAYERS)
def test_a_close_that_raises_loses_nothing(player):
    with pytest.warns(UserWarning, match="socket lost"):
        PLAYERS[player](Ill("close"))


@pytest.mark.parametrize("ill", ["array", "integer"])
def test_ends_that_are_arrays_or_numbers_are_taken(ill):
    ((_, _, episode, _),) = play(Ill(ill), EXPERT, 0, (0,))
    assert len(episode.frames) == 9


def test_frames_of_a_reused_array_are_recorded_one_by_one():
    ((_, _, episode, _),) = play(Ill(), EXPERT, 0, (0,))
    assert len(episode.frames) == 9
    assert episode.frames[1:, 0].tolist() == list(range(1, 9))


def test_a_vector_of_them_keeps_its_frames():
    env = vector_env(Ill(), 2, 0)
    first = env.reset(np.arange(2))
    before = first.copy()
    env.step(np.zeros(2, np.int64))
    assert (first == before).all()


def test_what_else_an_environment_has_is_there():
    env = make_env(Ill("later"))
    assert env.ill == "later"
    with pytest.raises(AttributeError, match="nonsense"):
        _ = env.nonsense
