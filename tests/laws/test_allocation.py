"""How compute is split between size and samples."""

from __future__ import annotations

import numpy as np
import pytest
from laws_truth import CHINCHILLA, best_size, study

from isoclone.laws.allocation import Allocation
from isoclone.laws.frontier.evidence import Evidence
from isoclone.laws.points import Points


@pytest.mark.parametrize("noise", [0.005, 0.02])
def test_allocation_interval_holds_as_often_as_it_says(noise):
    held = []
    for seed in range(40):
        points = Points.from_table(study(noise=noise, seed=seed))
        _, low, high = Allocation(bootstraps=60, seed=seed).fit(Evidence(points)).interval(1e21)
        held.append(low[0] <= best_size(CHINCHILLA, 1e21) <= high[0])
    assert np.mean(held) >= 0.87  # .95 less two standard errors of 40 trials
