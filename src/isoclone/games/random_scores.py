"""What uniformly random play scores, measured here: `python benchmarks/random_scores.py` writes it.

Each row: mean, its standard error, whole episodes played, and how many of those were cut short by
the time allowed to a game. A row with cut episodes is kept for the record and gives no score.
"""

from typing import NamedTuple


class RandomScore(NamedTuple):
    """Mean score of random play, its standard error, the episodes, and how many were cut."""

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
    "atari/Adventure": RandomScore(0.0, 0.0, 8, 6),
    "atari/AirRaid": RandomScore(756.25, 90.0, 16, 0),
    "atari/Alien": RandomScore(186.88, 6.1, 16, 0),
    "atari/Amidar": RandomScore(2.9167, 0.622, 24, 0),
    "atari/Assault": RandomScore(251.12, 14.1, 24, 0),
    "atari/Asterix": RandomScore(260.42, 19.7, 24, 0),
    "atari/Asteroids": RandomScore(1055.0, 172.0, 8, 0),
    "atari/Atlantis": RandomScore(18706.0, 1880.0, 16, 0),
    "atari/Atlantis2": RandomScore(97.708, 7.96, 24, 0),
    "atari/Backgammon": RandomScore(0.0, 0.0, 8, 8),
    "atari/BankHeist": RandomScore(18.75, 2.02, 24, 0),
    "atari/BasicMath": RandomScore(0.083333, 0.0576, 24, 0),
    "atari/BattleZone": RandomScore(1375.0, 375.0, 8, 0),
    "atari/BeamRider": RandomScore(396.0, 62.2, 8, 0),
    "atari/Berzerk": RandomScore(167.08, 30.1, 24, 0),
    "atari/Blackjack": RandomScore(-189.25, 9.4, 8, 2),
    "atari/Bowling": RandomScore(23.812, 1.79, 16, 0),
    "atari/Boxing": RandomScore(0.625, 1.37, 8, 0),
    "atari/Breakout": RandomScore(0.79167, 0.19, 24, 0),
    "atari/Carnival": RandomScore(783.33, 78.4, 24, 0),
    "atari/Casino": RandomScore(-988.75, 1.25, 8, 0),
    "atari/Centipede": RandomScore(2238.4, 216.0, 24, 0),
    "atari/ChopperCommand": RandomScore(725.0, 119.0, 8, 0),
    "atari/CrazyClimber": RandomScore(9087.5, 1120.0, 8, 1),
    "atari/Crossbow": RandomScore(18.75, 13.2, 8, 2),
    "atari/Darkchambers": RandomScore(48.75, 20.0, 8, 8),
    "atari/Defender": RandomScore(3012.5, 630.0, 8, 0),
    "atari/DemonAttack": RandomScore(140.0, 18.8, 16, 0),
    "atari/DonkeyKong": RandomScore(106.25, 21.3, 16, 0),
    "atari/Pong": RandomScore(-20.375, 0.155, 16, 0),
}
