"""The recipe `dusk` and the study `lanterns`."""

from __future__ import annotations

from isoclone import StudySpec, recipe
from isoclone.training.recipes import Recipe

DUSK: Recipe = Recipe("dusk", learning_rate=1e-2, batch_size=16, precision="float32")

STUDY = StudySpec(
    name="lanterns",
    game="lanterns",
    expert="watchman",
    samples=800,
    policy="glance",
    law="straight",
    widths=(2, 3, 4),
    budgets_flops=(5e5, 1e6),
    recipe=recipe("dusk").to_json(),
    episodes=4,
    forecast_episodes=4,
    dev_samples=200,
    extend=0,
    adaptive=False,
)
