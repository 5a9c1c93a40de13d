"""FLOPs per sample, read off the points."""

from __future__ import annotations

import numpy as np
import pytest

from isoclone.laws.flop_rule import FlopRule


def test_six_nd_is_recovered_from_its_points_and_continued():
    sizes = np.repeat(np.logspace(4, 6, 5), 3)
    rule = FlopRule(sizes, 6 * sizes)
    asked = np.logspace(2, 8, 13)
    assert rule.per_sample(asked) == pytest.approx(FlopRule.six_nd().per_sample(asked))
    assert rule.samples(6e12, 1e6) == pytest.approx(1e6)


def test_medians_are_interpolated_and_end_slopes_continued():
    rule = FlopRule([1e2, 1e2, 1e2, 1e4, 1e6], [10.0, 10.0, 9e9, 100.0, 1e4])
    assert rule.per_sample([1e2, 1e3, 1e5]) == pytest.approx([10.0, 10**1.5, 1e3])
    assert rule.per_sample([1e0, 1e8]) == pytest.approx([1.0, 1e6])
