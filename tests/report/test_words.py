"""Numbers as a reader wants them."""

from __future__ import annotations

import pytest
from markupsafe import Markup, escape

from isoclone.report.words import bounds, number, power, with_error


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0, "0"),
        (0.01234, "0.0123"),
        (1, "1"),
        (3.14159, "3.14"),
        (-2.5, "−2.50"),
        (12345, "12.3k"),
        (999_960, "1.00M"),
        (6.67e9, "6.67×10<sup>9</sup>"),
        (1e-7, "10<sup>−7</sup>"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    assert number(value) == text


def test_power_and_errors() -> None:
    assert power(1e8) == "10<sup>8</sup>"
    assert power(2.5e10) == "2.5×10<sup>10</sup>"
    assert with_error(0.72769, 0.0466) == "0.728 ± 0.047"
    assert with_error(171.3, 12.44) == "171 ± 12"
    assert with_error(None, 1.0) == "–"
    assert with_error(2.0, None) == "2"
    assert bounds(None, 4.5) == "[unbounded, 4.50]"


def test_only_our_own_html_is_taken_as_it_is() -> None:
    assert isinstance(power(1e8), Markup)
    assert escape(number(6.67e9)) == "6.67×10<sup>9</sup>"
    assert escape(bounds(1e8 * 1e8, None)) == "[10<sup>16</sup>, unbounded]"
    assert not isinstance(number(2.0), Markup)
