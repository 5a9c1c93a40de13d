"""How far back must the agent see? 16 to 4,096 screens, by three kinds of memory, at equal FLOPs.

    isoclone ablate studies/nethack_context.py --demos demos/aa

A transformer sees a window of so many screens. An LSTM and Mamba forget everything each time so
many have gone by, so they see half as many on average. All else is the same: 16 games side by side,
32 screens in one piece, and state or cache carried on. About 40 minutes of a core.
"""

from isoclone.nethack.study import NETHACK
from isoclone.study.ablation import Ablation

LENGTHS = (16, 64, 256, 1_024, 4_096)
LIMITS = {"lstm": "forget", "mamba": "forget", "transformer": "context"}

ablation = Ablation(
    name="nethack-context",
    question="How many screens must the agent see, and what remembers them?",
    base=NETHACK,
    variants={
        f"{core} {n}": {"policy_options": {"core": core, limit: n, "unroll": 32}}
        for core, limit in LIMITS.items()
        for n in LENGTHS
    },
    width=24,
    budgets_flops=(1e11, 3e11),
    seeds=(0, 1, 2),
    episodes=0,
    against="lstm 64",
    axis="context, screens",
    along={f"{core} {n}": (core, n) for core in LIMITS for n in LENGTHS},
    costs=True,
)
