"""Deep and narrow, or shallow and wide? LSTMs of about 220,000 parameters.

python studies/nethack_depth.py --demos demos/aa
"""

from isoclone.ablation import Ablation, main
from isoclone.builtins import NETHACK

ablation = Ablation(
    name="nethack-depth",
    question="Deep and narrow, or shallow and wide?",
    base=NETHACK,
    variants={
        f"{layers} x {width}": {"width": width, "policy_options": {"layers": layers}}
        for layers, width in ((1, 58), (2, 50), (4, 40), (8, 31))
    },
)

if __name__ == "__main__":
    main(ablation)
