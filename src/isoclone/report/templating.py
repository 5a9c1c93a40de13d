"""Fill the page's templates; all text from data is escaped."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from isoclone.base.formatting import plural
from isoclone.report import words

FILTERS = (
    words.number, words.power, words.whole, words.percent, plural, words.decimals,
    words.exponents, words.spaced, words.flat, words.short,
)  # fmt: skip
GLOBALS = {
    "MISSING": words.MISSING, "bounds": words.bounds, "bounds_of": words.bounds_of,
    "with_error": words.with_error,
}  # fmt: skip


@functools.cache
def environment() -> Environment:
    """Return the templates' environment: text is escaped, and an undefined name is an error."""
    env = Environment(
        loader=PackageLoader("isoclone.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    env.filters.update({each.__name__: each for each in FILTERS}, indented=_indented)
    env.globals.update(GLOBALS)
    compact = {"sort_keys": True, "separators": (",", ":"), "allow_nan": False}
    env.policies["json.dumps_kwargs"] = compact
    return env


def fill(name: str, **values: Any) -> Markup:
    """Return the HTML of the template `templates/NAME.html.j2`, filled."""
    return Markup(environment().get_template(f"{name}.html.j2").render(**values))


def asset(name: str) -> Markup:
    """Return a file of this folder, as it is."""
    return Markup(resources.files("isoclone.report").joinpath(name).read_text("utf-8"))


def _indented(value: Any) -> str:
    """Return plain values as JSON for people."""
    return json.dumps(value, indent=2, sort_keys=True)
