"""Measured scores of uniformly random play; `python benchmarks/random_scores.py` writes this file.

Each row: mean, its standard error, whole episodes played, and how many of those were cut short by
the time limit of a game. A row with cut episodes is kept, but its score is not used.
"""

from typing import NamedTuple


class RandomScore(NamedTuple):
    """Mean score of random play, its standard error, the episodes, and how many were cut."""

    mean: float
    se: float
    episodes: int
    cut: int


def random_score(name: str) -> float | None:
    """Return the mean score of random play in a game, None if no whole episodes were measured."""
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
    "atari/CrazyClimber": RandomScore(9212.5, 1210.0, 8, 0),
    "atari/Crossbow": RandomScore(18.75, 13.2, 8, 2),
    "atari/Darkchambers": RandomScore(48.75, 20.0, 8, 8),
    "atari/Defender": RandomScore(3012.5, 630.0, 8, 0),
    "atari/DemonAttack": RandomScore(140.0, 18.8, 16, 0),
    "atari/DonkeyKong": RandomScore(106.25, 21.3, 16, 0),
    "atari/DoubleDunk": RandomScore(-18.0, 1.36, 8, 0),
    "atari/Earthworld": RandomScore(0.0, 0.0, 8, 8),
    "atari/ElevatorAction": RandomScore(0.0, 0.0, 8, 8),
    "atari/Enduro": RandomScore(0.0, 0.0, 8, 0),
    "atari/Entombed": RandomScore(3.0, 0.0, 16, 0),
    "atari/Et": RandomScore(0.0, 0.0, 8, 8),
    "atari/FishingDerby": RandomScore(-93.0, 1.07, 8, 0),
    "atari/FlagCapture": RandomScore(0.0, 0.0, 16, 0),
    "atari/Freeway": RandomScore(0.0, 0.0, 8, 0),
    "atari/Frogger": RandomScore(8.1875, 0.534, 16, 0),
    "atari/Frostbite": RandomScore(76.25, 9.61, 16, 0),
    "atari/Galaxian": RandomScore(767.5, 115.0, 8, 0),
    "atari/Gopher": RandomScore(268.75, 37.8, 16, 0),
    "atari/Gravitar": RandomScore(271.88, 41.3, 16, 0),
    "atari/Hangman": RandomScore(-1.0, 0.0, 16, 0),
    "atari/HauntedHouse": RandomScore(-18.5, 0.964, 8, 6),
    "atari/Hero": RandomScore(321.25, 261.0, 8, 0),
    "atari/HumanCannonball": RandomScore(1.0625, 0.309, 16, 0),
    "atari/IceHockey": RandomScore(-9.0, 0.732, 8, 0),
    "atari/Jamesbond": RandomScore(31.25, 11.1, 16, 0),
    "atari/JourneyEscape": RandomScore(-18425.0, 2390.0, 8, 0),
    "atari/Kaboom": RandomScore(3.5, 0.707, 16, 0),
    "atari/Kangaroo": RandomScore(62.5, 30.1, 16, 0),
    "atari/KeystoneKapers": RandomScore(18.75, 9.15, 8, 8),
    "atari/KingKong": RandomScore(93.75, 29.0, 8, 0),
    "atari/Klax": RandomScore(5.625, 4.03, 16, 0),
    "atari/Koolaid": RandomScore(37.5, 31.5, 16, 0),
    "atari/Krull": RandomScore(1865.0, 139.0, 8, 0),
    "atari/KungFuMaster": RandomScore(387.5, 109.0, 8, 0),
    "atari/LaserGates": RandomScore(52.5, 31.3, 16, 0),
    "atari/LostLuggage": RandomScore(36.562, 3.38, 16, 0),
    "atari/MarioBros": RandomScore(300.0, 210.0, 8, 0),
    "atari/MiniatureGolf": RandomScore(0.0, 0.0, 8, 8),
    "atari/MontezumaRevenge": RandomScore(0.0, 0.0, 16, 0),
    "atari/MrDo": RandomScore(2262.5, 499.0, 8, 0),
    "atari/MsPacman": RandomScore(226.88, 15.8, 16, 0),
    "atari/NameThisGame": RandomScore(2496.2, 80.4, 8, 0),
    "atari/Othello": RandomScore(3.375, 1.43, 8, 8),
    "atari/Pacman": RandomScore(15.438, 1.43, 16, 0),
    "atari/Phoenix": RandomScore(502.5, 85.9, 8, 0),
    "atari/Pitfall": RandomScore(-262.5, 128.0, 8, 0),
    "atari/Pitfall2": RandomScore(-947.62, 400.0, 8, 8),
    "atari/Pong": RandomScore(-20.375, 0.155, 16, 0),
    "atari/Pooyan": RandomScore(458.12, 118.0, 8, 0),
    "atari/PrivateEye": RandomScore(87.5, 12.5, 8, 0),
    "atari/Qbert": RandomScore(173.44, 41.7, 16, 0),
    "atari/Riverraid": RandomScore(1620.0, 85.8, 8, 0),
    "atari/RoadRunner": RandomScore(112.5, 76.9, 16, 0),
    "atari/Robotank": RandomScore(2.125, 0.581, 8, 0),
    "atari/Seaquest": RandomScore(67.5, 15.1, 8, 0),
    "atari/SirLancelot": RandomScore(4380.0, 2190.0, 8, 0),
    "atari/Skiing": RandomScore(-15421.0, 641.0, 8, 0),
    "atari/Solaris": RandomScore(2647.5, 347.0, 8, 0),
    "atari/SpaceInvaders": RandomScore(121.25, 18.9, 16, 0),
    "atari/SpaceWar": RandomScore(0.625, 0.324, 8, 8),
    "atari/StarGunner": RandomScore(600.0, 201.0, 8, 0),
    "atari/Superman": RandomScore(0.0, 0.0, 8, 8),
    "atari/Surround": RandomScore(-10.0, 0.0, 8, 0),
    "atari/Tennis": RandomScore(-24.0, 0.0, 8, 0),
    "atari/Tetris": RandomScore(0.0, 0.0, 16, 0),
    "atari/TicTacToe3d": RandomScore(-1.0, 0.0, 16, 0),
    "atari/TimePilot": RandomScore(3037.5, 691.0, 8, 0),
    "atari/Trondead": RandomScore(13.125, 3.5, 16, 0),
    "atari/Turmoil": RandomScore(288.75, 81.9, 16, 0),
    "atari/Tutankham": RandomScore(14.25, 5.06, 8, 0),
    "atari/UpNDown": RandomScore(375.0, 98.0, 8, 0),
    "atari/Venture": RandomScore(0.0, 0.0, 8, 0),
    "atari/VideoCheckers": RandomScore(0.0, 0.0, 8, 8),
    "atari/VideoChess": RandomScore(0.0, 0.0, 8, 8),
    "atari/VideoCube": RandomScore(0.0, 0.0, 8, 8),
    "atari/VideoPinball": RandomScore(20129.0, 8890.0, 8, 0),
    "atari/WizardOfWor": RandomScore(512.5, 119.0, 8, 0),
    "atari/WordZapper": RandomScore(0.375, 0.183, 8, 0),
    "atari/YarsRevenge": RandomScore(3704.0, 324.0, 8, 0),
    "atari/Zaxxon": RandomScore(0.0, 0.0, 8, 0),
}
