"""What users add is checked as it arrives, and the message names the culprit."""

from __future__ import annotations

import dataclasses
import importlib
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import isoclone as ic
from isoclone import laws
from isoclone.base.errors import SpecError, UnknownNameError
from isoclone.base.records import Forecast, Interval
from isoclone.base.registry import MODULES_VARIABLE
from isoclone.demos import FrameDemonstrations
from isoclone.experts import CallableExpert
from isoclone.games import GAMES, FrameSpec, game
from isoclone.policies.cores import make_core
from isoclone.testing import (
    check_demonstrations,
    check_expert,
    check_game,
    check_law,
    check_policy,
)


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


class Infinite(Env):
    def step(self, action):
        frame, *rest = super().step(action)
        return frame * np.float32(np.inf), *rest


class Unseeded(Env):
    """Its first frame is by chance; like many games, it hands out one array for ever."""

    row = None

    def reset(self, seed):
        super().reset(seed)
        self.row = np.zeros(3, np.float32) if self.row is None else self.row
        self.row[:] = np.random.default_rng().normal(size=3)
        return self.row


class SharedArray(Env):
    row = np.zeros(3, np.float32)

    def reset(self, seed):
        super().reset(seed)
        self.row[:] = seed
        return self.row


class SharedState(Env):
    at = 0

    def reset(self, seed):
        type(self).at = 0
        return np.zeros(3, np.float32)

    def step(self, action):
        type(self).at += 1
        return np.full(3, self.at, np.float32), 1.0, self.at >= 10, False


class Endless(Env):
    def step(self, action):
        frame, reward, _, truncated = super().step(action)
        return frame, reward, False, truncated


class ReusesItsOwnArray(Env):
    """Sound: whoever takes a frame copies it."""

    def reset(self, seed):
        self.row = super().reset(seed)
        return self.row

    def step(self, action):
        frame, *rest = super().step(action)
        self.row[:] = frame
        return self.row, *rest


class Itself(Count):
    """The game as its own environment: two slots would be one."""

    def make_env(self):
        return self

    reset, step = Env.reset, Env.step


class OneForAll(Count):
    env_made = Env()

    def make_env(self):
        return self.env_made


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
        (Count(frame=FrameSpec((3,), "int64", 1)), "uint8, float32 or float64"),
        (Count(env=WrongShape), r"reset\(\): gave a frame of shape \(2,\)"),
        (Count(env=WrongType), r"step\(\): gave dtype float64"),
        (Count(env=GymStyle), r"must return \(frame, reward, terminated, truncated\)"),
        (Count(env=Forgetful), "the same seed and actions gave different episodes"),
        (Count(env=NoReward), "reward nan"),
        (Count(env=Infinite), r"step\(\): gave a frame with a number that is not finite"),
        (Count(env=Unseeded), r"reset\(seed\) must give the same frame again"),
        (Count(env=SharedArray), "environments share memory"),
        (Count(env=SharedState), "environments share state"),
        (Count(env=Endless), "an episode must end after max_steps = 100"),
        (Itself(), "make_env.. returned the game itself"),
        (OneForAll(), "make_env.. must make a new environment at each call"),
        (Count(env=Crashes), r"step\(\) raised ValueError: boom"),
    ],
)
def test_a_broken_game_is_named(broken, said):
    who = getattr(broken, "name", "Nameless")
    with pytest.raises(SpecError, match=f"game '{who}'.*{said}"):
        check_game(broken)


def test_a_game_may_reuse_its_array():
    check_game(Count(env=ReusesItsOwnArray))


@pytest.mark.parametrize("env", [Env, Crashes, Forgetful])
def test_a_check_closes_every_environment(env):
    opened = []

    class Closing(env):
        def __init__(self):
            opened.append(self)

        def close(self):
            opened.remove(self)

    for check in (check_game, lambda game: check_expert(CallableExpert(lambda o: 0, "c"), game)):
        try:
            check(Count(env=Closing))
        except Exception:
            assert env is not Env
        assert not opened


def test_a_game_is_registered_under_its_name_and_made_again_from_its_options():
    with pytest.raises(SpecError, match="its `name` is 'count'; register it under that name"):
        ic.register_game("test-other", Count)
    broken = type("Broken", (Count,), {"options": lambda self: {"colour": 1}})
    with pytest.raises(SpecError, match=r"from its own options\(\) raised TypeError.*colour"):
        ic.register_game("count", broken)


@pytest.mark.parametrize("door", [d for d in ic.__all__ if d.startswith("register_")])
def test_a_door_takes_a_callable_or_a_name(door):
    if door not in ("register_verb", "register_study", "register_recipe"):
        with pytest.raises(SpecError, match=r'give a callable or "package.module:Name", not 7'):
            getattr(ic, door)("test-seven", 7)


