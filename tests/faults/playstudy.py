"""A study of reinforcement of seconds for the fault harness; one of its policies remembers.

Its state is saved every tenth of a second, so that most kills cut a run that has one.
"""

from __future__ import annotations

import dataclasses

import isoclone
from isoclone.training.reinforcement import loop
from isoclone.training.reinforcement.recipe import PPO

loop.SAVE_SECONDS = 0.1
RECIPE = dataclasses.replace(PPO, slots=4, rollout_steps=32, batch_size=64, average=2.0)

study = isoclone.StudySpec(
    name="faults-play",
    game="recall",
    expert="nobody",
    policy="mlp-lstm",
    recipe=RECIPE.to_json(),
    widths=(2, 3, 4),
    budgets_flops=(1e6, 2e6, 4e6),
    seeds=(0, 1),
    episodes=4,
    forecast_episodes=4,
    extend=0,
)
