"""Breakout learned by its own play: 4 sizes, 4 budgets, 2 seeds; 45 minutes on two quiet cores.

    isoclone run studies/rl_breakout.py

Episodes of training end with the game, not with a life; rewards are learned from by their sign.
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
    seeds=(0, 1),
    game_options={"max_steps": 3_000},
    episodes=32,
    extend=0,
    forecast_flops=2e13,
)
