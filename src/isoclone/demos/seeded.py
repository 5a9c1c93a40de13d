"""Whether a game's episodes follow from their seeds: a recording can be made again only then."""

from __future__ import annotations

from contextlib import closing

import numpy as np

from isoclone.base.errors import IsocloneError
from isoclone.games import Game, action_sizes, make_env
from isoclone.games.actions import random_actions

STEPS = 10
SEED = 7


def ignored_seed(game: Game) -> str | None:
    """Return in words where two episodes of one seed and the same actions differ, None if nowhere.

    One environment is made, and plays their first steps at random. A game that fails meanwhile is
    left to those who play it in earnest.
    """
    try:
        with closing(make_env(game)) as env:
            sizes = action_sizes(game)
            seen: list[list[tuple[bytes, float]]] = []
            for _ in range(2):
                rng = np.random.default_rng(0)
                told = [(env.reset(SEED).tobytes(), 0.0)]
                seen.append(told)
                for _ in range(STEPS):
                    frame, reward, terminated, truncated = env.step(random_actions(sizes, rng))
                    told.append((frame.tobytes(), reward))
                    if terminated or truncated:
                        break
    except IsocloneError:
        return None
    for step, (one, other) in enumerate(zip(*seen, strict=False)):
        if one != other:
            where = "the first frame" if step == 0 else f"step {step}"
            return f"{game.name} ignores its seed: two resets with one seed differ in {where}"
    return None
