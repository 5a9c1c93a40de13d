"""Snapshots of one run at every budget, or a run for each budget: the same optima and exponents?

    isoclone run studies/snapshots.py

Breakout, the same demonstrations and seeds. `snapshots` has the recipe `lean`, whose rate does not
depend on where a run ends; in `apart` the rate falls as a cosine to the end of each run, so every
budget is trained from nothing, at nearly twice the compute in all.
"""

import isoclone as ic
from isoclone.study.builtins import BREAKOUT

LEAN = ic.recipe("lean")
COSINE = ic.recipe("lean", schedule="cosine")

suite = ic.Suite(
    name="snapshots",
    question="Do snapshots of one run give the laws that a run for each budget gives?",
    studies=[
        BREAKOUT.replace(
            name=name,
            recipe=recipe.to_json(),
            samples=120_000,
            budgets_flops=(7e10, 1.4e11, 3.5e11, 7e11),
            forecast_flops=2.1e12,
        )
        for name, recipe in (("snapshots", LEAN), ("apart", COSINE))
    ],
)
