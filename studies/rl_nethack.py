"""NetHack learned by its own play, from the clones of the study `nethack`: 20 minutes, two cores.

    isoclone run nethack --demos demos/aa
    isoclone run studies/rl_nethack.py

The clones teach on, by a term that fades over 20 million steps; a point's return is to be compared
with that of its clone.
"""

import isoclone as ic

study = ic.StudySpec(
    name="rl-nethack",
    game="nethack/NetHackChallenge-v0",
    expert="nobody",
    policy="nethack",
    recipe=ic.recipe("ppo-nethack").to_json(),
    clones="studies-out/nethack",
    widths=(24, 48, 67),  # 67 is the agent that tested the clones' forecast
    budgets_flops=(3e11, 6e11, 1.2e12, 2.4e12),
    game_options={"character": "mon-hum-neu-mal", "max_steps": 10_000},
    episodes=48,
    extend=0,
    forecast_flops=5e12,
    forecast_episodes=200,
)
