"""Players: experts that remember, with `reset(n)` and `act(observations)`.

A player keeps its memory to itself. It plays `n` episodes that begin together: `reset(n)` starts
them, and `act` is given `n` observations and gives `n` actions. The row of an episode that has
ended keeps its last observation, and its actions count for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from isoclone.base.errors import DataError, SpecError
from isoclone.experts.base import FIRE, View, must_serve
from isoclone.experts.draws import chosen
from isoclone.games import Game


@runtime_checkable
class Player(Protocol):
    """An expert with a memory of its own.

    A player may also define:

    | attribute | what for; without it |
    |---|---|
    | `name: str` | its name in tables and files; the class's |
    | `lockstep: int` | episodes to play side by side, the largest `n`; 1 |
    | `observes: str` | what `act` is given, a key of `OBSERVED`; "stack" |
    | `every: int` | agent steps from one `act` to the next; the action is held meanwhile; 1 |
    | `press_fire: bool` | press FIRE for it in Atari's games at the start and after each lost |
    |   | life, as wrappers of training do; False |
    | `greedy: bool` | take the likeliest action where `act` gives logits; False: drawn |
    | `recurrent: bool` | acts on what it saw earlier in an episode; False |
    | `chose(actions)` | told the `n` actions that were drawn of its logits, 0 where an episode |
    |   | has ended; nothing is told |
    | `notes: tuple[str, ...]` | what is assumed of it, for people, a line each; none |
    """

    def reset(self, n: int) -> None:
        """Forget all; `n` episodes begin."""
        ...

    def act(self, observations: Any) -> Any:
        """Return `n` actions, of integers, or logits of them, (n, n_actions) of floats.

        In a game with real numbers in its actions, floats of another shape are such actions.

        Actions are drawn from logits with the random generator of each episode, so that an episode
        does not depend on those beside it.
        """
        ...


def _screen(view: View, who: str) -> np.ndarray:
    seen = getattr(view.env, "observation", None)  # some environments show the screen itself
    if isinstance(seen, np.ndarray) and seen.dtype == np.uint8 and seen.shape[2:] == (3,):
        return seen
    return np.array(_asked(view, who, "screen_rgb", "rgb")())


def _ram(view: View, who: str) -> np.ndarray:
    return np.array(_asked(view, who, "ram", "ram")())


def _raw(view: View, who: str) -> Any:
    return _asked(view, who, "observation", "raw")


def _asked(view: View, who: str, name: str, word: str) -> Any:
    try:
        return getattr(view.env, name)
    except AttributeError as error:
        raise SpecError(
            f"{who} observes '{word}', and this game's environment has no `{name}`; "
            f"others are {', '.join(sorted(OBSERVED.keys() - {word}))}"
        ) from error


# What a player may be given of each episode; rows of arrays are stacked to one array.
OBSERVED: dict[str, Callable[[View, str], Any]] = {
    "stack": lambda view, who: view.observation(),  # (stack, *frame), as students see it
    "frame": lambda view, who: view.frames[-1],  # the last frame of it
    "rgb": _screen,  # the screen, (height, width, 3) uint8
    "ram": _ram,  # the console's memory, uint8
    "raw": _raw,  # as the environment gave it: an array, a number, a dict, a tuple
    "env": lambda view, who: view.env,  # the environment itself
}
_ARRAYS = ("stack", "frame", "rgb", "ram")


@dataclass
class _Row:
    """The place of one episode among those that began together."""

    token: object
    index: int
    held: Any = None  # the action that is repeated


@dataclass
class PlayerExpert:
    """A player as an expert; what it remembers cannot be copied, so it is not asked twice."""

    player: Any
    n_actions: int
    sizes: tuple[int, ...]
    name: str
    lockstep: int
    observes: str
    every: int
    greedy: bool
    press_fire: bool
    own_actions: bool  # whether the game takes actions of its environment for indices
    notes: tuple[str, ...]
    recurrent: bool
    _logits: bool = False  # whether its answers were logits
    _token: object = None
    _seen: list[Any] = field(default_factory=list)
    remembers: ClassVar[bool] = True

    def act(self, views: Sequence[View]) -> list[Any]:
        """Return one action for each view.

        Raises:
            SpecError: the game does not give what the player observes.
            DataError: the player's answer is not one action for each episode.
        """
        rows = self._rows(views)
        serving = [self.press_fire and must_serve(view) for view in views]
        actions = self._chosen(views, rows)
        return [FIRE if due else action for due, action in zip(serving, actions, strict=True)]

    def _chosen(self, views: Sequence[View], rows: Sequence[_Row]) -> list[Any]:
        if views[0].step % self.every:
            return [row.held for row in rows]
        for view, row in zip(views, rows, strict=True):
            self._seen[row.index] = OBSERVED[self.observes](view, self._who)
        gathered = np.stack(self._seen) if self.observes in _ARRAYS else list(self._seen)
        actions = self._actions(self.player.act(gathered), views, rows)
        for row, action in zip(rows, actions, strict=True):
            row.held = action
        return actions

    @property
    def chooses(self) -> str:
        """How actions are chosen, once that is known: of logits by chance, or the best."""
        return ("greedy" if self.greedy else "sampled") if self._logits else ""

    @property
    def other_way(self) -> str:
        """The option by which they are chosen otherwise, as the player says it."""
        return str(getattr(self.player, "other_way", ""))

    @property
    def _who(self) -> str:
        return f"expert '{self.name}'"

    def _rows(self, views: Sequence[View]) -> list[_Row]:
        """Return the views' rows; views that have none begin together."""
        fresh = sum("row" not in view.memory for view in views)
        if fresh == len(views):
            self._token, self._seen = object(), [None] * len(views)
            self.player.reset(len(views))
            for index, view in enumerate(views):
                view.memory["row"] = _Row(self._token, index)
            fresh = 0
        rows: list[_Row] = [view.memory["row"] for view in views if "row" in view.memory]
        if fresh or any(row.token is not self._token for row in rows):
            raise SpecError(
                f"{self._who} remembers the episodes of its last reset alone, and is asked about "
                "others; play them one group after the other"
            )
        return rows

    def _actions(self, said: Any, views: Sequence[View], rows: Sequence[_Row]) -> list[Any]:
        answer = said.detach().cpu().numpy() if hasattr(said, "detach") else np.asarray(said)
        n, factors = len(self._seen), len(self.sizes)
        mine = [row.index for row in rows]
        if answer.dtype.kind == "f" and answer.shape == (n, self.n_actions):
            self._logits, rngs = True, [view.rng for view in views]
            self._check(answer[mine])
            actions = chosen(answer[mine], self.sizes, rngs, self.greedy)
            self._tell(actions, mine)
            return actions
        if answer.dtype.kind == "f" and self.own_actions and len(answer) == n:
            return list(answer[mine])
        shape = (n,) if factors == 1 else (n, factors)
        if answer.dtype.kind not in "iub" or answer.shape != shape:
            raise DataError(
                f"{self._who}: act() of {n} observation(s) gave {answer.dtype} of shape "
                f"{answer.shape}; it wants integers of {shape} or logits of {(n, self.n_actions)}"
            )
        return [int(answer[i]) if factors == 1 else answer[i].astype(np.int64) for i in mine]

    def _tell(self, actions: list[Any], rows: list[int]) -> None:
        """Tell the player what was chosen, if it wants to know."""
        tell: Callable[[np.ndarray], None] | None = getattr(self.player, "chose", None)
        if tell is not None:
            told = np.zeros((len(self._seen), *np.shape(actions[0])), np.int64)
            told[rows] = actions
            tell(told)

    def _check(self, logits: np.ndarray) -> None:
        """Refuse logits (n, n_actions) that no action can be chosen by; -inf is never chosen."""
        for factor in np.split(logits, np.cumsum(self.sizes)[:-1], axis=1):
            most = factor.max(1)  # NaN if one is
            if not np.isfinite(most).all():
                raise DataError(
                    f"{self._who}: its logits have {most[~np.isfinite(most)][0]} as largest"
                )


def as_expert(player: Any, game: Game, name: str | None = None) -> PlayerExpert:
    """Return a player as an expert of a game.

    Raises:
        SpecError: one of its attributes has a value that it cannot have.
    """
    observes = getattr(player, "observes", "stack")
    called = str(name or getattr(player, "name", type(player).__name__))
    if observes not in OBSERVED:
        known = ", ".join(OBSERVED)
        raise SpecError(f"expert '{called}': observes must be one of {known}, not {observes!r}")
    numbers = {key: getattr(player, key, 1) for key in ("lockstep", "every")}
    for key, value in numbers.items():
        if type(value) is not int or value < 1:
            raise SpecError(f"expert '{called}': {key} must be at least 1, not {value!r}")
    return PlayerExpert(
        player,
        game.n_actions,
        tuple(getattr(game, "action_sizes", ())) or (game.n_actions,),
        called,
        observes=observes,
        greedy=bool(getattr(player, "greedy", False)),
        press_fire=bool(getattr(player, "press_fire", False)),
        own_actions=hasattr(game, "index_of"),
        notes=tuple(getattr(player, "notes", ())),
        recurrent=bool(getattr(player, "recurrent", False)),
        lockstep=numbers["lockstep"],
        every=numbers["every"],
    )
