"""Deep and narrow, or shallow and wide? LSTMs of about 220,000 parameters.

isoclone ablate studies/nethack_depth.py --demos demos/aa
"""

from isoclone.nethack.study import NETHACK
from isoclone.study.ablation import Ablation

ablation = Ablation(
    name="nethack-depth",
    question="Deep and narrow, or shallow and wide?",
    base=NETHACK,
    variants={
        f"{layers} x {width}": {"width": width, "policy_options": {"layers": layers}}
        for layers, width in ((1, 58), (2, 53), (4, 46), (8, 39))
    },
)
