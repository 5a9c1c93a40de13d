"""What several tests of laws share."""

from __future__ import annotations

import pytest
from laws_truth import study

from isoclone import laws


@pytest.fixture(scope="session")
def fitted() -> laws.ScalingLaws:
    """The default law on a study with little noise."""
    return laws.fit(study(noise=0.003, returns=True, budgets=8))
