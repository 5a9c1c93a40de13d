"""Imitating better and worse players of one family: the same law below another ceiling?

    isoclone run studies/expert_quality.py

Three players of Breakout that differ in how exactly they aim (`jitter`, pixels). Each takes some 5
minutes on two cores.
"""

import isoclone as ic
from isoclone.study.builtins import BREAKOUT

suite = ic.Suite(
    name="expert-quality",
    question="Does a worse expert give the same law below another ceiling?",
    studies=[
        BREAKOUT.replace(
            name=f"jitter-{jitter}",
            expert_options={"jitter": float(jitter)},
            samples=120_000,
            budgets_flops=(7e10, 1.4e11, 3.5e11, 7e11),
            forecast_flops=2.1e12,
        )
        for jitter in (1, 5, 12)
    ],
)
