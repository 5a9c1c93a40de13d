"""Scaling laws of imitation: fitted to a table of runs, asked for a forecast. NumPy and SciPy only.

fitted = fit(table)            # isoFLOP optima, power laws, surface, trends
fitted.forecast(1e13)          # N, D, loss, return at that compute, with 95 % intervals
"""

from isoclone.laws.base import LAWS, Band, Curves, Exponents, FittedLaw
from isoclone.laws.fit import ScalingLaws, fit

__all__ = ["LAWS", "Band", "Curves", "Exponents", "FittedLaw", "ScalingLaws", "fit"]
