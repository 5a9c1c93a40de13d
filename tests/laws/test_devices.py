"""What a FLOP costs on a device."""

from __future__ import annotations

import pytest

from isoclone.base.errors import SpecError, UnknownNameError
from isoclone.laws.devices import device


def test_hours_and_money_follow_from_peak_use_and_price():
    own = device("a100", utilisation=0.5, price_per_hour=3.0)
    assert own.seconds(1.56e14) == pytest.approx(1.0)
    assert own.hours(3600 * 1.56e14) == pytest.approx(1.0)
    assert own.cost(3600 * 1.56e14) == pytest.approx(3.0)
    assert device("a100").utilisation != 0.5  # the table itself is as it was


def test_impossible_figures_are_refused_by_name():
    with pytest.raises(UnknownNameError, match="unknown device 'a10'; did you mean a100"):
        device("a10")
    with pytest.raises(SpecError, match="utilisation"):
        device("a100", utilisation=1.5)
    with pytest.raises(SpecError, match="price_per_hour"):
        device("a100", price_per_hour=-1.0)
