"""NetHack among the released runs of `published.tuyls2023`.

    nethack/<study>/<run>/eval_loss_overlap_<o>_model_<C>.tar   eval_loss, eval_se, params, samples
    nethack/<study>/<run>/eval_returns_model_<C>.txt            one return per episode

The study of isoFLOP curves is the group 'nethack'; the others are ablations.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.base.errors import DataError
from isoclone.published.saved import load
from isoclone.published.tuyls2023 import Family, Tuyls2023, append, checked, in_order

ISO_FLOP_STUDY = "llama_iso_flop"


def read_nethack(folder: Path, found: Tuyls2023) -> None:
    """Read the studies of the folder `nethack/` into the tables."""
    for study in in_order(p for p in folder.glob("*") if p.is_dir()):
        _read_study(study, found)


_LOSS_FILE = re.compile(r"eval_loss_overlap_\d+_model_(?P<mark>[0-9.e+]+)\.tar$")


def _read_study(study: Path, found: Tuyls2023) -> None:
    main = study.name == ISO_FLOP_STUDY
    table = found.points if main else found.ablations
    for path in in_order(study.glob("*/eval_loss_overlap_*.tar")):
        match = _LOSS_FILE.search(path.name)
        if match is None:
            found.notices.append(f"{path}: name not understood; left out")
            continue
        try:
            row = _read_point(path, match["mark"], main)
        except DataError as error:
            found.notices.append(str(error))
            continue
        append(table, **row, group="nethack" if main else study.name, run_id=path.parent.name)


def _read_point(path: Path, mark: str, main: bool) -> dict[str, Any]:
    """Read one checkpoint of a run; `mark` is its budget (main study) or billions of samples."""
    saved = load(path)
    try:
        loss, se = float(saved["eval_loss"]), float(saved["eval_se"])
        params, samples, named = int(saved["params"]), int(saved["samples"]), float(mark)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise DataError(f"{path}: lacks eval_loss, eval_se, params or samples") from None
    flops = 6.0 * params * samples
    row = {"params": params, "samples": samples, "flops": flops, "dev_loss_se": se}
    row["budget_flops"] = named if main else flops
    return {**row, **checked(loss), **_episodes(path.parent / f"eval_returns_model_{mark}.txt")}


def _episodes(path: Path) -> dict[str, Any]:
    """Return the mean return and its SE over the episodes of a file; {} without a file."""
    if not path.exists():
        return {}
    try:
        values = np.array(path.read_text().split(), dtype=float)
    except (OSError, ValueError):
        raise DataError(f"{path}: not one number per line") from None
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return {"episodes": len(values)}
    se = float(values.std(ddof=1) / math.sqrt(len(values)))
    return {"return_mean": float(values.mean()), "return_se": se, "episodes": len(values)}


# The paper fits parabolas and does not say over which budgets and runs. Below 5e15 FLOPs the
# smallest size is the best one, so the optimum is censored.
NETHACK = Family(
    read_nethack,
    exponents={"nethack": {"params": 0.61, "samples": 0.39}},
    parabolas=True,
    from_flops=5e15,
)
