"""Looking experts up, scripted ones, callables, and how all of them are scored."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from isoclone.base.errors import DataError, SpecError, UnknownNameError
from isoclone.experts import EXPERTS, View, expert, expert_names, score_expert
from isoclone.experts.base import RandomExpert
from isoclone.experts.scripts.breakout import between_walls
from isoclone.games import game
from isoclone.games.random_scores import RANDOM_SCORES, random_score

NOOP, FIRE, RIGHT, LEFT = range(4)  # Breakout's minimal action set


def test_importing_experts_is_light():
    code = "import sys, isoclone.experts; print({'torch', 'stable_baselines3'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"


def test_names():
    assert {"scripted", "lookahead", "random", "sb3/"} <= set(expert_names())
    with pytest.raises(UnknownNameError, match="did you mean scripted"):
        expert("scriptd", game("toy"))
    with pytest.raises(UnknownNameError, match="scripted expert"):
        expert("scripted", game("atari/Pong"))
    with pytest.raises(UnknownNameError, match="did you mean ace"):
        expert("scripted", game("atari/Breakout"), variant="acer")
    with pytest.raises(SpecError, match="wobble"):
        expert("scripted", game("atari/Breakout"), wobble=1)


def test_a_callable_is_an_expert():
    toy = game("toy")
    shapes = []

    def still(observation):
        shapes.append(observation.shape)
        return 1

    result = score_expert(expert(still, toy), toy, episodes=3)
    assert set(shapes) == {(2, 12, 12)}
    assert result.action_frequencies == (0.0, 1.0, 0.0)
    assert result.episodes == len(result.scores) == 3


def test_an_action_that_is_not_there_is_named():
    with pytest.raises(DataError, match="chose action 3; toy has 0 to 2"):
        score_expert(expert(lambda observation: 3, game("toy")), game("toy"), episodes=1)


def test_a_registered_expert_is_found():
    EXPERTS.add("test-random", lambda game: RandomExpert(game.n_actions, name="mine"))
    assert expert("test-random", game("toy")).name == "mine"


def test_scores_have_errors_and_do_not_depend_on_company():
    toy = game("toy")
    player = expert("scripted", toy)
    many = score_expert(player, toy, episodes=6, seed=3)
    few = score_expert(player, toy, episodes=4, seed=3)
    assert many.scores[:4] == few.scores
    assert many.se == pytest.approx(np.std(many.scores, ddof=1) / np.sqrt(6))
    assert many.mean > 2 * toy.random_score
    assert score_expert(player, toy, episodes=1).se is None
    with pytest.raises(SpecError, match="episodes"):
        score_expert(player, toy, episodes=0)


def test_truncated_episodes_are_counted_as_such():
    toy = game("toy", max_steps=5)
    result = score_expert(expert("random", toy), toy, episodes=2)
    assert (result.truncated, result.steps) == (2, 10)


@pytest.mark.parametrize(
    ("options", "least"),
    [
        ({}, 20),
        ({"dead_band": 12, "jitter": 3, "lead": 0, "hold_fire": False}, 5),
        ({"variant": "ace", "hold_fire": False}, 60),
    ],
)
def test_scripted_breakout_plays(options, least):
    breakout = game("atari/Breakout")
    result = score_expert(expert("scripted", breakout, **options), breakout, episodes=1)
    assert result.mean >= least
    rests = result.action_frequencies[NOOP if "hold_fire" in options else FIRE]
    assert rests > 0.5
    assert min(result.action_frequencies[RIGHT], result.action_frequencies[LEFT]) > 0.1


def test_scripted_experts_use_only_the_chance_of_the_episode():
    breakout = game("atari/Breakout", max_steps=60)
    once, again = (
        score_expert(expert("scripted", breakout, variant="ace"), breakout, 2) for _ in range(2)
    )
    assert once.action_frequencies == again.action_frequencies


@pytest.mark.parametrize(("x", "folded"), [(100, 100), (57, 57), (50, 64), (210, 190), (343, 57)])
def test_a_ball_stays_between_the_walls(x, folded):
    assert between_walls(x) == folded


def test_random_scores_are_measured_and_honest():
    breakout = RANDOM_SCORES["atari/Breakout"]
    assert breakout.episodes >= 8
    assert game("atari/Breakout").random_score == breakout.mean
    assert game("atari/Breakout", max_steps=50).random_score is None  # another game, unmeasured
    cut = [name for name, row in RANDOM_SCORES.items() if row.cut]
    assert all(random_score(name) is None for name in cut)
    assert random_score("atari/NoSuchGame") is None


def test_two_player_roms_are_unknown_rather_than_the_end_of_the_process():
    with pytest.raises(UnknownNameError, match="Combat"):
        game("atari/Combat")


def test_views_hand_out_padded_stacks():
    frames = [np.full((2, 2), i) for i in range(2)]
    view = View(None, np.random.default_rng(0), 4, frames)
    assert view.observation()[:, 0, 0].tolist() == [0, 0, 0, 1]


def test_the_page_on_experts_runs(capsys):
    page = Path(__file__).parents[2] / "docs" / "experts.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.S)
    assert blocks
    for block in blocks:
        exec(block, {})
    assert "random play scores" in capsys.readouterr().out
