"""Scaling laws: fitted to a table of runs, asked for a forecast. NumPy and SciPy only.

fitted = fit(table)                    # the default law: `ScalingLaws`, of losses; `ReturnLaws`
                                       # where no row has a dev loss, as in reinforcement learning
fitted.forecast(1e13)                  # N, D, loss, return at that compute, 95 % intervals
fit_law("mine", table)                 # a law of yours, added by `LAWS.add("mine", fit)`
compare(["mine"], table)               # its past forecasts beside the default's

What fits is brought in when first used: SciPy takes a while to import.
"""

import importlib
from typing import TYPE_CHECKING, Any

from isoclone.laws.base import (
    DEFAULT_LAW,
    LAWS,
    Band,
    CanForecast,
    Curves,
    Exponents,
    FittedLaw,
    IsoFlopCurve,
    Law,
)

if TYPE_CHECKING:
    from isoclone.laws.chosen import fit
    from isoclone.laws.comparison import LawComparison, compare
    from isoclone.laws.plugged import fit_law
    from isoclone.laws.points import clean_table
    from isoclone.laws.reinforcement.laws import ReturnLaws
    from isoclone.laws.scaling import ScalingLaws

_ROOMS = {
    "LawComparison": "isoclone.laws.comparison",
    "ScalingLaws": "isoclone.laws.scaling",
    "clean_table": "isoclone.laws.points",
    "compare": "isoclone.laws.comparison",
    "ReturnLaws": "isoclone.laws.reinforcement.laws",
    "fit": "isoclone.laws.chosen",
    "fit_law": "isoclone.laws.plugged",
}

__all__ = [
    "DEFAULT_LAW",
    "LAWS",
    "Band",
    "CanForecast",
    "Curves",
    "Exponents",
    "FittedLaw",
    "IsoFlopCurve",
    "Law",
    "LawComparison",
    "ReturnLaws",
    "ScalingLaws",
    "clean_table",
    "compare",
    "fit",
    "fit_law",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'isoclone.laws' has no attribute {name!r}")
    found = getattr(importlib.import_module(_ROOMS[name]), name)
    globals()[name] = found
    return found
