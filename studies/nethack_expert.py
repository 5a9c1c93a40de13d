"""Is it better to imitate the expert's best games alone? The dev games are the same throughout.

    isoclone demos select demos/aa --where "episode_return > 15000" --out demos/aa-strong
    isoclone demos select demos/aa --where "episode_return <= 15000" --out demos/aa-weak
    python studies/nethack_expert.py --demos demos/aa

The selections are looked for beside `--demos`, called after it with -strong and -weak.
"""

import sys
from pathlib import Path

from isoclone.ablation import Ablation, main
from isoclone.builtins import NETHACK

every = Path(sys.argv[sys.argv.index("--demos") + 1] if "--demos" in sys.argv else "demos/aa")
ablation = Ablation(
    name="nethack-expert",
    question="Is it better to imitate the expert's best games alone?",
    base=NETHACK,
    variants={
        "all games": {"demos": str(every.resolve())},
        "strong games": {"demos": f"{every.resolve()}-strong"},
        "weak games": {"demos": f"{every.resolve()}-weak"},
    },
)

if __name__ == "__main__":
    main(ablation)
