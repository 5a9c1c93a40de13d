"""Does it help to remember what the message line said of each inventory letter?

isoclone ablate studies/nethack_inventory.py --demos demos/aa
"""

from isoclone.nethack.study import NETHACK
from isoclone.study.ablation import Ablation

ablation = Ablation(
    name="nethack-inventory",
    question="Does the agent need to remember its inventory?",
    base=NETHACK,
    variants={
        "without inventory": {"policy_options": {}},
        "with inventory": {"policy_options": {"inventory": True}},
    },
)
