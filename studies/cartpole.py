"""CartPole, imitating a two-line controller: a study of a Gymnasium game in a minute.

    isoclone run studies/cartpole.py --executor serial

The controller is linear, so the smallest network is the best one at every budget: the study says so
(`optimum_censored`, `few_optima`) instead of fitting an exponent to edges.
"""

from dataclasses import dataclass

import isoclone as ic
from isoclone.experts import CallableExpert
from isoclone.study.spec import StudySpec
from isoclone.training.recipes import recipe


def lean_into_the_fall(observation):
    """Push towards where the pole falls; observation is (1, 4): x, its speed, angle, its speed."""
    return int(observation[-1, 2] + 0.3 * observation[-1, 3] > 0)


@dataclass(frozen=True)
class Balancer(CallableExpert):
    name: str = "balancer"


ic.register_expert("balancer", lambda game: Balancer(lean_into_the_fall), "gym/CartPole-v1")

study = StudySpec(
    name="cartpole",
    game="gym/CartPole-v1",
    expert="balancer",
    samples=40_000,
    policy="mlp",
    widths=(1, 2, 4, 8, 16),
    budgets_flops=(9e5, 1.8e6, 4.5e6, 9e6, 1.8e7, 4.5e7),
    recipe=recipe("lean").to_json(),
    episodes=16,
    dev_samples=4_000,
)
