"""The scale on which returns are followed: no power law is fitted to something that has an end.

    log odds  z = log(p / (1 - p)), p = (R - low) / (high - low)   random return and ceiling known
    root      z = sqrt(R - random)                                 random return known
    return    z = R                                                neither, or a ceiling alone

`low` and `high` lie 2 % of the span beyond random play and ceiling, so both have finite odds.
Nothing is filled in: without a random return no floor is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray
MARGIN = 0.02  # of the span, beyond random play and ceiling
EDGE = 0.003  # of the span: no return is surer than that to be at either end


@dataclass(frozen=True)
class ReturnScale:
    """One of the three scales; `floor` and `ceiling` in the game's score, None if unknown."""

    floor: float | None
    ceiling: float | None

    @classmethod
    def of(cls, returns: Array, floor: float | None, ceiling: float | None) -> ReturnScale:
        """Return the scale for returns [n]; the ends are moved so that every return lies inside."""
        if floor is not None:
            floor = min(float(floor), float(returns.min()))
        if ceiling is not None:
            ceiling = max(float(ceiling), float(returns.max()))
        return cls(floor, ceiling)

    @property
    def kind(self) -> str:
        """Return 'log odds', 'root' or 'return'."""
        if self.floor is None:
            return "return"
        return "root" if self.ceiling is None else "log odds"

    @property
    def formula(self) -> str:
        """Return the scale as a formula of R, with its numbers."""
        if self.kind == "return":
            return "z = R"
        if self.kind == "root":
            return f"z = sqrt(R - {self.floor:.4g})"
        return f"z = log((R - {self._low:.4g}) / ({self._low + self._span:.4g} - R))"

    @property
    def _span(self) -> float:
        assert self.floor is not None
        assert self.ceiling is not None
        return (1 + 2 * MARGIN) * (self.ceiling - self.floor)

    @property
    def _low(self) -> float:
        assert self.floor is not None
        assert self.ceiling is not None
        return self.floor - MARGIN * (self.ceiling - self.floor)

    def forward(self, value: Array) -> Array:
        """Return z of returns [m]."""
        value = np.asarray(value, float)
        if self.kind == "return":
            return value
        if self.kind == "root":
            return np.sqrt(np.maximum(value - self.floor, 0.0))
        share = np.clip((value - self._low) / self._span, EDGE, 1 - EDGE)
        return np.log(share / (1 - share))

    def back(self, z: Array) -> Array:
        """Return the returns of z [m], none below the floor or above the ceiling."""
        z = np.asarray(z, float)
        if self.kind == "log odds":
            z = self._low + self._span / (1 + np.exp(-np.clip(z, -40, 40)))
        elif self.kind == "root":
            z = self.floor + np.maximum(z, 0.0) ** 2
        return np.clip(z, self.floor, self.ceiling)

    def error(self, value: Array, se: Array) -> Array:
        """Return the SEs of z [m] of returns [m] with these SEs; that near an end is bounded."""
        reach = np.abs(self.forward(value + se) - self.forward(value - se))
        return 0.5 * reach
