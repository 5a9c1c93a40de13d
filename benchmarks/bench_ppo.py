"""PPO against stable-baselines3's, with equal settings: returns at equal steps, and steps a second.

    python benchmarks/bench_ppo.py returns [GAME STEPS]     # 5 seeds each; the mean, its SE, a z
    python benchmarks/bench_ppo.py speed                    # in turns, on one core
    python benchmarks/bench_ppo.py lag                      # play while learning; two quiet cores

Equal are: the network (policy and critic apart, two layers of 64, ReLU, orthogonal), Adam, slots,
rollout, minibatches, passes, every coefficient; rewards as they are. Policies are judged by 50
whole episodes with drawn actions. For the speed on Breakout both have the paper's network at width
8, its critic on the policy's features.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import alternating, show

import isoclone as ic
from isoclone.base.records import Run
from isoclone.evaluation.rollout import rollout
from isoclone.training.reinforcement.loop import PpoTrainer
from isoclone.training.reinforcement.recipe import PpoRecipe

GAMES = {"CartPole-v1": 20_480, "LunarLander-v3": 102_400}  # name -> steps, before it is solved
SEEDS, EPISODES, WIDTH = range(5), 50, 64
EQUAL = PpoRecipe("equal", rewards="raw", critic="separate")
ATARI = PpoRecipe("equal-atari", learning_rate=2.5e-4, clip=0.1, rewards="sign")
WANTED = {"CartPole-v1": "no slower", "Breakout": ">= 3"}  # our rate over theirs


def sb3_settings(recipe: PpoRecipe) -> dict[str, Any]:
    """Return a recipe as the arguments of SB3's PPO."""
    return {
        "n_steps": recipe.rollout_steps,
        "batch_size": recipe.batch_size,
        "n_epochs": recipe.epochs,
        "learning_rate": recipe.learning_rate,
        "gamma": recipe.discount,
        "gae_lambda": recipe.gae_lambda,
        "clip_range": recipe.clip,
        "ent_coef": recipe.entropy_coef,
        "vf_coef": recipe.value_coef,
        "max_grad_norm": recipe.clip_norm,
        "device": "cpu",
    }


