"""How far back must the agent see? A transformer with windows of 1 to 128 screens.

isoclone ablate studies/nethack_context.py --demos demos/aa
"""

from isoclone.nethack.study import NETHACK
from isoclone.study.ablation import Ablation

ablation = Ablation(
    name="nethack-context",
    question="How many screens must the agent see?",
    base=NETHACK,
    variants={
        f"{n} screen{'s' * (n > 1)}": {
            "policy_options": {"core": "transformer", "context": n, "unroll": 32}
        }
        for n in (1, 4, 16, 64, 128)
    },
)
