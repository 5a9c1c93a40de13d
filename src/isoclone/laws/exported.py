"""Find our columns in tables that W&B or TensorBoard export: they name them in ways of their own.

| there | here |
|---|---|
| `dev_loss` in a folder: `point/dev_loss`, `summary.dev_loss`, `hparam/dev_loss` | `dev_loss` |
| `ID`, else `Name`, else `Trial ID` | `run_id` |
| `State`, where `finished` is `ok` | `status` |

A column of our own name is left as it is, whatever else the table has.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

ALIASES = {"run_id": ("id", "name", "trial id"), "status": ("state",)}
FINISHED = "finished"  # W&B's word for a run that came to its end
STEPS = ("env_steps", "environment_steps", "timesteps", "total_timesteps", "num_env_steps")
RETURNS = ("ep_rew_mean", "episode_reward_mean", "episodic_return", "eval_return")
USUAL = {  # names by which others call our columns
    "params": ("n", "parameters", "n_params", "num_params", "n_parameters", "model_size"),
    "samples": (
        "d",
        "tokens",
        "n_samples",
        "num_samples",
        "examples",
        "transitions",
        "steps",
        *STEPS,
    ),
    "flops": ("c", "compute", "train_flops", "total_flops"),
    "dev_loss": ("loss", "val_loss", "valid_loss", "validation_loss", "test_loss", "eval_loss"),
    "return_mean": ("return", "returns", "score", "reward", "mean_return", "mean_reward", *RETURNS),
}
PARTS = re.compile(r"[/.:]")


def with_our_names(
    columns: Mapping[str, Any], known: Collection[str]
) -> tuple[dict[str, Any], list[str]]:
    """Return the columns under our names where theirs say the same, and a notice if any did.

    Args:
        known: our names.
    """
    theirs: dict[str, str] = {}  # ours -> theirs
    for name in columns:
        last = _last_part(name)
        if name not in known and last in known and last not in columns:
            theirs.setdefault(last, name)
    for ours, names in ALIASES.items():
        lower = {name.strip().lower(): name for name in columns}
        found = [lower[name] for name in names if name in lower]
        if found and ours in known and ours not in columns:
            theirs.setdefault(ours, found[0])
    if not theirs:
        return dict(columns), []
    ours_of = {name: ours for ours, name in theirs.items()}
    made = {ours_of.get(name, name): values for name, values in columns.items()}
    if "status" in theirs and theirs["status"].strip().lower() in ALIASES["status"]:
        made["status"] = ["ok" if v == FINISHED else v for v in made["status"]]
    said = ", ".join(f"{name} as {ours}" for ours, name in list(theirs.items())[:6])
    return made, [f"columns read under another name: {said}"]


def meant(name: str, ours: Collection[str]) -> str | None:
    """Return which of our columns a column of another name may be; None if none comes near.

    >>> meant("val_loss", ["dev_loss", "flops"]), meant("Flop", ["dev_loss", "flops"])
    ('dev_loss', 'flops')
    """
    last = _last_part(name)
    usual = next((one for one, others in USUAL.items() if last in others and one in ours), None)
    near = get_close_matches(last, ours, 1, 0.75)
    return usual or (near[0] if near else None)


def _last_part(name: str) -> str:
    """Return a name without its folders: 'config.params.value' is 'params'."""
    parts = [part.strip() for part in PARTS.split(name.strip())]
    if len(parts) > 1 and parts[-1] == "value":
        parts.pop()
    return parts[-1].lower().replace(" ", "_")
