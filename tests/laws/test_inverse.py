"""A law read backwards."""

from __future__ import annotations

import numpy as np
import pytest
from laws_truth import study

from isoclone import laws
from isoclone.base.errors import FitError, SpecError
from isoclone.laws.inverse import flops_for


def test_a_target_is_inverted(fitted):
    wanted = fitted.forecast(1e21).dev_loss.value
    flops = flops_for(fitted, loss=wanted)
    assert flops.value == pytest.approx(1e21, rel=0.1)
    assert flops.low < flops.value < (flops.high or np.inf)
    with pytest.raises(FitError, match="not reached"):
        flops_for(fitted, loss=0.01)


def test_a_return_is_inverted_and_one_target_is_needed(fitted):
    wanted = fitted.forecast(1e21).return_mean.value
    assert flops_for(fitted, mean_return=wanted).value == pytest.approx(1e21, rel=0.1)
    with pytest.raises(SpecError, match="exactly one target"):
        flops_for(fitted)
    with pytest.raises(SpecError, match="must be positive"):
        flops_for(fitted, loss=-1.0)
    with pytest.raises(FitError, match="no returns"):
        flops_for(laws.fit(study()), mean_return=1.0)


@pytest.mark.parametrize("target", [np.nan, np.inf, -np.inf])
def test_a_target_that_is_no_number_is_refused(fitted, target):
    with pytest.raises(SpecError, match="the target return must be a finite number; got"):
        flops_for(fitted, mean_return=target)
    with pytest.raises(SpecError, match="the target loss must be positive; got"):
        flops_for(fitted, loss=target)
