"""Numbers for people: one place decides what an interval says, and when it says nothing."""

from __future__ import annotations

import math

import pytest

from isoclone.base.formatting import interval_text
from isoclone.base.records import Interval


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        (Interval(0.51, 0.47, 0.55), "0.51 [0.47, 0.55]"),
        (Interval(0.51, None, 0.55), "0.51 [unbounded, 0.55]"),
        (Interval(0.51, 0.47, math.inf), "0.51 [0.47, unbounded]"),
        (Interval(0.51, None, None), "0.51 [not determined]"),
        (Interval(0.3, 2.6e-212, 1.4e195), "not determined by these points"),
        (Interval(0.3, 1e-4, 2.0), "0.3 [not determined]"),
        (Interval(20.0, -4e5, 4e5), "20 [not determined]"),
        (Interval(-20.0, -30.0, 2.0), "-20 [-30, 2]"),
        (Interval(-5.0, -5e4, -1.0), "-5 [not determined]"),
        (Interval(1e6, 2e3, 1.9e6), "1e+06 [2e+03, 1.9e+06]"),
        ({"value": 0.0, "low": -1.0, "high": 1.0}, "0 [-1, 1]"),
        ({"value": 1.0, "low": math.nan, "high": math.nan}, "1 [not determined]"),
        (None, "-"),
    ],
)
def test_intervals_that_say_nothing_are_named_so(interval, said):
    assert interval_text(interval) == said


@pytest.mark.parametrize(
    ("interval", "excludes", "said"),
    [
        (Interval(0.0001, -2.0, 3.0), 0.9, "0.0001 [-2, 3]"),
        (Interval(0.5, 0.001, 3.0), 0.9, "0.5 [0.001, 3]"),
        (Interval(0.5, 1e-9, 3.0), 0.9, "0.5 [1e-09, 3]"),
        (Interval(0.0001, -2.0, 3.0), 0.05, "0.0001 [not determined]"),
        (Interval(0.0001, -2.0, 3.0), None, "0.0001 [not determined]"),
        (Interval(0.5, 0.4, 0.6), 0.05, "0.5 [0.4, 0.6]"),
        (Interval(0.5, None, None), 0.0, "0.5 [not determined]"),
    ],
)
def test_near_zero_what_could_come_decides_and_not_the_value(interval, excludes, said):
    assert interval_text(interval, excludes=excludes) == said