def test_a_lazy_name_is_imported_and_checked_at_its_first_use(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    ic.register_game("test-lazy", "lazy_game:Still")
    try:
        with pytest.raises(SpecError, match="module lazy_game cannot be imported"):
            ic.game("test-lazy")
        (tmp_path / "lazy_game.py").write_text(
            "from dataclasses import dataclass\n"
            "from isoclone.games.toy import Toy\n"
            "@dataclass(frozen=True)\n"
            "class Still(Toy):\n"
            '    name: str = "test-lazy"\n'
            "    def make_env(self): return self\n"
        )
        importlib.invalidate_caches()
        for _ in range(2):
            with pytest.raises(SpecError, match=r"game 'test-lazy': make_env\(\) returned the"):
                ic.game("test-lazy")
    finally:
        GAMES.remove("test-lazy")


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
        (CallableExpert(lambda o: 9, "wild"), r"chose action 9; toy has 0 to 2"),
        (CallableExpert(lambda o: 1 / 0, "lost"), r"act\(\) raised ZeroDivisionError"),
        (type("Mute", (), {"name": "mute", "lockstep": 1, "act": lambda s, v: []})(), "0 actions"),
        (type("Idle", (), {"name": "idle"})(), "has no `lockstep`"),
    ],
)
def test_a_broken_expert_is_named(broken, said):
    with pytest.raises(SpecError, match=f"expert '{broken.name}'.*{said}"):
        check_expert(broken, game("toy"))


class Remembers:
    """Keeps its memory on itself, not in the view: episodes get into each other."""

    name, lockstep, count = "remembers", 1, 0

    def act(self, views):
        self.count += 1
        return [self.count % 3 for _ in views]


class LooksAside:
    name, lockstep = "aside", 2

    def act(self, views):
        return [len(views)] * len(views)


@pytest.mark.parametrize(
    ("expert", "said"),
    [(Remembers(), "after another one; keep what it"), (LooksAside(), "beside another one")],
)
def test_an_expert_whose_episodes_touch_each_other_is_found(expert, said):
    with pytest.raises(SpecError, match=f"acted differently in the same episode {said}"):
        check_expert(expert, game("toy"))


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
    forward, first = 2 * (288 * 4 + 4 * 3), 2 * 288 * 4
    assert ic.policy_flops("test-small", 4, "toy") == 3 * forward - first  # none for the input


def test_the_built_in_law_passes():
    check_law(lambda table: laws.fit(table))


def test_a_law_may_read_any_column_of_a_point():
    from isoclone import laws
    from isoclone.base.records import Point
    from isoclone.base.schema import kinds

    def fit(table):
        assert set(kinds(Point)) <= set(table)
        assert np.isfinite(table["dev_accuracy"].astype(float)).all()
        return laws.fit(table)

    check_law(fit)


def test_a_law_that_raises_is_named():
    with pytest.raises(
        SpecError,
        match=r"law: its fit, or forecast.1e15., on the check.s own table raised KeyError",
    ):
        check_law(lambda table: table["nonsense"])


def test_a_policy_that_cannot_be_made_is_named():
    with pytest.raises(
        SpecError, match=r"policy 'test-raises'.*width 4 for frames .* raised OSError: no file"
    ):
        ic.register_policy("test-raises", raising)


def raising(*args):
    raise OSError("no file")


def test_a_broken_law_is_found():
    def law(loss, params=1.0, **more):
        size, samples = Interval(params, 2.0, 3.0), Interval(1.0, None, None)
        said = Forecast(1e15, size, samples, Interval(loss, None, None), None, 0.0, **more)
        return lambda table: SimpleNamespace(forecast=lambda flops: said)

    with pytest.raises(SpecError, match=r"law: its params is 1\.0, outside its own interval"):
        check_law(law(0.1))
    with pytest.raises(
        SpecError, match=r"law: on the check.s own table, .* it says dev loss 9\.0000"
    ):
        check_law(law(9.0, params=2.5))
    with pytest.raises(SpecError, match="law: its episodes is -4, not at least 1"):
        check_law(law(0.1, params=2.5, episodes=-4))
    with pytest.raises(SpecError, match=r"law: its forecast is a object, not an ic\.Forecast"):
        check_law(lambda table: SimpleNamespace(forecast=lambda flops: object()))


class Lstm(torch.nn.Module):
    """A sound recurrent policy."""

    unroll = 4

    def __init__(self, width, frame, n_actions):
        super().__init__()
        self.features = torch.nn.Linear(frame.stack * frame.size, width)
        self.before = torch.nn.Embedding(n_actions + 1, width)
        self.core = make_core("lstm", width, 1, 1)
        self.head = torch.nn.Linear(width, n_actions)

    def initial_state(self, lanes):
        return self.core.initial_state(lanes)

    def forward(self, x, previous, starts, state):
        x = self.features(x.flatten(2)) + self.before(previous)
        x, state = self.core(x, starts, state)
        return self.head(x), state


class NeverForgets(Lstm):
    def forward(self, x, previous, starts, state):
        return super().forward(x, previous, torch.zeros_like(starts), state)


