"""The law `straight`: straight lines in logs through the best run of each budget."""

from __future__ import annotations

import numpy as np

from isoclone import Forecast, Interval


class Straight:
    """Fitted lines of log params, log samples and log dev loss over log FLOPs."""

    def __init__(self, table: dict[str, np.ndarray]):
        budgets, loss = table["budget_flops"], table["dev_loss"]
        best = [int(np.argmin(np.where(budgets == c, loss, np.inf))) for c in np.unique(budgets)]
        x = np.log(budgets[best])
        columns = {name: table[name][best] for name in ("params", "samples", "dev_loss")}
        self._lines = {name: np.polyfit(x, np.log(y), 1) for name, y in columns.items()}

    def forecast(self, flops: float) -> Forecast:
        """Return what the lines say at a budget, without intervals."""
        at = {n: np.exp(np.polyval(line, np.log(flops))) for n, line in self._lines.items()}
        known = {name: Interval(float(value), None, None) for name, value in at.items()}
        return Forecast(flops=flops, **known, return_mean=None, decades_beyond=0.0)
