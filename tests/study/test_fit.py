"""How many episodes a forecast's agents need."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from laws_truth import study
from support import tiny_spec

import isoclone.laws as laws
from isoclone.base.records import Forecast, Interval
from isoclone.study.fit import WIDER, forecast_agents


def fitted(noise, episodes):
    """The laws of runs whose returns, of so many episodes, have that SE."""
    rows = study(noise=0.003, budgets=7, seed=1)
    log_loss, rng = np.log(rows["dev_loss"]), np.random.default_rng(0)
    back = 1 + 99 / (1 + np.exp(12 * (log_loss - np.median(log_loss))))
    rows["return_mean"] = list(back + rng.normal(0, noise, len(back)))
    rows["return_se"], rows["episodes"] = [noise] * len(back), [episodes] * len(back)
    return laws.fit(rows, random_return=1.0, expert_return=100.0)


def spec(**fields):
    return replace(tiny_spec(), budgets_flops=(1e19, 3e20), **fields)


def width(forecast):
    return forecast.return_mean.high - forecast.return_mean.low


@pytest.mark.parametrize("noise", [1.0, 4.0])
def test_agents_play_the_fewest_episodes_that_keep_the_returns_interval(noise):
    law, asked = fitted(noise, 8), spec(episodes=8, forecast_episodes=400, forecast_seeds=2)
    said = forecast_agents(law, asked)
    most, less = (
        law.forecast(asked.forecast_budget, agents=2, episodes=count)
        for count in (200, said.episodes - 1)
    )
    assert 8 < said.episodes < 200
    assert width(said) <= WIDER * width(most)
    assert width(less) > WIDER * width(most)
    assert (said.agents, said.flops) == (2, asked.forecast_budget)


def test_runs_that_differ_more_than_their_episodes_need_no_more_than_a_point():
    said = forecast_agents(fitted(0.05, 8), spec(episodes=8, forecast_episodes=400))
    assert said.episodes == 8


@pytest.mark.parametrize(("allowed", "each"), [(6, 3), (7, 4)])
def test_fewer_are_played_than_at_a_point_where_no_more_are_allowed(allowed, each):
    asked = spec(episodes=8, forecast_episodes=allowed, forecast_seeds=2)
    assert forecast_agents(fitted(4.0, 8), asked).episodes == each


@pytest.mark.parametrize(("episodes", "allowed"), [(0, 400), (8, 0)])
def test_nothing_is_said_where_episodes_are_not_known_or_none_is_played(episodes, allowed):
    said = forecast_agents(fitted(4.0, episodes), spec(episodes=8, forecast_episodes=allowed))
    assert said.episodes is None


@dataclass
class LawOfMine:
    """A user's law whose interval narrows with the episodes, from a low end that stays."""

    low: float | None

    def forecast(self, flops, agents=1, episodes=None):
        any_size, high = Interval(1.0, 1.0, 1.0), 50 + 50 / np.sqrt(episodes or 8)
        back = Interval(50.0, self.low, high)
        return Forecast(
            flops, any_size, any_size, any_size, back, 0.0, agents=agents, episodes=episodes
        )


@pytest.mark.parametrize(("low", "each"), [(0.001, 31), (0.0, 31), (-0.001, 31), (None, 8)])
def test_an_end_at_zero_is_an_end_and_an_open_one_is_none(low, each):
    asked = spec(episodes=8, forecast_episodes=64)
    assert forecast_agents(LawOfMine(low), asked).episodes == each


@dataclass
class LawOfLosses:
    """A user's law that has a word for episodes and none for returns."""

    def forecast(self, flops, agents=1, episodes=None):
        any_size = Interval(1.0, 1.0, 1.0)
        return Forecast(flops, any_size, any_size, any_size, None, 0.0, episodes=episodes)


def test_a_law_without_returns_asks_for_no_fewer_episodes():
    asked = spec(episodes=8, forecast_episodes=64)
    assert forecast_agents(LawOfLosses(), asked).episodes == 64
