"""The report of a study without losses: told by returns, in environment steps, no empty chart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rl_truth import CEILING, rl_study

from isoclone import laws
from isoclone.base import results
from isoclone.base.records import Forecast, Point
from isoclone.base.results import Reference, Savings
from isoclone.base.schema import unmeasured
from isoclone.report.facts import Facts, SweepFacts
from isoclone.report.headline import headline
from isoclone.report.page import render, sections_of
from isoclone.study.builtins import builtin
from isoclone.study.plan import RULES


def facts_of(table: dict[str, list[Any]], forecast_flops: float) -> Facts:
    """The facts of a study whose points are the rows of a table of returns."""
    sizes = sorted(set(table["params"]))
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    points = [_point(row, 2 ** sizes.index(row["params"])) for row in rows]
    budgets = tuple(sorted(set(table["budget_flops"])))
    widths = tuple(2**place for place in range(len(sizes)))
    spec = builtin("toy").replace(widths=widths, budgets_flops=budgets, seeds=(0, 1, 2))
    fitted = laws.fit(table, random_return=0.0, expert_return=CEILING)
    said = fitted.forecast(forecast_flops)
    grid = np.logspace(np.log10(budgets[0]), np.log10(forecast_flops) + 0.1, 40)
    return Facts(
        folder="cart",
        spec=spec,
        points=points,
        references={"random": Reference(0.0, 0.1, 32)},
        sweep=SweepFacts(widths, 0, RULES[spec.rules]),
        savings=Savings(1e12, 1e12, 0.0, len(points), len(points)),
        laws=fitted.to_json(),
        isoflops=fitted.isoflop_curves(),
        curves=fitted.curves(grid),
        tested=results.Tested.of(said, [_agent(said)]),
    )


def _point(row: dict[str, Any], width: int, **changes: Any) -> Point:
    row = {k: v for k, v in row.items() if k != "seed"} | {"samples": round(row["samples"])}
    told = {"policy": "mlp", "game": "cart", "width": width, "episodes": 8, "recipe": "ppo"}
    ids = {"seed": 0, "flop_convention": "exact"}
    return Point(**{**unmeasured(Point), **told, **ids, **row, **changes})


def _agent(said: Forecast) -> Point:
    row = {"run_id": "agent", "budget_flops": said.flops, "flops": said.flops, "seed": 0}
    row |= {"params": round(said.params.value), "samples": said.samples.value}
    value = said.return_mean.value
    return _point(row, 64, return_mean=value, return_se=2.0, role="forecast")


@pytest.fixture(scope="module")
def facts() -> Facts:
    return facts_of(rl_study(luck=0.2), 3e10)


def test_the_headline_says_parameters_steps_and_return(facts: Facts) -> None:
    text = " ".join(headline(facts).striptags().split())
    assert "environment steps: expect a return of" in text
    assert "the agent reached a return of" in text
    assert ", inside its interval" in text
    assert "Learning to play" in text
    for word in ("dev loss", "nats", "demonstrations", "Imitating"):
        assert word not in text


def test_no_chart_is_empty_and_none_is_of_losses(facts: Facts) -> None:
    sections, trouble = sections_of(facts)
    assert not trouble
    figures = {k: f for s in sections.values() for k, f in s.figures.items()}
    assert {"isoflop", "params", "samples", "return_mean"} <= set(figures)
    assert not {"dev_loss", "return-loss", "losses"} & set(figures)
    for name, figure in figures.items():
        drawn = [y for trace in figure["data"] for y in trace["y"] if y is not None]
        assert drawn, name
    assert figures["isoflop"]["layout"]["yaxis"]["title"]["text"] == "mean return per episode"
    assert "environment steps" in figures["samples"]["layout"]["yaxis"]["title"]["text"]
    shown = [t for t in figures["isoflop"]["data"] if t.get("mode") == "lines"]
    assert len(shown) == len(facts.budgets)


def test_the_page_has_the_laws_by_return_and_no_word_of_losses(facts: Facts) -> None:
    page = render(facts)
    body = page[: page.index('id="figures"')]
    body = body[body.rindex("<header>") :] if "<header>" in body else body
    text = body.split("<script>")[0]
    assert "intrinsic performance (Hilton et al. 2023)" in text
    assert "data: environment steps of the best policy" in text
    assert "dev loss" not in text.split('id="reproduce"')[0].split("The rules, with")[0]


def test_the_plan_is_shaded_by_returns(facts: Facts) -> None:
    html = str(sections_of(facts)[0]["plan"].html)
    assert "Return of each size (rows)" in html
    assert html.count('class="best"') >= len(facts.budgets)
