"""CartPole learned by its own play: 4 sizes, 4 budgets, 3 seeds, in four minutes on two cores.

    isoclone run studies/rl_cartpole.py

The highest return is 500, and known. By FLOPs alone small policies are the better ones here: a step
costs them little, and they need few parameters. What the simulator costs is not in C.
"""

import isoclone as ic

study = ic.StudySpec(
    name="rl-cartpole",
    game="gym/CartPole-v1",
    expert="nobody",
    policy="mlp",
    recipe=ic.recipe("ppo").to_json(),
    widths=(2, 4, 8, 16),
    budgets_flops=(1e7, 2e7, 4e7, 8e7),
    seeds=(0, 1, 2),
    episodes=16,
    extend=0,
    ceiling=500.0,
)
