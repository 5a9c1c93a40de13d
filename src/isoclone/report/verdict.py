"""The forecast against its measurement, and the agent at play."""

from __future__ import annotations

import base64

from isoclone.base.results import ERROR_OF, MADE_LATER
from isoclone.laws.words import forecast_text
from isoclone.report.facts import Facts
from isoclone.report.headline import above_the_expert
from isoclone.report.laws import quantities
from isoclone.report.sections import Section
from isoclone.report.templating import fill


def forecast(facts: Facts) -> Section:
    """Return the forecast beside what the agent that tests it reached, and its video."""
    video = base64.b64encode(facts.video).decode() if facts.video else None
    html = fill(
        "forecast",
        facts=facts,
        names=quantities(facts),
        errors=ERROR_OF,
        video=video,
        made_later=MADE_LATER,
        above=above_the_expert(facts),
        said=forecast_text(facts.forecast.to_json()) if facts.forecast else [],
    )
    known = facts.forecast is not None
    return Section("The forecast, put to the test" if known else "The forecast", html=html)
