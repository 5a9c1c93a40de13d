"""The whole page: parts, style, script and plotly.js in one string."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from isoclone.report.charts import frontier, isoflop
from isoclone.report.facts import Facts
from isoclone.report.figures import all_figures
from isoclone.report.headline import headline
from isoclone.report.laws import laws
from isoclone.report.points import points
from isoclone.report.reproduce import reproduce
from isoclone.report.savings import savings
from isoclone.report.verdict import forecast
from isoclone.report.words import esc

# Nothing may be loaded from anywhere: the browser itself holds the page to it.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; media-src data:"
)
NO_SCRIPT = "<noscript><p>The charts need JavaScript; everything else is here.</p></noscript>"


def render(facts: Facts) -> str:
    """The page as HTML."""
    from isoclone.nethack.report import paper, rivals

    parts = (
        headline, isoflop, frontier, forecast, rivals, paper, savings, laws, points, reproduce,
    )  # fmt: skip
    body = "".join(part(facts) for part in parts)
    return whole_page(f"{facts.spec.name}: an isoclone study", body, all_figures(facts))


def whole_page(title: str, body: str, figures: dict[str, Any]) -> str:
    """A page around its HTML, with what its charts need."""
    library = f"<script>{_plotly()}</script>" if figures else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{esc(title)}</title>"
        f"<style>{_asset('page.css')}</style></head><body>"
        '<button id="theme" type="button" aria-label="switch between light and dark">◐</button>'
        f"<main>{NO_SCRIPT}{body}</main>{library}"
        f'<script type="application/json" id="figures">{safe_json(figures)}</script>'
        f"<script>{_asset('page.js')}</script></body></html>\n"
    )


def safe_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _asset(name: str) -> str:
    return resources.files("isoclone.report").joinpath(name).read_text("utf-8")


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()
