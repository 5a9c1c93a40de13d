"""Breakout learned by its own play: 4 sizes, 4 budgets, 2 seeds; an hour on two quiet cores.

    isoclone run studies/rl_breakout.py

Without sticky actions, as in most published results of PPO; with them a million steps take policies
of these sizes to 4 or 5 points only.
"""

import isoclone as ic

study = ic.StudySpec(
    name="rl-breakout",
    game="atari/Breakout",
    expert="nobody",
    policy="cnn",
    recipe=ic.recipe("ppo-atari").to_json(),
    widths=(4, 8, 16, 32),
    budgets_flops=(3e11, 1e12, 3e12, 1e13),
    seeds=(1, 2),
    game_options={"max_steps": 3_000, "sticky": 0},
    episodes=100,
    extend=0,
    forecast_flops=3e13,
    forecast_episodes=200,
    forecast_seeds=2,
)
