"""How far back must the agent see? A transformer with windows of 1 to 128 screens.

python studies/nethack_context.py --demos demos/aa
"""

from isoclone.ablation import Ablation, main
from isoclone.builtins import NETHACK

ablation = Ablation(
    name="nethack-context",
    question="How many screens must the agent see?",
    base=NETHACK,
    variants={
        f"{n} screens": {"policy_options": {"core": "transformer", "context": n, "unroll": 32}}
        for n in (1, 4, 16, 64, 128)
    },
)

if __name__ == "__main__":
    main(ablation)