class LeaksLanes(Lstm):
    def forward(self, x, previous, starts, state):
        return super().forward(x + x.mean(1, keepdim=True), previous, starts, state)


class LooksAhead(Lstm):
    def forward(self, x, previous, starts, state):
        return super().forward(x + x.mean(0, keepdim=True), previous, starts, state)


class NoUnroll(Lstm):
    unroll = None


class OnlyLogits(Lstm):
    def forward(self, *inputs):
        return super().forward(*inputs)[0]


class LaneLast(Lstm):
    def initial_state(self, lanes):
        return {name: x.movedim(0, -1) for name, x in self.core.initial_state(lanes).items()}


def test_a_sound_recurrent_policy_passes():
    check_policy(Lstm)


@pytest.mark.parametrize(
    ("maker", "said"),
    [
        (NeverForgets, "`starts` does not make it forget its state"),
        (LeaksLanes, "a lane depends on what the others read"),
        (LooksAhead, "reading steps one by one differs from reading them at once"),
        (NoUnroll, "`unroll` must be a number of steps"),
        (OnlyLogits, r"forward must return \(logits, state\)"),
        (LaneLast, "the first dimension of its state must be the lane"),
    ],
)
def test_a_broken_recurrent_policy_is_named(maker, said):
    with pytest.raises(SpecError, match=f"policy '{maker.__name__}': {said}"):
        check_policy(maker)


def test_checking_a_policy_draws_no_chance_from_others():
    torch.manual_seed(1)
    wanted = torch.rand(1)
    torch.manual_seed(1)
    check_policy(Lstm)
    assert torch.rand(1) == wanted


@pytest.mark.parametrize("policy", ["mlp", "mlp-lstm"])
def test_recorded_demonstrations_pass(toy_demos, policy):
    check_demonstrations(toy_demos, policy)


def test_broken_demonstrations_are_named(toy_demos):
    class Miscounts(FrameDemonstrations):
        def samples_in(self, split):
            return 1

    with pytest.raises(SpecError, match="samples, 2 in the splits"):
        check_demonstrations(Miscounts(**vars(toy_demos)))
    with pytest.raises(SpecError, match="need episodes in both splits"):
        check_demonstrations(dataclasses.replace(toy_demos, dev_episodes=frozenset()))
    with pytest.raises(SpecError, match=r"have no `.*fingerprint"):
        check_demonstrations(object())


OWN = """
from dataclasses import dataclass
from isoclone.experts.base import RandomExpert
from isoclone.games.toy import Toy
from isoclone.policies.mlp import Mlp as Mlp
from isoclone.laws import fit as fit

@dataclass(frozen=True)
class Mine(Toy):
    name: str = "mine"

def idle(game):
    return RandomExpert(game.n_actions, "idle")
"""


def test_a_study_of_names_runs_in_workers_and_a_directory_alone_is_not_trusted(tmp_path):
    (tmp_path / "own_things.py").write_text(OWN)
    names = {"game": "Mine", "expert": "idle", "policy": "Mlp", "law": "fit"}
    fields = ", ".join(f'{field}="own_things:{name}"' for field, name in names.items())
    (tmp_path / "study.py").write_text(
        "import isoclone as ic\n"
        "small = dict(samples=500, widths=(2, 3, 4), budgets_flops=(3e6, 6e6), episodes=2,\n"
        "             forecast_episodes=2, extend=0, adaptive=False)\n"
        f'study = ic.StudySpec(name="names", {fields}, **small)\n'
    )
    out = tmp_path / "out"
    done = isoclone(tmp_path, "run", "study.py", "--out", "out", "--workers", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert '"law": "own_things:fit"' in (out / "laws.json").read_text()
    assert '"game": "own_things:Mine"' in (out / "demos" / "demonstrations.json").read_text()
    refused = isoclone(tmp_path, "run", "out", "--executor", "serial")
    assert refused.returncode == 2
    assert "runs code of the module own_things; allow it by --import own_things" in refused.stderr
    trusting = isoclone(
        tmp_path, "run", "out", "--executor", "serial", ISOCLONE_IMPORT="own_things"
    )
    assert trusting.returncode == 0, trusting.stderr


def isoclone(folder, *words, **variables):
    there = {k: v for k, v in os.environ.items() if k != MODULES_VARIABLE}
    command = [sys.executable, "-m", "isoclone", *words]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**there, **variables}
    )


def test_a_typed_name_that_cannot_be_imported_is_said_and_not_remembered(monkeypatch):
    monkeypatch.delenv(MODULES_VARIABLE, raising=False)
    with pytest.raises(SpecError, match=r"module nowhere\.at_all cannot be imported: Module"):
        ic.game("nowhere.at_all:Game")
    assert MODULES_VARIABLE not in os.environ
    with pytest.raises(SpecError, match=r"isoclone\.games\.toy has no Boy"):
        ic.game("isoclone.games.toy:Boy")
