"""How much does the learning rate matter?

isoclone ablate studies/nethack_rate.py --demos demos/aa
"""

from isoclone.nethack.study import NETHACK
from isoclone.study.ablation import Ablation
from isoclone.training.recipes import recipe

ablation = Ablation(
    name="nethack-rate",
    question="How much does the learning rate matter?",
    base=NETHACK,
    variants={
        f"{rate:g}": {"recipe": recipe("nethack", learning_rate=rate).to_json()}
        for rate in (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3, 8e-3)
    },
)
