"""What users add is checked as it arrives, and the message names the culprit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import isoclone as ic
from isoclone import laws
from isoclone.base.errors import SpecError, UnknownNameError
from isoclone.base.records import Interval
from isoclone.experts import CallableExpert
from isoclone.games import FrameSpec, game
from isoclone.testing import check_expert, check_game, check_law, check_policy


class Env:
    """Counts to ten; the frame is the count."""

    def reset(self, seed):
        self._at = 0
        return np.zeros(3, np.float32)

    def step(self, action):
        self._at += 1
        return np.full(3, self._at, np.float32), 1.0, self._at == 10, False


@dataclasses.dataclass
class Count:
    name: str = "count"
    n_actions: int = 2
    frame: FrameSpec = dataclasses.field(default_factory=lambda: FrameSpec((3,), "float32", 1))
    max_steps: int = 100
    random_score: float | None = None
    expert_score: float | None = None
    env: type = Env

    def make_env(self):
        return self.env()

    def options(self):
        return {}


class WrongShape(Env):
    def reset(self, seed):
        return super().reset(seed)[:2]


class WrongType(Env):
    def step(self, action):
        frame, *rest = super().step(action)
        return frame.astype(np.float64), *rest


class GymStyle(Env):
    def step(self, action):
        return (*super().step(action), {})


class Forgetful(Env):
    def step(self, action):
        frame, _, *ends = super().step(action)
        return frame, float(np.random.default_rng().random()), *ends


class NoReward(Env):
    def step(self, action):
        frame, _, *ends = super().step(action)
        return frame, float("nan"), *ends


class Crashes(Env):
    def step(self, action):
        raise ValueError("boom")


class Nameless:
    n_actions = 2


@pytest.mark.parametrize("name", ["toy", "gym/CartPole-v1"])
def test_built_in_games_pass(name):
    check_game(game(name))


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (Nameless(), "has no `name`"),
        (Count(n_actions=1), "n_actions"),
        (Count(frame=(3,)), "must be a FrameSpec"),
        (Count(frame=FrameSpec((3,), "int64", 1)), "uint8 or float32"),
        (Count(env=WrongShape), r"reset\(\): gave a frame of shape \(2,\)"),
        (Count(env=WrongType), r"step\(\): gave dtype float64"),
        (Count(env=GymStyle), r"must return \(frame, reward, terminated, truncated\)"),
        (Count(env=Forgetful), "the same seed and actions gave different episodes"),
        (Count(env=NoReward), "reward nan"),
        (Count(env=Crashes), r"step\(\) raised ValueError: boom"),
    ],
)
def test_a_broken_game_is_named(broken, said):
    who = getattr(broken, "name", "Nameless")
    with pytest.raises(SpecError, match=f"game '{who}'.*{said}"):
        check_game(broken)


def test_a_broken_game_is_not_registered():
    with pytest.raises(SpecError, match="count"):
        ic.register_game("test-count", lambda **options: Count(env=WrongShape))
    with pytest.raises(UnknownNameError):
        ic.game("test-count")


def test_a_sound_game_is_registered_and_studied():
    ic.register_game("test-counting", lambda **options: Count(name="test-counting", **options))
    assert ic.policy_params("mlp", 2, "test-counting") == (3 * 2 + 2) + (2 * 2 + 2) + (2 * 2 + 2)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (CallableExpert(lambda o: 9, "wild"), r"chose action 9; toy has 0\.\.2"),
        (CallableExpert(lambda o: 1 / 0, "lost"), r"act\(\) raised ZeroDivisionError"),
        (type("Mute", (), {"name": "mute", "lockstep": 1, "act": lambda s, v: []})(), "0 actions"),
        (type("Idle", (), {"name": "idle"})(), "has no `lockstep`"),
    ],
)
def test_a_broken_expert_is_named(broken, said):
    with pytest.raises(SpecError, match=f"expert '{broken.name}'.*{said}"):
        check_expert(broken, game("toy"))


def test_a_broken_expert_is_not_registered():
    with pytest.raises(SpecError, match="wild"):
        ic.register_expert("test-wild", lambda game: CallableExpert(lambda o: 9, "wild"), "toy")
    with pytest.raises(UnknownNameError):
        ic.expert("test-wild", game("toy"))


class Small(torch.nn.Module):
    """One hidden layer of `width`."""

    def __init__(self, width, frame, n_actions):
        super().__init__()
        size = frame.stack * frame.size
        self.first, self.last = torch.nn.Linear(size, width), torch.nn.Linear(width, n_actions)

    def forward(self, x):
        return self.last(torch.relu(self.first(x.flatten(1))))


class WrongLogits(Small):
    def forward(self, x):
        return super().forward(x)[:, :2]


class IdlePart(Small):
    def __init__(self, *args):
        super().__init__(*args)
        self.spare = torch.nn.Linear(3, args[0])


class OneSize(Small):
    def __init__(self, width, frame, n_actions):
        super().__init__(5, frame, n_actions)


class BadForward(Small):
    def forward(self, x):
        return self.last(x)


@pytest.mark.parametrize(
    ("maker", "said"),
    [
        (WrongLogits, r"gave \(3, 2\), not \(3, 3\)"),
        (IdlePart, "without a gradient: spare"),
        (OneSize, "width 8 is no larger than width 4"),
        (BadForward, "forward of shape"),
        (lambda *args: "a network", "must return a torch module"),
    ],
)
def test_a_broken_policy_is_named_and_not_registered(maker, said):
    with pytest.raises(SpecError, match=f"policy 'test-broken'.*{said}"):
        ic.register_policy("test-broken", maker)
    with pytest.raises(UnknownNameError):
        ic.policy_params("test-broken", 4, "toy")


def test_a_sound_policy_is_registered_and_counted():
    ic.register_policy("test-small", Small)
    check_policy("test-small")
    assert ic.policy_params("test-small", 4, "toy") == 288 * 4 + 4 + 4 * 3 + 3
    assert ic.policy_flops("test-small", 4, "toy") == 3 * 2 * (288 * 4 + 4 * 3)


def test_the_built_in_law_passes():
    check_law(lambda table: laws.fit(table))


def test_a_law_that_raises_is_named():
    with pytest.raises(SpecError, match="law: its fit or forecast raised KeyError"):
        check_law(lambda table: table["nonsense"])


def test_a_policy_that_cannot_be_made_is_named():
    with pytest.raises(SpecError, match=r"policy 'test-raises'.*width 4 raised OSError: no file"):
        ic.register_policy("test-raises", raising)


def raising(*args):
    raise OSError("no file")


def test_a_broken_law_is_found():
    class Law:
        def __init__(self, loss, params=1.0):
            self.dev_loss = Interval(loss, None, None)
            self.params, self.samples = Interval(params, 2.0, 3.0), Interval(1.0, None, None)

        def forecast(self, flops):
            return self

    with pytest.raises(SpecError, match=r"law: `params`: value 1\.0 lies outside"):
        check_law(lambda table: Law(0.1))
    with pytest.raises(SpecError, match=r"law: dev loss 9\.0000 at 1e15, truth"):
        check_law(lambda table: Law(9.0, params=2.5))
    with pytest.raises(SpecError, match="law: its forecast has no `params`"):
        check_law(lambda table: type("Bare", (), {"forecast": lambda s, f: object()})())
