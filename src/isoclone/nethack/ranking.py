"""Rank games of NetHack as the NetHack Challenge 2021 did, and count what ended them.

The Challenge ranks agents by the number of ascensions, then by the median score, then by the mean
score. The score is that of the bottom line when play ended, as in the Challenge's reward.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import bdtr  # `scipy.stats` takes .4 s to import

from isoclone.base.formatting import plus_minus
from isoclone.games.accounts import EpisodeAccount, EpisodeTable

FEW = 10  # games, below which a group's figures say little
MOST = 12  # causes that a table shows one by one
UNKNOWN = "not recorded"
ASCENDED = "ascended"
HEAD = ("games", "ascensions", "median score", "mean score", "deepest level", "turns")
FEW_NOTE = f"'few': fewer than {FEW} games, whose figures say little."
CAUSE_NOTE = (
    "A cause is the killer without article, name, god or the state its victim was in ('while "
    "praying'); deaths of one kind of food count together."
)

Facts = dict[str, Any]

_PREFIX = re.compile(
    r"^(killed|poisoned|burned|petrified|crushed to death|turned to slime) by |^died of "
)
_DROWNED = re.compile(r"^(drowned|dissolved) in .*? by |^(?=drowned|dissolved)")
_ARTICLE = re.compile(r"^(an?|the) ")
_STATE = re.compile(r"^(invisible|saddled|hallucinogen-distorted|peaceful|tame) ")
_NAME = re.compile(r" (called|named) .*$")
_GOD = re.compile(r" of [A-Z].*$")
_TITLE = re.compile(r"^[A-Z][^,]*, the ")
_HIMSELF = re.compile(r"\b(himself|herself|itself)\b")


def cause(facts: Facts) -> str:
    """Return the group that the end of a game belongs to.

    A game that was cut off is 'cut off: step limit' (or 'no progress'). Of NetHack's words the
    state (", while praying"), the verb ("killed by"), articles, given names, the god of a minion
    or of a wrath, and the name of a shopkeeper are dropped. 'choked on ...' is 'choking',
    'rotted ... corpse' is 'rotted corpse', 'himself' and 'herself' are 'oneself'. What is left is
    NetHack's own word.

    >>> cause({"end": "terminated", "death": "killed by a jackal, while praying"})
    'jackal'
    >>> cause({"end": "terminated", "death": "killed by the wrath of Chih Sung-tzu"})
    'wrath'
    """
    end, death = facts.get("end"), facts.get("death")
    if end not in (None, "terminated"):
        return f"cut off: {end}"
    if not death:
        return UNKNOWN
    words = re.split(r",? while ", str(death), maxsplit=1)[0]
    if words.startswith("choked on"):
        return "choking"
    if words.startswith("escaped"):
        return "escaped the dungeon"
    words = _DROWNED.sub("", _PREFIX.sub("", words))
    words = _ARTICLE.sub("", _TITLE.sub("", words))
    words = _STATE.sub("", words)
    words = _HIMSELF.sub("oneself", _GOD.sub("", _NAME.sub("", words)))
    return "rotted corpse" if re.fullmatch(r"rotted .*corpse", words) else words


def role_of(facts: Facts) -> str:
    """Return the role that NetHack logged, as in 'Mon'; older facts have it in 'character'."""
    return _part(facts, "role", 0)


def race_of(facts: Facts) -> str:
    """Return the race that NetHack logged, as in 'Hum'; older facts have it in 'character'."""
    return _part(facts, "race", 1)


def _part(facts: Facts, name: str, place: int) -> str:
    parts = str(facts.get("character") or "").split("-")
    return facts.get(name) or (parts[place].capitalize() if len(parts) == 4 else UNKNOWN)


GROUPS: dict[str, Callable[[Facts], str]] = {"role": role_of, "race": race_of, "cause": cause}


@dataclass(frozen=True)
class Ranking:
    """The figures by which the Challenge ranks; None where no game has such a fact.

    Attributes:
        scored: games that have a score; the others (a process died) are in `games` alone.
        median_low: lower end of a 95 % interval of the median, by order statistics; None of fewer
            than 6 games.
        median_high: its upper end.
        depth: mean of the deepest levels reached.
        turns: mean number of game turns.
    """

    games: int
    scored: int
    ascensions: int
    median_score: float | None
    median_low: float | None
    median_high: float | None
    mean_score: float | None
    mean_score_se: float | None
    depth: float | None
    turns: float | None

    @property
    def order(self) -> tuple[float, ...]:
        """Return what the Challenge sorts by; the greater, the better."""
        least = -np.inf
        return (
            self.ascensions,
            least if self.median_score is None else self.median_score,
            least if self.mean_score is None else self.mean_score,
        )

    @property
    def cells(self) -> list[str]:
        """Return the figures after the number of games as text, in the order of `HEAD`."""
        return [
            str(self.ascensions),
            _text(self.median_score),
            "-" if self.mean_score is None else plus_minus(self.mean_score, self.mean_score_se, 0),
            _text(self.depth, 1),
            _text(self.turns),
        ]


def ranking(games: Sequence[Facts]) -> Ranking:
    """Return the Challenge's figures of games, from the facts about each."""
    scores = _known(games, "score")
    low, high = _median_interval(scores)
    many = len(scores) > 1
    return Ranking(
        games=len(games),
        scored=len(scores),
        ascensions=sum(row.get("death") == ASCENDED for row in games),
        median_score=float(np.median(scores)) if len(scores) else None,
        median_low=low,
        median_high=high,
        mean_score=_mean(scores),
        mean_score_se=float(scores.std(ddof=1) / len(scores) ** 0.5) if many else None,
        depth=_mean(_known(games, "depth")),
        turns=_mean(_known(games, "turns")),
    )


