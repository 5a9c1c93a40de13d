"""What does a FLOP, and a second, buy with the lean encoder and with the paper's?

isoclone ablate studies/nethack_encoder.py --demos demos/aa

The paper's encoder costs 40 to 200 times as much for a sample, so it is given larger budgets: both
train for some minutes.
"""

from isoclone.nethack.study import NETHACK
from isoclone.study.ablation import Ablation

LEAN, PAPER = (9e10, 1.8e11, 4.5e11, 9e11, 1.8e12), (5e11, 1e12, 2e12, 5e12, 1e13, 2e13)

ablation = Ablation(
    name="nethack-encoder",
    question="What does a FLOP, and a second, buy with each encoder?",
    base=NETHACK,
    variants={
        f"{encoder} {width}": {
            "width": width,
            "policy_options": {"encoder": encoder},
            "budgets_flops": LEAN if encoder == "lean" else PAPER,
        }
        for encoder, width in (
            ("lean", 24),
            ("lean", 48),
            ("lean", 96),
            ("paper", 24),
            ("paper", 96),
        )
    },
)
