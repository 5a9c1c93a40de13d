"""Return as a function of dev loss, over all points."""

from __future__ import annotations

import numpy as np
import pytest
from laws_truth import codes, study

import isoclone.laws as laws
from isoclone.base.errors import SpecError
from isoclone.laws.points import Points
from isoclone.laws.return_link import fit_link, rank_correlation
from isoclone.laws.words import forecast_text


def table(seed=0, noise=1.0, follows=True):
    """Returns between 1 and 100 by a logistic of log loss, with errors that are stated."""
    rows = study(noise=0.003, budgets=7)
    rng = np.random.default_rng(seed)
    log_loss = np.log(rows["dev_loss"])
    middle = np.median(log_loss)
    truth = 1 + 99 / (1 + np.exp(12 * (log_loss - middle)))
    if not follows:
        truth = rng.permutation(truth)
    rows["return_mean"] = list(truth + rng.normal(0, noise, len(truth)))
    rows["return_se"] = [noise] * len(truth)
    return rows, middle


def test_the_link_is_found_and_falls():
    rows, middle = table()
    points = Points.from_table(rows)
    link = fit_link(points, float(middle), 1.0, 100.0)
    assert link.slope == pytest.approx(-12, rel=0.2)
    said = link.back(link.at(np.array([middle, middle - 0.05])))
    assert said == pytest.approx([50.5, 65.0], abs=3)
    assert link.back(link.forward(np.array([30.0]))) == pytest.approx([30.0])


def test_a_link_that_would_rise_is_flat():
    rows, middle = table()
    rows["return_mean"] = [-value for value in rows["return_mean"]]
    assert fit_link(Points.from_table(rows), float(middle), None, None).slope == 0.0


def test_the_width_is_told_apart_by_its_sources():
    rows, middle = table()
    link = fit_link(Points.from_table(rows), float(middle), 1.0, 100.0)
    at = np.array([middle - 0.1])
    shares = [link.shares(at, np.array([sd]))["loss"][0] for sd in (0.0, 0.01, 0.1)]
    assert shares[0] == 0.0
    assert shares[0] < shares[1] < shares[2] < 1.0


def test_rank_correlation_and_its_status():
    rows, _ = table()
    known = rank_correlation(Points.from_table(rows))
    assert known.value < -0.9
    assert known.low < known.value < known.high < -0.85
    noise, _ = table(follows=False)
    assert "loss_no_guide" in codes(laws.fit(noise).status)
    assert "loss_no_guide" not in codes(laws.fit(rows).status)


def test_too_few_returns_give_no_link():
    rows, _ = table()
    points = Points.from_table(rows)
    assert fit_link(points.keep(np.arange(len(points)) < 5), 1.0, None, None) is None
    assert rank_correlation(points.keep(np.arange(len(points)) < 5)) is None


def test_a_forecast_of_the_return_stays_between_floor_and_ceiling_and_says_its_sources():
    rows, _ = table(noise=3.0)
    fitted = laws.fit(rows, expert_return=100.0, random_return=1.0)
    said = fitted.forecast(3 * fitted.last_budget_)
    back = said.return_mean
    assert 1.0 <= back.low < back.value < back.high <= 100.0
    told = said.method["return_by_loss"]
    assert 0.0 < told["share_of_loss"] < 1.0
    assert 0.0 < told["share_of_episodes"] < 1.0 - told["share_of_loss"]
    assert told["rank_correlation"]["value"] < -0.8


@pytest.mark.parametrize("apart", [0.0, 0.5])
def test_what_differs_between_seeds_is_told_from_what_differs_between_sizes(apart):
    rows, middle = table(noise=0.5)
    rng = np.random.default_rng(1)
    twice = {name: np.repeat(column, 2) for name, column in rows.items()}
    twice["run_id"] = np.array([f"{run}-{k % 2}" for k, run in enumerate(twice["run_id"])])
    twice["seed"] = np.arange(len(twice["run_id"])) % 2
    odds = np.log((twice["return_mean"] + 2) / (102 - twice["return_mean"]))
    odds += rng.normal(0, apart, len(odds)) + 0.3 * (twice["params"] > np.median(twice["params"]))
    twice["return_mean"] = 104 / (1 + np.exp(-odds)) - 2
    link = fit_link(Points.from_table(twice), float(middle), 1.0, 100.0)
    assert np.sqrt(link.seed_var) == pytest.approx(apart, abs=0.1)
    assert link.seed_var <= link.tau2


def widths(rows, episodes, **scores):
    """Widths of the return's interval when an agent plays so many episodes."""
    fitted = laws.fit(rows, random_return=1.0, **scores)
    said = [fitted.forecast(3 * fitted.last_budget_, episodes=count) for count in episodes]
    return [f.return_mean.high - f.return_mean.low for f in said], [f.episodes for f in said]


def test_a_return_of_more_episodes_is_surer_up_to_what_runs_differ_by():
    rows, _ = table(noise=4.0)
    rows["episodes"] = [8] * len(rows["params"])
    wide, said = widths(rows, (None, 8, 32, 128, 10**6, 10**7), expert_return=100.0)
    assert said == [None, 8, 32, 128, 10**6, 10**7]
    assert wide[0] == pytest.approx(wide[1])
    assert wide[1] > wide[2] > wide[3] > wide[4] > 0
    assert wide[5] == pytest.approx(wide[4], rel=1e-3)


@pytest.mark.parametrize("unknown", ["episodes", "ceiling"])
def test_episodes_change_nothing_where_nothing_tells_of_them(unknown):
    rows, _ = table(noise=4.0)
    scores = {} if unknown == "ceiling" else {"expert_return": 100.0}
    rows["episodes"] = [0 if unknown == "episodes" else 8] * len(rows["params"])
    wide, said = widths(rows, (None, 8, 128), **scores)
    assert said == [None] * 3
    assert len(set(wide)) == 1


def test_an_agent_plays_one_episode_at_least():
    with pytest.raises(SpecError, match="episodes must be at least 1"):
        laws.fit(table()[0]).forecast(1e21, episodes=0)


@pytest.mark.parametrize(("ahead", "scores"), [(3.0, {}), (0.5, {"expert_return": 100.0})])
def test_no_sources_are_told_of_an_interval_that_is_not_the_links(ahead, scores):
    rows, _ = table(noise=3.0)
    fitted = laws.fit(rows, random_return=1.0, **scores)
    said = fitted.forecast(ahead * fitted.last_budget_, agents=3, episodes=50)
    assert said.episodes is None
    assert set(said.method["return_by_loss"]) == {"rank_correlation"}
    told = "\n".join(forecast_text(said.to_json()))
    assert "of the variance" not in told
    assert "that of the return is one agent's" in told


@pytest.mark.parametrize(("episodes", "said"), [(1, "1 episode of an"), (2, "2 episodes of an")])
def test_episodes_are_counted_in_words(episodes, said):
    rows, _ = table(noise=3.0)
    rows["episodes"] = np.full(len(rows["flops"]), 10)
    fitted = laws.fit(rows, expert_return=100.0, random_return=1.0)
    forecast = fitted.forecast(3 * fitted.last_budget_, episodes=episodes)
    assert said in "\n".join(forecast_text(forecast.to_json()))
