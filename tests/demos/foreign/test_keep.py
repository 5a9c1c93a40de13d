"""`demos_from`: episodes of others become demonstrations like our own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from foreign_play import cartpole, check_same, snapshot
from gymnasium import spaces

import isoclone as ic
from isoclone.base.errors import DataError, SpecError, SpecMismatchError
from isoclone.demos import FrameDemonstrations, open_demos

PLAY = cartpole()


def test_episodes_become_demonstrations_of_data(tmp_path):
    demos = ic.demos_from(PLAY, path=tmp_path / "d", expert="rules")
    check_same(demos, PLAY)
    assert open_demos(tmp_path / "d") == demos
    assert (demos.game_name, demos.expert_name, demos.n_actions) == ("data", "rules", 2)
    assert demos.game().frame == demos.frame
    ends = [info.end for info in demos.episodes]
    assert ends == ["terminated" if one.terminated else "truncated" for one in PLAY]
    assert demos.score()[0] == pytest.approx(np.mean([one.rewards.sum() for one in PLAY]))


def test_a_named_game_gives_the_fingerprint_of_its_own_recording(tmp_path):
    own = ic.record("random", "gym/CartPole-v1", samples=60, path=tmp_path / "own")
    episodes = [
        (e.frames, np.asarray(e.actions), e.rewards, i.end == "terminated", i.end == "truncated")
        for i, e in zip(own.episodes, own, strict=True)
    ]
    again = ic.demos_from(episodes, path=tmp_path / "again", game="gym/CartPole-v1")
    assert again.fingerprint == own.fingerprint
    assert again.dev_episodes == own.dev_episodes


def test_a_second_call_keeps_what_is_equal_and_refuses_what_differs(tmp_path):
    path = tmp_path / "d"

    def breaks_off():
        yield from PLAY[:5]
        raise OSError("the disk is gone")

    with pytest.raises(DataError, match="reading episode 5 failed: OSError: the disk is gone"):
        ic.demos_from(breaks_off, path=path)
    before = snapshot(path / "episodes")
    with pytest.raises(DataError, match="unfinished"):
        open_demos(path)
    demos = ic.demos_from(PLAY, path=path)
    after = snapshot(path / "episodes")
    assert {name: after[name] for name in before} == before
    whole = snapshot(path)
    assert ic.demos_from(PLAY, path=path) == demos
    assert snapshot(path) == whole
    for others in (PLAY[:-1], [*PLAY, PLAY[0]], [*PLAY[::-1]]):
        with pytest.raises(SpecMismatchError, match="holds other demonstrations"):
            ic.demos_from(others, path=path)
    with pytest.raises(SpecMismatchError, match="expert"):
        ic.demos_from(PLAY, path=path, expert="another")
    assert snapshot(path) == whole


def test_a_torn_episode_is_written_again(tmp_path):
    demos = ic.demos_from(PLAY, path=tmp_path)
    (tmp_path / "demonstrations.json").unlink()
    file = demos.episode_path(2)
    file.write_bytes(file.read_bytes()[:100])
    assert ic.demos_from(PLAY, path=tmp_path).fingerprint == demos.fingerprint


def test_a_reused_array_is_copied(tmp_path):
    def reuses():
        seen, actions = np.zeros((3, 2), np.float32), np.zeros(2, np.int64)
        for number in range(4):
            seen[:], actions[:] = number, number
            yield seen, actions, None, True, False

    demos = ic.demos_from(reuses, path=tmp_path)
    assert [float(e.frames[0, 0]) for e in demos] == [0, 1, 2, 3]
    assert [int(e.actions[0]) for e in demos] == [0, 1, 2, 3]


def change(**what: Any) -> tuple[Any, ...]:
    return PLAY[3]._replace(**what)


NAN = PLAY[3].observations.copy()
NAN[4, 1] = np.nan
UNFIT = {
    "no steps": (change(actions=np.zeros(0, int)), "it has no steps"),
    "lengths": (change(actions=PLAY[3].actions[:-2]), "21 observations and 18 actions"),
    "nan": (change(observations=NAN), "observation 4: 1 of 4 numbers .* not finite"),
    "reward": (change(rewards=np.full(20, np.inf)), "reward 0 of 20 is not finite"),
    "rewards": (change(rewards=np.ones(19)), r"rewards have shape \(19,\), not \(20,\)"),
    "floats": (change(actions=PLAY[3].actions + 0.5), "actions are float64"),
    "early end": (change(terminated=np.arange(20) == 7), "terminated is set at step 7 of 20"),
    "shape": (change(observations=np.ones((21, 5))), r"shape \(5,\), its space says \(4,\)"),
    "text": (change(observations=["a"] * 20), "cannot be read|its space says"),
    "objects": (change(actions=[None] * 20), "actions holds object"),
    "not five": ((1, 2, 3), "an episode is .*, not tuple of 3"),
    "ragged": (change(actions=[[1], [1, 2]] * 10), "cannot be read as an array"),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_an_unfit_episode_is_left_out_and_said(tmp_path, kind):
    unfit, reason = UNFIT[kind]
    told: list[str] = []
    demos = ic.demos_from([*PLAY, unfit, unfit], path=tmp_path / "d", tell=told.append)
    check_same(demos, PLAY)
    assert demos.imported is not None
    assert demos.imported["left_out"] == 2
    (line,) = told
    assert line.startswith("left out 2: episode 8: ")
    assert any("left out 2" in said for said in demos.lines())
    with pytest.raises(DataError, match=reason):
        ic.demos_from([*PLAY, unfit], path=tmp_path / "e", refuse_damaged=True)
    with pytest.raises(DataError, match="nothing could be imported"):
        ic.demos_from([(None,) * 5], path=tmp_path / "f")
    assert not (tmp_path / "f").exists()


def test_choices_that_cannot_be_counted_refuse_the_whole_import(tmp_path):
    for shift, said in ((-1, "^actions begin at -1, .*subtract"), (40_000, "say how many there")):
        shifted = [*PLAY[:4], change(actions=PLAY[3].actions + shift), *PLAY[4:]]
        with pytest.raises(SpecError, match=said) as caught:
            ic.demos_from(shifted, path=tmp_path / f"{shift}")
        assert "[" not in str(caught.value)
    least = [one._replace(actions=one.actions - 1) for one in PLAY]
    space = {"discrete": 2, "start": -1}
    check_same(ic.demos_from(least, path=tmp_path / "said", action_space=space), PLAY)


def test_single_actions_are_read_with_and_without_an_axis(tmp_path):
    seen = np.zeros((6, 2), np.float32)
    ways = [lambda a: a, lambda a: a[:, None], lambda a: a.tolist()]
    numbers, said = np.linspace(-1, 1, 6), {"action_space": "-1:1", "bins": 4}
    prints = set()
    for k, way in enumerate(ways):
        episodes = [(seen, way(numbers), None, True, False)] * 2
        demos = ic.demos_from(episodes, path=tmp_path / f"{k}", **said)
        assert demos.imported["left_out"] == 0
        prints.add(demos.fingerprint)
    assert len(prints) == 1
    with pytest.raises(DataError) as caught:
        ic.demos_from([(seen, [np.ones(3)] * 6, None, True, False)], path=tmp_path / "x", **said)
    assert "array(" not in str(caught.value)
    assert "np." not in str(caught.value)


def test_whole_numbers_stored_as_floats_are_pointed_out(tmp_path):
    floats = [one._replace(actions=one.actions.astype(float)) for one in PLAY]
    with pytest.raises(SpecError, match=r"bounds are not known.*store them as integers"):
        ic.demos_from(floats, path=tmp_path)


ODD_ACTIONS = {
    "from 1": ([1, 2, 1, 2], "1 of 3 choices (0 to 2) are never taken; if they are counted from 1"),
    "wrapped": ([0, 1, 255, 1], "253 of 256 choices (0 to 255) are never taken"),
    "one-hot": ([[1, 0], [0, 1], [1, 0], [0, 1]], "each action is a 1 among 2 numbers"),
    "all taken": ([0, 1, 2, 0], None),
    "two, one taken": ([0, 0, 0, 0], None),
    "two switches": ([[1, 1], [0, 1], [1, 0], [0, 0]], None),
}


@pytest.mark.parametrize("kind", ODD_ACTIONS)
def test_choices_that_are_never_taken_are_said(tmp_path, kind):
    actions, said = ODD_ACTIONS[kind]
    episode = np.ones((4, 2), np.float32), np.array(actions), None, True, False
    told: list[str] = []
    demos = ic.demos_from([episode] * 3, path=tmp_path / "d", tell=told.append)
    assert [line[: len(said or "")] for line in told] == ([said] if said else [])
    assert demos.remarks() == told


def test_rewards_too_large_to_be_summed_leave_out_their_episode(tmp_path):
    seen, actions = np.ones((4, 2), np.float32), np.array([0, 1, 0, 1])
    episodes = [
        (seen + k, actions, [value] * 4, True, False) for k, value in enumerate((1, 1e308, 2))
    ]
    demos = ic.demos_from(episodes, path=tmp_path / "d")
    assert demos.imported["left_out"] == 1
    assert "too large to be summed" in demos.imported["why"][0][1]


def test_rewards_that_are_missing_stay_missing(tmp_path):
    demos = ic.demos_from([one._replace(rewards=None) for one in PLAY], path=tmp_path)
    assert {info.episode_return for info in demos.episodes} == {None}
    assert np.isnan(demos.score()).all()
    assert demos.summary()["score_mean"] is None
    assert "returns unknown (no rewards)" in demos.lines()[0]
    assert demos.game().expert_score is None


def continuous(bounds: float = 1.0):
    rng = np.random.default_rng(0)
    for _ in range(4):
        seen = {"place": rng.normal(size=(6, 2)), "goal": rng.integers(0, 3, 6)}
        yield seen, rng.uniform(-bounds, bounds, (6, 2)), None, None, None


def test_spaces_are_asked_for_where_they_cannot_be_known(tmp_path):
    goal = spaces.Dict({"place": spaces.Box(-np.inf, np.inf, (2,)), "goal": spaces.Discrete(3)})
    with pytest.raises(SpecError, match="how many there are"):
        ic.demos_from(continuous, path=tmp_path / "a", action_space="-1:1")
    with pytest.raises(SpecError, match="bounds are not known"):
        ic.demos_from(continuous, path=tmp_path / "a", observation_space=goal)
    with pytest.raises(SpecError, match="give either a game"):
        ic.demos_from(PLAY, path=tmp_path / "a", game="toy", action_space="2")
    with pytest.raises(SpecError, match="is no space"):
        ic.demos_from(PLAY, path=tmp_path / "a", action_space="two")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("odd", ["up", {"a": 1}, {"a": 1, "c": 2}, (1, 2), None], ids=str)
def test_observations_that_are_not_alike_are_refused(tmp_path, odd):
    sound = {"a": np.ones(2), "b": np.zeros(1)}
    unfit = [sound, odd, sound], np.arange(3), None, None, None
    fit = [sound] * 3, np.arange(3), None, None, None
    demos = ic.demos_from([unfit, fit, fit], path=tmp_path / "d")
    assert (len(demos.episodes), demos.imported["left_out"]) == (2, 1)


def test_other_frames_than_the_game_has_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"observations have shape \(4,\), not \(12, 12\)"):
        ic.demos_from(PLAY, path=tmp_path / "d", game="toy")


def test_a_place_that_is_taken_is_refused_before_anything_is_read(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(SpecError, match="not empty"):
        ic.demos_from(iter(()), path=tmp_path)
    with pytest.raises(DataError, match="one episode cannot be split"):
        ic.demos_from(PLAY[:1], path=tmp_path / "one")


def test_the_source_is_no_part_of_the_fingerprint(tmp_path):
    prints = {
        ic.demos_from(PLAY, path=tmp_path / name, source=name).fingerprint for name in ("a", "b")
    }
    assert len(prints) == 1
    assert FrameDemonstrations.open(tmp_path / "a").imported["source"] == "a"
