"""Unrolls: every frame once an epoch, in order, with exact neighbours."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("nle", reason="the extra 'nethack' is not installed")

from isoclone.base.errors import SpecError
from isoclone.games import game
from isoclone.nethack.recordings import (
    NldDemonstrations,
    NldGame,
    Unroll,
    Unrolls,
    import_nld,
    whole_games,
)

LENGTHS = (40, 530, 1, 77, 120)  # one longer than a stored batch


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> NldDemonstrations:
    """Games of the lengths above, played at random, the last two held out."""
    root = tmp_path_factory.mktemp("nld")
    for folder, lengths in (("a", LENGTHS[:3]), ("b", LENGTHS[3:])):
        (root / folder).mkdir()
        env = game("nethack").make_env(savedir=root / folder)
        keys = np.random.default_rng(0)
        rows = ["ttyrec,env_steps"]
        for seed, length in enumerate(lengths):
            rows.append(f"nle.{os.getpid()}.{seed}.ttyrec3.bz2,{length}")
            env.reset(seed)
            for _ in range(length):
                _, _, terminated, _ = env.step(int(keys.integers(16)))  # steps: no way to die soon
                assert not terminated
            env.quit("enough")
        env.close()
        (root / folder / "games.csv").write_text("\n".join(rows))
    return import_nld(root, tmp_path_factory.mktemp("store") / "demos", dev_folders=["b"])


@pytest.fixture(scope="module")
def games(demos: NldDemonstrations) -> list[NldGame]:
    found = list(demos)
    assert [len(g.actions) for g in found] == list(LENGTHS)
    return found


def check_frames(unroll: Unroll, games: list[NldGame], none: int) -> list[tuple[int, int]]:
    """Compare every frame with the game it is said to be from; returns (game, step) of each."""
    seen = []
    for t, b in np.ndindex(unroll.games.shape):
        index, step = int(unroll.games[t, b]), int(unroll.steps[t, b])
        if index < 0:
            assert unroll.actions[t, b] == -1
            continue
        one = games[index]
        assert unroll.actions[t, b] == one.actions[step]
        assert unroll.prev_actions[t, b] == (one.actions[step - 1] if step else none)
        np.testing.assert_array_equal(unroll.chars[t, b], one.chars[step])
        np.testing.assert_array_equal(unroll.colors[t, b], one.colors[step])
        np.testing.assert_array_equal(unroll.cursor[t, b], one.cursor[step])
        seen.append((index, step))
    return seen


def lane_frames(unrolls: list[Unroll], lane: int) -> list[tuple[int, int, bool]]:
    """(game, step, start) of a lane, in order."""
    columns = [
        np.concatenate([getattr(u, name)[:, lane] for u in unrolls]).tolist()
        for name in ("games", "steps", "starts")
    ]
    return list(zip(*columns, strict=True))


@pytest.mark.parametrize(("lanes", "unroll"), [(1, 64), (3, 7), (8, 32)])
def test_every_frame_once_an_epoch_in_order(demos, games, lanes, unroll):
    stream = Unrolls(demos, "train", lanes, unroll, seed=5)
    assert stream._order.steps == sum(LENGTHS[:3])
    taken = [stream.take(k) for k in range(2 * stream._order.steps // (lanes * unroll) + 1)]
    for one in taken:
        check_frames(one, games, demos.n_actions)
        assert one.samples == lanes * unroll
    for lane in range(lanes):
        frames = lane_frames(taken, lane)
        for before, (index, step, start) in zip([(-1, -1, False), *frames], frames, strict=False):
            goes_on = before[:2] == (index, step - 1)
            assert start != goes_on
    share = stream._order.steps // lanes
    first_epoch = Counter(
        frame[:2] for lane in range(lanes) for frame in lane_frames(taken, lane)[:share]
    )
    assert max(first_epoch.values()) == 1
    assert len(first_epoch) == share * lanes > stream._order.steps - lanes


def test_unrolls_are_a_function_of_seed_and_number(demos):
    stream = Unrolls(demos, "train", 4, 16, seed=1)
    taken = [stream.take(k) for k in range(20)]
    fresh = Unrolls(demos, "train", 4, 16, seed=1)
    for k in (19, 3, 4, 11):
        again = fresh.take(k)
        for part in fields(Unroll):
            np.testing.assert_array_equal(getattr(again, part.name), getattr(taken[k], part.name))
    other = Unrolls(demos, "train", 4, 16, seed=2)
    assert any((other.take(k).actions != taken[k].actions).any() for k in range(20))


def test_lanes_are_in_different_phases(demos):
    first = Unrolls(demos, "train", 8, 8, seed=0).take(0)
    assert len(set(first.steps[0].tolist())) > 4
    assert first.starts[0].all()


@pytest.mark.parametrize(("lanes", "unroll"), [(1, 50), (2, 33), (9, 64)])
def test_whole_games_once_each(demos, games, lanes, unroll):
    for split, lengths in (("train", LENGTHS[:3]), ("dev", LENGTHS[3:])):
        taken = list(whole_games(demos, split, lanes, unroll))
        seen = [frame for one in taken for frame in check_frames(one, games, demos.n_actions)]
        assert sorted(seen) == sorted(set(seen))
        assert len(seen) == sum(lengths) == sum(one.samples for one in taken)
        assert taken[0].games.shape[1] == min(lanes, len(lengths))
        assert all((one.starts == (one.steps == 0) & (one.games >= 0)).all() for one in taken)


def test_whole_games_up_to_a_limit(demos):
    taken = list(whole_games(demos, "dev", 2, 32, limit=50))
    counts = Counter(int(g) for one in taken for g in one.games.ravel() if g >= 0)
    assert counts == {3: 50, 4: 50}


def test_more_than_there_is_is_refused_in_one_line(demos):
    with pytest.raises(SpecError, match=r"64 lanes x 32 frames cannot be cut from the 571 frames"):
        Unrolls(demos, "train", 64, 32, seed=0)
    with pytest.raises(SpecError, match="0 lanes"):
        Unrolls(demos, "train", 0, 32, seed=0)


def test_a_key_that_is_no_action_is_nothing_to_learn(demos, tmp_path: Path):
    """Without an action for the key of a step, it is masked, and the next has no previous one."""
    import dataclasses

    key = games_key(demos)
    table = tuple(-1 if k == key else a for k, a in enumerate(demos.action_of_key))
    masked = dataclasses.replace(demos, action_of_key=table)
    for one, whole in zip(
        whole_games(masked, "dev", 2, 32), whole_games(demos, "dev", 2, 32), strict=True
    ):
        hidden = whole.actions == demos.action_of_key[key]
        assert ((one.actions == -1) == hidden | (whole.games < 0)).all()
        assert (one.prev_actions[1:][hidden[:-1]] == demos.n_actions).all()
        assert one.samples == whole.samples - hidden.sum()


def games_key(demos: NldDemonstrations) -> int:
    """A key that the held-out games press."""
    action = int(demos.read(3).actions[5])
    return demos.action_of_key.index(action)
