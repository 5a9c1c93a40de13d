"""Environments are closed, and few are made: in recording, on errors, in a plan."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from isoclone.api import register_expert
from isoclone.base.errors import ExecutionError, IsocloneError
from isoclone.demos import RecordRequest, record
from isoclone.demos.live import Kept, LiveGame
from isoclone.evaluation.rollout import random_returns
from isoclone.executors import ProcessExecutor
from isoclone.experts import CallableExpert, expert, score_expert, train_expert
from isoclone.games import game
from isoclone.study import estimate
from isoclone.study.spec import StudySpec
from isoclone.testing import check_game
from isoclone.training.recipes import recipe

OPEN: list[int] = []  # those that are
MADE: list[int] = []


class Simulator(gymnasium.Env):
    """Stands for what holds something until it is closed."""

    observation_space = Box(-9, 9, (3,), np.float32)
    action_space = Discrete(2)

    def __init__(self, breaks_at=0, at_most=99):
        if len(OPEN) >= at_most:
            raise RuntimeError("no licence left")
        self.breaks_at, self._open = breaks_at, True
        OPEN.append(id(self))
        MADE.append(id(self))

    def close(self):
        assert self._open, "closed twice"
        self._open = False
        OPEN.remove(id(self))

    def draw(self):
        self.x = self.np_random.normal(size=3).astype(np.float32)
        return self.x

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.draw(), {}

    def step(self, action):
        self.t += 1
        if self.t == self.breaks_at:
            raise RuntimeError("connection lost")
        return self.draw(), float(action == (self.x[0] > 0)), self.t == 20, False, {}


gymnasium.register("Sim-v0", Simulator)


@pytest.fixture(autouse=True)
def _count():
    OPEN.clear()
    MADE.clear()


def test_a_recording_closes_what_it_made(tmp_path):
    record(RecordRequest("gym/Sim-v0", "random", 200), tmp_path / "demos")
    assert not OPEN
    assert len(MADE) <= 3


@pytest.mark.parametrize("make", [{"breaks_at": 7}, {"at_most": 0}])
def test_errors_leave_nothing_open(tmp_path, make):
    options = {"make": make}
    request = RecordRequest("gym/Sim-v0", "random", 200, game_options=options)
    with pytest.raises(IsocloneError, match=r"connection lost|no licence left"):
        record(request, tmp_path / "demos")
    assert not OPEN


def test_if_the_last_cannot_be_made_the_others_are_closed():
    sim = game("gym/Sim-v0", make={"at_most": 2})
    with pytest.raises(IsocloneError, match="no licence left"):
        LiveGame.made(sim, CallableExpert(lambda o: 0), 3)
    assert not OPEN


def test_one_game_at_a_time_is_kept():
    kept, sim = Kept(), game("gym/Sim-v0")

    def make():
        return LiveGame.made(sim, CallableExpert(lambda o: 0), 2)

    with kept.at_hand("a", make) as one:
        pass
    with kept.at_hand("a", make) as two:
        assert two is one
    with kept.at_hand("b", make):
        assert len(OPEN) == 2
    with pytest.raises(ZeroDivisionError), kept.at_hand("b", make):
        _ = 1 / 0
    assert not OPEN
    with kept.at_hand("b", make):
        pass
    kept.close()
    assert not OPEN


def test_scores_and_rollouts_close_theirs():
    sim = game("gym/Sim-v0")
    score_expert(expert(lambda o: 0, sim), sim, 3)
    random_returns(sim, 4)
    assert not OPEN


def test_training_an_expert_closes_its_games(tmp_path):
    pytest.importorskip("stable_baselines3")
    train_expert(game("gym/Sim-v0"), tmp_path / "x", "a2c", steps=100, episodes=1)
    assert not OPEN


@pytest.mark.parametrize(("workers", "player"), [(1, "random"), (2, "test-sign")])
def test_a_plan_makes_no_more_than_one_for_each_worker_and_one(monkeypatch, workers, player):
    register_expert("test-sign", lambda game: CallableExpert(lambda o: int(o[0, 0] > 0)))
    monkeypatch.setattr(estimate, "MEASURE_SECONDS", 0.01)
    spec = StudySpec(
        name="sim",
        game="gym/Sim-v0",
        game_options={"make": {"breaks_at": 1_000 + workers}},  # spaces are not known yet
        expert=player,  # one that was registered is checked in play before its first use
        samples=2_000,
        policy="mlp",
        widths=(1, 2, 4),
        budgets_flops=(3e5, 1e6),
        recipe=recipe("lean").to_json(),
    )
    spec.check()
    spec.check_expert()
    estimate.plan(spec, None, (), workers)
    assert len(MADE) <= workers + 1
    assert not OPEN


def test_workers_close_theirs_as_they_end(tmp_path, monkeypatch):
    """Each worker runs this file, so a file tells what happened there."""
    log = tmp_path / "log.txt"
    source = (
        "import gymnasium as gym, numpy as np\n"
        "class Sim(gym.Env):\n"
        "    observation_space = gym.spaces.Box(-9, 9, (3,), np.float32)\n"
        "    action_space = gym.spaces.Discrete(2)\n"
        f"    def __init__(self): open({str(log)!r}, 'a').write('+')\n"
        f"    def close(self): open({str(log)!r}, 'a').write('-')\n"
        "    def draw(self): return self.np_random.normal(size=3).astype(np.float32)\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        super().reset(seed=seed); self.t = 0; return self.draw(), {}\n"
        "    def step(self, a): self.t += 1; return self.draw(), 1.0, self.t == 20, False, {}\n"
        "if 'Logged-v0' not in gym.registry: gym.register('Logged-v0', Sim)\n"
    )
    (tmp_path / "logged.py").write_text(source)
    monkeypatch.setenv("ISOCLONE_STUDY_FILE", str(tmp_path / "logged.py"))
    exec(source, {"__name__": "logged"})
    with ProcessExecutor(2) as executor:
        record(RecordRequest("gym/Logged-v0", "random", 200), tmp_path / "demos", executor)
    for worker in executor_processes():
        worker.join(timeout=30)
    told = log.read_text()
    assert told.count("+") == told.count("-")
    assert told.count("+") <= 2 * 2 + 2


def executor_processes():
    import multiprocessing

    return multiprocessing.active_children()


def test_a_game_that_ignores_its_seed_is_said(tmp_path):
    class Unseeded(Simulator):
        def draw(self):
            self.x = np.random.default_rng().normal(size=3).astype(np.float32)
            return self.x

    class Later(Simulator):
        def draw(self):
            super().draw()
            if self.t == 4:
                self.x = np.random.default_rng().normal(size=3).astype(np.float32)
            return self.x

    gymnasium.register("Unseeded-v0", Unseeded)
    gymnasium.register("Later-v1", Later)
    for name, where in (("Unseeded-v0", "the first frame"), ("Later-v1", "step 4")):
        demos = record(RecordRequest(f"gym/{name}", "random", 60), tmp_path / name)
        assert demos.unrepeatable.endswith(f"two resets with one seed differ in {where}")
        assert any("cannot be made again" in line for line in demos.lines())
        assert demos.summary()["unrepeatable"] == demos.unrepeatable
    sound = record(RecordRequest("gym/Sim-v0", "random", 60), tmp_path / "sound")
    assert sound.unrepeatable is None


def test_what_is_wrong_with_a_game_is_refused_at_its_step(tmp_path):
    class Ill(Simulator):
        def step(self, action):
            seen, reward, *rest = super().step(action)
            return seen, float("nan") if self.t == 7 else reward, *rest

    gymnasium.register("Ill-v0", Ill)
    for _ in range(2):  # nothing half-written changes what is said
        with pytest.raises(ExecutionError, match=r"step 7: reward is nan"):
            record(RecordRequest("gym/Ill-v0", "random", 200), tmp_path / "demos")
    with pytest.raises(ExecutionError, match=r"step 7: reward is nan"):
        score_expert(expert("random", game("gym/Ill-v0")), game("gym/Ill-v0"), 2)


def test_an_expert_is_checked_in_a_game_that_names_its_step():
    class Late(Simulator):
        def step(self, action):
            seen, *rest = super().step(action)
            return (np.full(3, np.nan, np.float32) if self.t == 7 else seen), *rest

    gymnasium.register("Late-v0", Late)
    register_expert("test-late", lambda game: CallableExpert(lambda o: 0))
    late = game("gym/Late-v0")
    with pytest.raises(ExecutionError, match=r"gym/Late-v0', step 7: 3 of 3 numbers"):
        expert("test-late", late)
    with pytest.raises(IsocloneError, match=r"gym/Late-v0': step\(\): 3 of 3 numbers"):
        check_game(late)
