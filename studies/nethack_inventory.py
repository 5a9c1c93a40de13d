"""Does it help to remember what the message line said of each inventory letter?

python studies/nethack_inventory.py --demos demos/aa
"""

from isoclone.ablation import Ablation, main
from isoclone.builtins import NETHACK

ablation = Ablation(
    name="nethack-inventory",
    question="Does the agent need to remember its inventory?",
    base=NETHACK,
    variants={
        "without inventory": {"policy_options": {}},
        "with inventory": {"policy_options": {"inventory": True}},
    },
)

if __name__ == "__main__":
    main(ablation)
