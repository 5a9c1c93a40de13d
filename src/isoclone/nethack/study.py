"""The ready-made study of NetHack, and its recipe."""

from __future__ import annotations

import dataclasses

from isoclone.study.spec import StudySpec
from isoclone.training.recipes import Recipe
from isoclone.training.reinforcement.recipe import PPO

# Found here on NetHack recordings (docs/log.md): 32 games side by side x 16 steps.
RECIPE = Recipe(
    "nethack",
    learning_rate=4e-3,
    batch_size=512,
    warmup_samples=10_000,
    schedule="inverse_sqrt",
    decay_from=200_000,
    average=8.0,
    betas=(0.9, 0.99),
    width_base=96,
    width_power=0.3,
    clip_norm=1.0,
)

# By its own play, mostly from a clone: the clone's lessons fade slowly, since a policy that forgets
# them dies sooner than it learns (docs/log.md).
PLAY_RECIPE = dataclasses.replace(
    PPO,
    name="ppo-nethack",
    slots=16,
    entropy_coef=0.001,
    teacher_coef=0.5,
    teacher_samples=20_000_000,
)

NETHACK = StudySpec(
    name="nethack",
    game="nethack/NetHackChallenge-v0",
    expert="scripted",  # used without 'demos'; recordings of AutoAscend are better
    samples=1_000_000,
    policy="nethack",
    widths=(12, 24, 48, 96, 192),
    budgets_flops=(9e10, 1.8e11, 4.5e11, 9e11, 1.8e12),
    recipe=RECIPE.to_json(),
    game_options={"character": "mon-hum-neu-mal", "max_steps": 10_000},
    episodes=24,  # scores of NetHack vary by more than their mean
    dev_samples=100_000,
    forecast_flops=5.4e12,
    forecast_episodes=200,
    forecast_seeds=2,
)
