"""Is it better to imitate the expert's best games alone? The dev games are the same throughout.

isoclone ablate studies/nethack_expert.py --demos demos/aa
"""

from isoclone.nethack.study import NETHACK
from isoclone.study.ablation import Ablation

ablation = Ablation(
    name="nethack-expert",
    question="Is it better to imitate the expert's best games alone?",
    base=NETHACK,
    variants={
        "all games": {},
        "above 15,000": {"where": "episode_return > 15000"},
        "up to 15,000": {"where": "episode_return <= 15000"},
        "above 5,000": {"where": "episode_return > 5000"},
        "up to 5,000": {"where": "episode_return <= 5000"},
    },
)
