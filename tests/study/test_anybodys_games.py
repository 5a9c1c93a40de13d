"""Games of others, from plan to report: each is planned, recorded, trained, played and reported."""

from __future__ import annotations

import html
import importlib.util
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete

from isoclone.base.registry import import_modules
from isoclone.policies import suited_policy
from isoclone.study import estimate, pipeline, references
from isoclone.study.spec import StudySpec
from isoclone.study.study import Study
from isoclone.training.recipes import recipe


class Rooms(gymnasium.Env):
    """Go to where the picture is lit: a Dict of a small picture, a vector and a choice."""

    observation_space = Dict(
        view=Box(0, 255, (6, 6, 1), np.uint8), speed=Box(-1, 1, (2,)), door=Discrete(3, start=1)
    )
    action_space = Discrete(4)

    def _seen(self):
        view = np.zeros((6, 6, 1), np.uint8)
        view[self._at] = 200
        speed = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return {"view": view, "speed": speed, "door": int(self.np_random.integers(1, 4))}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._left, self._at = 12, tuple(self.np_random.integers(0, 6, 2))
        return self._seen(), {}

    def step(self, action):
        self._left -= 1
        reward = float(action == self._at[0] % 4) / 10
        self._at = tuple(self.np_random.integers(0, 6, 2))
        return self._seen(), reward, self._left == 0, False, {}


gymnasium.register("Rooms-v0", Rooms)

FAST = {"duration": 8, "vehicles_count": 4, "simulation_frequency": 5}
# name, its package, how its spaces are read, options beside max_steps
GAMES = [
    ("FrozenLake-v1", "", "one of 16 (one-hot)", {}),
    ("Taxi-v3", "", "one of 500 (one-hot)", {}),
    ("CliffWalking-v1", "", "one of 48 (one-hot)", {}),
    ("Blackjack-v1", "", "flattened into a vector of 45", {}),
    ("Pendulum-v1", "", "cut into 256 bins", {}),
    ("Rooms-v0", "", "'speed', 'door' as 5 more channels", {}),
    ("LunarLander-v3", "Box2D", "8 numbers", {}),
    ("LunarLanderContinuous-v3", "Box2D", "cut into 16 bins each", {"bins": 16}),
    ("MiniGrid-Empty-5x5-v0", "minigrid", "7x7 with 3", {"entries": ["image", "direction"]}),
    ("MinAtar/Breakout-v1", "minatar", "10x10 with 4 channels, as it is", {}),
    ("highway-fast-v0", "highway_env", "25 numbers (5x5)", {"make": {"config": FAST}}),
]
PICTURES = ("Rooms-v0", "MiniGrid-Empty-5x5-v0", "MinAtar/Breakout-v1")


@pytest.mark.parametrize(("name", "package", "read", "options"), GAMES, ids=lambda x: str(x)[:20])
def test_from_plan_to_report(tmp_path: Path, monkeypatch, name, package, read, options):
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f"the package {package} is not installed")
    if package == "minigrid":
        import_modules([package])
    monkeypatch.setattr(estimate, "MEASURE_SECONDS", 0.02)
    monkeypatch.setattr(references, "REFERENCE_EPISODES", 4)
    game_options = {"max_steps": 20, **options}
    spec = StudySpec(
        name="own",
        game=f"gym/{name}",
        game_options=game_options,
        expert="random",
        policy="cnn" if name in PICTURES else "mlp",
        samples=120,
        widths=(2, 3, 4),
        budgets_flops=(1e9,),
        recipe=recipe("lean", batch_size=16).to_json(),
        episodes=1,
        forecast_episodes=2,
        dev_samples=40,
        extend=0,
        adaptive=False,
    )
    batch = spec.batch_flops(4)
    spec = spec.replace(budgets_flops=(4 * batch, 12 * batch))
    played = spec.make_game()
    assert spec.policy == suited_policy(played.frame)
    planned = estimate.plan(spec, None, ())
    assert any(read in note for note in planned.notes), planned.notes
    study = Study.create(tmp_path / "study", spec)
    pipeline.run(study)
    demos = study.demos()
    assert demos.frame == played.frame
    assert demos.unrepeatable is None
    points = study.points(None)
    assert len(points) == 7
    assert all(p.status == "ok" and p.return_mean is not None for p in points)
    uniform = sum(np.log(n) for n in demos.action_sizes or (demos.n_actions,))
    assert all(0 < p.dev_loss < 3 * uniform for p in points)
    assert read in html.unescape(study.folder.report.read_text())
