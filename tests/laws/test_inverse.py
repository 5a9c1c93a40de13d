"""A law read backwards."""

from __future__ import annotations

import numpy as np
import pytest

from isoclone.base.errors import FitError
from isoclone.laws.inverse import flops_for


def test_a_target_is_inverted(fitted):
    wanted = fitted.forecast(1e21).dev_loss.value
    flops = flops_for(fitted, loss=wanted)
    assert flops["value"] == pytest.approx(1e21, rel=0.1)
    assert flops["low"] < flops["value"] < (flops["high"] or np.inf)
    with pytest.raises(FitError, match="not reached"):
        flops_for(fitted, loss=0.01)
