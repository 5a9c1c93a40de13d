"""Scaling laws of imitation: fitted to a table of runs, asked for a forecast. NumPy and SciPy only.

fitted = fit(table)                    # the default law: a `ScalingLaws`
fitted.forecast(1e13)                  # N, D, loss, return at that compute, 95 % intervals
fit_law("mine", table)                 # a law of yours, added by `LAWS.add("mine", fit)`
compare(["mine"], table)               # its past forecasts beside the default's
"""

from isoclone.laws.base import (
    DEFAULT_LAW,
    LAWS,
    Band,
    CanForecast,
    Curves,
    Exponents,
    FittedLaw,
    Law,
)
from isoclone.laws.comparison import LawComparison, compare
from isoclone.laws.fit import ScalingLaws, fit
from isoclone.laws.plugged import fit_law
from isoclone.laws.points import clean_table

__all__ = [
    "DEFAULT_LAW",
    "LAWS",
    "Band",
    "CanForecast",
    "Curves",
    "Exponents",
    "FittedLaw",
    "Law",
    "LawComparison",
    "ScalingLaws",
    "clean_table",
    "compare",
    "fit",
    "fit_law",
]
