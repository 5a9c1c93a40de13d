"""What uniformly random play scores, measured here: `python benchmarks/random_scores.py` writes it.

Each row: mean, its standard error, whole episodes played, and how many of those were cut short by
the time allowed to a game. A row with cut episodes is kept for the record and gives no score.
"""

from typing import NamedTuple


class RandomScore(NamedTuple):
    """Mean score of random play with its standard error, over `episodes`, `cut` of them unfinished."""

    mean: float
    se: float
    episodes: int
    cut: int


def random_score(name: str) -> float | None:
    """The mean score of random play in a game, or None where no whole episodes were measured."""
    row = RANDOM_SCORES.get(name)
    return row.mean if row is not None and row.cut == 0 else None


RANDOM_SCORES: dict[str, RandomScore] = {
    "toy": RandomScore(2.0759, 0.0125, 10000, 0),
    "atari/Breakout": RandomScore(0.79167, 0.19, 24, 0),
    "atari/Pong": RandomScore(-20.375, 0.155, 16, 0),
}