def of_sb3(name: str, seed: int) -> Any:
    """Return SB3's PPO in a Gymnasium game, untrained."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env

    layers = {"net_arch": {"pi": [WIDTH, WIDTH], "vf": [WIDTH, WIDTH]}}
    network = {**layers, "activation_fn": torch.nn.ReLU}
    env = make_vec_env(name, EQUAL.slots, seed)
    return PPO("MlpPolicy", env, seed=seed, policy_kwargs=network, **sb3_settings(EQUAL))


def of_sb3_in_breakout() -> Any:
    """Return SB3's PPO in Breakout, with the paper's network at width 8."""
    import ale_py
    import gymnasium
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_atari_env
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
    from stable_baselines3.common.vec_env import VecFrameStack

    gymnasium.register_envs(ale_py)

    class Convolutions(BaseFeaturesExtractor):
        def __init__(self, space: Any, width: int = 8):
            super().__init__(space, 98 * width)
            self.net = torch.nn.Sequential(
                torch.nn.Conv2d(4, width, 8, 4),
                torch.nn.ReLU(),
                torch.nn.Conv2d(width, 2 * width, 4, 2),
                torch.nn.ReLU(),
                torch.nn.Conv2d(2 * width, 2 * width, 3),
                torch.nn.ReLU(),
                torch.nn.Flatten(),
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x)  # type: ignore[no-any-return]

    env = VecFrameStack(make_atari_env("BreakoutNoFrameskip-v4", ATARI.slots, 0), 4)
    network = {"features_extractor_class": Convolutions, "net_arch": []}
    return PPO("CnnPolicy", env, seed=0, policy_kwargs=network, **sb3_settings(ATARI))


def ours(name: str, policy: str, width: int, recipe: PpoRecipe, seed: int) -> PpoTrainer:
    """Return our PPO in a game, untrained."""
    game = ic.game(name)
    run = Run(game.name, "", policy, width, {}, recipe.to_json(), seed)
    return PpoTrainer(run, game, Path(tempfile.mkdtemp()))


def returns(name: str, steps: int) -> None:
    """Train both with every seed, and print what they score."""
    scores: dict[str, list[float]] = {"isoclone": [], "SB3": []}
    for seed in SEEDS:
        trainer = ours(f"gym/{name}", "mlp", WIDTH, EQUAL, seed)
        while trainer.progress.samples < steps:
            trainer.iterate()
        played = rollout(trainer.trained(), trainer.game, EPISODES, seed)
        scores["isoclone"].append(played.mean)
        scores["SB3"].append(_sb3_score(name, seed, steps))
        print(f"{name} seed {seed}: " + ", ".join(f"{k} {v[-1]:.1f}" for k, v in scores.items()))
    told = {who: (np.mean(v), np.std(v, ddof=1) / len(v) ** 0.5) for who, v in scores.items()}
    apart = np.diff([mean for mean, _ in told.values()])[0]
    noise = float(np.hypot(*(se for _, se in told.values())))
    means = ", ".join(f"{who} {mean:.1f} ± {se:.1f}" for who, (mean, se) in told.items())
    print(
        f"{name}, {steps:,} steps, {len(SEEDS)} seeds: {means}; {abs(apart) / noise:.1f} SE apart"
    )


def _sb3_score(name: str, seed: int, steps: int) -> float:
    from stable_baselines3.common.evaluation import evaluate_policy

    model = of_sb3(name, seed)
    model.learn(steps)
    env = model.get_env()
    env.seed(1_000 + seed)
    mean, _ = evaluate_policy(model, env, EPISODES, deterministic=False)
    return float(mean)


def speed() -> None:
    """Time both in turns, on one core, iteration by iteration."""
    rows = []
    for name, wanted in WANTED.items():
        atari = name == "Breakout"
        recipe = ATARI if atari else EQUAL
        model = of_sb3_in_breakout() if atari else of_sb3(name, 0)
        full = "atari/Breakout" if atari else f"gym/{name}"
        trainer = ours(full, "cnn" if atari else "mlp", 8 if atari else WIDTH, recipe, 0)
        model.learn(1)

        def theirs(model: Any = model, steps: int = recipe.samples_per_iteration) -> int:
            model.learn(steps, reset_num_timesteps=False)
            return steps

        def mine(trainer: PpoTrainer = trainer) -> int:
            trainer.iterate()
            return trainer.recipe.samples_per_iteration

        rows.append((name, *alternating(theirs, mine), wanted))
    show("steps per CPU second, played and learned from; reference: SB3", rows)


def lag() -> None:
    """Time play and learning in turn, and both at once, by the clock."""
    trainers = [
        ours("atari/Breakout", "cnn", 8, dataclasses.replace(ATARI, lag=lag), 0) for lag in (0, 1)
    ]
    seconds: list[list[float]] = [[], []]
    for _ in range(8):
        for trainer, spent in zip(trainers, seconds, strict=True):
            trainer.iterate()  # what is played ahead of a pause does not count
            begun = time.perf_counter()
            for _ in range(3):
                trainer.iterate()
            spent.append((time.perf_counter() - begun) / 3)
            trainer.player.wait()
    steps = ATARI.samples_per_iteration
    alone, together = (steps / float(np.median(spent)) for spent in seconds)
    rows = [("Breakout, width 8", alone, together, "> 1")]
    show("steps per second, play and learning at once; reference: in turn", rows)


def main() -> None:
    torch.set_num_threads(1)
    what, *rest = sys.argv[1:] or ["speed"]
    if what == "speed":
        speed()
    elif what == "lag":
        lag()
    else:
        for name, steps in {rest[0]: int(rest[1])}.items() if rest else GAMES.items():
            returns(name, steps)


if __name__ == "__main__":
    main()