def grouped(games: Sequence[Facts], of: Callable[[Facts], str]) -> dict[str, list[Facts]]:
    """Return games by their group, the largest first, then by name."""
    found: dict[str, list[Facts]] = {}
    for row in games:
        found.setdefault(of(row), []).append(row)
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))


def account(games: Sequence[Facts]) -> EpisodeAccount:
    """Return the ranking of an agent's games, and tables of it by role, race and cause."""
    whole = ranking(games)
    by = {
        name: {key: ranking(rows) for key, rows in grouped(games, of).items()}
        for name, of in GROUPS.items()
    }
    figures = {
        "ranking": asdict(whole),
        "few_games": FEW,
        **{
            f"by_{name}": [
                {name: key, "share": r.games / len(games), "few": r.games < FEW, **asdict(r)}
                for key, r in groups.items()
            ]
            for name, groups in by.items()
        },
    }
    tables = [table(f"By {name}", name, groups, len(games)) for name, groups in by.items()]
    few = any(r.games < FEW for groups in by.values() for r in groups.values())
    notes = [*([FEW_NOTE] if few else []), CAUSE_NOTE]
    return EpisodeAccount(figures, [said(whole)], tables, notes)


def said(whole: Ranking) -> str:
    """Return the ranking as a sentence, in the Challenge's order."""
    text = f"{whole.games} games: {whole.ascensions} ascensions"
    if whole.median_score is None or whole.mean_score is None:
        return f"{text}, no score recorded"
    ends = ""
    if whole.median_low is not None:
        ends = f" [{_text(whole.median_low)}, {_text(whole.median_high)}]"
    text += f", median score {_text(whole.median_score)}{ends}"
    text += f", mean score {plus_minus(whole.mean_score, whole.mean_score_se, 0)}"
    lost = whole.games - whole.scored
    return f"{text}; {lost} without a score" if lost else text


def table(title: str, name: str, groups: dict[str, Ranking], games: int) -> EpisodeTable:
    """Return groups as a table; the rarest causes beyond `MOST` are counted in one row."""
    shown = list(groups.items())[:MOST]
    rows = [[key, _games(r.games, games), *r.cells] for key, r in shown]
    rest = list(groups.values())[MOST:]
    if rest:
        count, ascended = sum(r.games for r in rest), sum(r.ascensions for r in rest)
        others = [_games(count, games), str(ascended), *["-"] * (len(HEAD) - 2)]
        rows.append([f"{len(rest)} others", *others])
    return EpisodeTable(title, (name, *HEAD), rows)


def _games(count: int, of: int) -> str:
    return f"{count} ({100 * count / of:.0f} %){', few' if count < FEW else ''}"


def _text(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _known(games: Sequence[Facts], name: str) -> np.ndarray:
    """Return the values of a fact, (n,) float, of the games that have it."""
    return np.array([row[name] for row in games if row.get(name) is not None], float)


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _median_interval(values: np.ndarray) -> tuple[float | None, float | None]:
    """Return a 95 % interval of the median, whatever the distribution (Conover 1999, 3.2).

    Between the k-th smallest and the k-th largest value, k the largest number for which at most
    2.5 % of binomial draws (n, 1/2) are below it; None where n is too small for any.
    """
    n = len(values)
    k = int(np.searchsorted(bdtr(np.arange(n), n, 0.5), 0.025))
    if not k:
        return None, None
    ordered = np.sort(values)
    return float(ordered[k - 1]), float(ordered[n - k])
