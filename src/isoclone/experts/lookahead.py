"""`lookahead`: an expert for any Atari game that tries plans in a copy of the emulator.

It follows a plan of `depth` steps whose future it knows: rewards, lost lives, console memory at
each step, emulator state at the end. While the game goes as foreseen, the plan is moved on by one
step, which costs one step of the emulator. Sticky actions disturb it only where the action changes;
then the plan is tried anew from where the game is.

Every `every` steps each action, held for `near` steps, is compared with the plan. If nobody scores,
all are held for twice as long, and so on. An action replaces the plan only if it is better by
`margin`: the expert keeps to what it does. Where no held action gains anything, a few random plans
are tried as well; where all lose points, short moves (an action for a few steps, then another). If
the plan loses a life, the first short move that keeps it is taken, in a fixed order.

So nearly always the same game state and plan give the same action. The state of the game itself is
read and never changed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from isoclone.base.errors import SpecError
from isoclone.experts.base import View
from isoclone.games import Game
from isoclone.games.atari import FRAME_SKIP, Atari, AtariEnv

NOOP = 0  # Backgammon and VideoCheckers have no NOOP; their action 0 is FIRE
MOVES = (2, 5, 10)  # steps for which a short move holds its action
FARTHEST = 2  # an action is held for at most FARTHEST x `depth` steps
VARIED = 8  # random plans tried where nothing else gains anything
LONGEST = 7  # steps for which they hold an action, at most
RETRY = 8  # steps until an escape that was not found is looked for again
LEAST_GAIN = 0.5  # points by which a new plan must be better at least


@dataclass(frozen=True)
class Lookahead:
    """An expert that tries plans in a copy of the emulator; make it by `expert("lookahead", game)`.

    Settings:
        depth: steps of a plan; a life must not be lost within them. Games show the loss of a life
            late: Space Invaders 22 steps after the hit.
        near: steps for which actions are held in a comparison.
        every: steps of play between comparisons.
        margin: share by which an action must be better than the plan to replace it.
        life_cost: points that a lost life costs, discounted as points are.
        discount: factor on a point for each step that it comes later.
    """

    game: Atari
    depth: int = 48
    near: int = 12
    every: int = 10
    margin: float = 0.25
    life_cost: float = 1000.0
    discount: float = 0.98
    name: str = "lookahead"
    lockstep: int = 1
    _copy: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for setting in ("depth", "near", "every"):
            if getattr(self, setting) < 1:
                raise SpecError(f"lookahead: {setting} must be at least 1")
        if self.margin < 0:
            raise SpecError("lookahead: margin must not be negative")
        if self.near > self.depth:
            raise SpecError(f"lookahead: near ({self.near}) is more than depth ({self.depth})")

    def act(self, views: Sequence[View]) -> list[int]:
        """Return one action for each view, of the plan that is the best so far."""
        return [self._act(view) for view in views]

    def recalled(self, memory: dict[str, Any]) -> dict[str, Any]:
        """Return the last action alone: plans may come from the planner's own chances."""
        return {"action": memory["action"]} if memory else {}

    def _act(self, view: View) -> int:
        memory = view.memory
        trial = _Trial(self, self._emulator(), view.env.ale, view.rng)
        if "path" in memory:
            path = trial.moved_on(memory["path"])
        else:
            path = trial.path([memory.get("action", NOOP)] * self.depth)
        compare, retry = memory.get("compare", 0), memory.get("retry", 0)
        if any(path.lost) and retry <= 0:
            path = trial.escape(path)
            retry = RETRY if any(path.lost) else 0
        elif compare <= 0 and not any(path.lost):
            path, compare = trial.compared(path), self.every
        action = path.plan[0]
        memory.update(path=path, action=action, compare=compare - 1, retry=retry - 1)
        return action

    def _emulator(self) -> Any:
        """Return the second emulator, made once for each process."""
        if "ale" not in self._copy:
            self._copy["ale"] = AtariEnv(self.game.rom, 1, sticky=0.0).ale
        return self._copy["ale"]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_copy": {}}  # an emulator cannot be sent to another process

    @property
    def skip(self) -> int:
        """Emulator frames in a step of a plan; those of the game, where they are not drawn."""
        skip = self.game.frame_skip
        return FRAME_SKIP if isinstance(skip, str) else skip

    @property
    def frames_per_step(self) -> float:
        """Emulator frames for a step of the game, while points are near and no life in danger."""
        return (1 + self.game.n_actions * self.near / self.every) * self.skip

    def steps_per_second_estimate(self, steps: int = 40) -> float:
        """Measure the steps of play per CPU-second on one core, over `steps` steps of the game."""
        env = self.game.make_env()
        view = View(env, np.random.default_rng(0), self.game.frame.stack, [env.reset(0)])
        self._emulator()
        start = time.process_time()
        for _ in range(steps):
            frame, _, terminated, truncated = env.step(self._act(view))
            view.frames.append(frame)
            if terminated or truncated:
                break
        return view.step / (time.process_time() - start)


@dataclass
class _Path:
    """A plan and what comes of it, step by step."""

    plan: list[int]
    lives: int
    end: Any  # the emulator's state after the steps tried
    gains: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)  # lives
    rams: list[bytes] = field(default_factory=list)
    over: bool = False  # whether the game ends, or the plan was given up


class _Trial:
    """The trying of plans from the state that a game is in."""

    def __init__(self, settings: Lookahead, ale: Any, game: Any, rng: np.random.Generator):
        self._settings, self._ale, self._game, self._rng = settings, ale, game, rng
        self._actions = ale.getMinimalActionSet()
        self._state: Any = None

    def path(self, plan: list[int], least: float = -np.inf, seen: set[Any] | None = None) -> _Path:
        """Try a plan from the present state; give it up once it is worth less than `least`.

        `seen` has where earlier plans changed their action, and what they did from there; a plan
        that comes to the same is given up.
        """
        if self._state is None:
            self._state = self._game.cloneState()
        path = _Path([], self._game.lives(), self._state)
        self._continue(path, plan, least, seen)
        return path

    def moved_on(self, path: _Path) -> _Path:
        """Return the plan without the step just played, with one more at its end."""
        plan = [*path.plan[1:], path.plan[-1]]
        if len(path.rams) < 2 or path.rams[0] != self._game.getRAM().tobytes():
            return self.path(plan)
        del path.plan[0], path.gains[0], path.lost[0], path.rams[0]
        self._continue(path, plan)
        return path

    def compared(self, held: _Path) -> _Path:
        """Return the best of the plan and of what is tried in its place."""
        steps = self._settings.near
        tried = [self.path([action] * steps) for action in range(len(self._actions))]
        while not _touched(held, *tried) and 2 * steps <= FARTHEST * self._settings.depth:
            steps *= 2
            for path in tried:
                self._continue(path, [path.plan[0]] * steps)
        most = max(self._value(path, steps) for path in [held, *tried])
        if most <= 0:
            others = self._moves(held, steps) if most < 0 else self._random_plans(steps)
            tried += [self.path(plan, most) for plan in others]
        return self._chosen(held, tried, steps)

    def escape(self, held: _Path) -> _Path:
        """Return the first move after which no life is lost; else the one that loses it latest."""
        best, most, seen = held, self._value(held), set[Any]()
        for plan in self._moves(held, self._settings.depth):
            path = self.path(plan, most, seen)
            value = self._value(path)
            if value > most + LEAST_GAIN and len(path.gains) == len(plan):
                best, most = path, value
            if not path.over and not any(path.lost):
                return path
        return best

    def _chosen(self, held: _Path, tried: list[_Path], steps: int) -> _Path:
        """Return the best path that loses no life in `depth` steps, the held one among equals."""
        value, margin = self._value(held, steps), self._settings.margin
        wanted = max(value + LEAST_GAIN, value + margin * abs(value))
        better = [path for path in tried if self._value(path, steps) > wanted]
        for path in sorted(better, key=lambda path: -self._value(path, steps)):
            missing = max(0, self._settings.depth - len(path.plan))
            self._continue(path, path.plan + path.plan[-1:] * missing)
            if not path.over and not any(path.lost):
                return path
        return held

    def _moves(self, held: _Path, depth: int) -> Iterator[list[int]]:
        """Yield short moves, back to the held plan's last action or to none; then random plans."""
        actions = range(len(self._actions))
        for steps in MOVES:
            for action in actions:
                for after in {held.plan[-1]: 0, NOOP: 0}:
                    if action != after:
                        yield ([action] * steps + [after] * depth)[:depth]
        yield from ([action] * depth for action in actions)
        yield from self._random_plans(depth)

    def _random_plans(self, steps: int) -> Iterator[list[int]]:
        """Yield plans of random actions, each held for 1 to LONGEST steps."""
        for _ in range(VARIED):
            actions = self._rng.integers(len(self._actions), size=steps)
            held = self._rng.integers(1, LONGEST + 1, size=steps)
            yield np.repeat(actions, held)[:steps].tolist()

    def _value(self, path: _Path, steps: int | None = None) -> float:
        """Return the discounted points of the first steps less the cost of lost lives."""
        discount, cost = self._settings.discount, self._settings.life_cost
        each = zip(path.gains[:steps], path.lost[:steps], strict=True)
        return sum(discount**k * (gain - cost * lost) for k, (gain, lost) in enumerate(each))

    def _continue(
        self, path: _Path, plan: list[int], least: float = -np.inf, seen: set[Any] | None = None
    ) -> None:
        """Try the steps of a plan that come after those of the path."""
        ale, done = self._ale, len(path.gains)
        path.plan = plan
        if path.over or done == len(plan):
            return
        ale.restoreState(path.end)
        for step in range(done, len(plan)):
            if seen is not None and step and plan[step] != plan[step - 1]:
                known = (path.rams[-1], *plan[step:])
                path.over = known in seen
                seen.add(known)
            if path.over:
                return
            self._step(path, self._actions[plan[step]])
            path.over = path.over or (path.lost[-1] > 0 and self._value(path) < least)
        path.end = ale.cloneState()

    def _step(self, path: _Path, action: Any) -> None:
        """Take one step of the game, and note what comes of it."""
        ale = self._ale
        path.gains.append(sum(ale.act(action) for _ in range(self._settings.skip)))
        left = ale.lives()
        path.lost.append(max(0, path.lives - left))
        path.lives, path.over = left, ale.game_over()
        path.rams.append(ale.getRAM().tobytes())


def _touched(*paths: _Path) -> bool:
    """Return whether anything is won or lost on some path."""
    return any(any(path.gains) or any(path.lost) for path in paths)


def _identity(**options: Any) -> dict[str, Any]:
    """Return which look-ahead this is: until November 2026 it tried random plans only."""
    return {"plays": "held actions"}


def make_lookahead(game: Game, **settings: Any) -> Lookahead:
    """Return the look-ahead player of an Atari game.

    Raises:
        SpecError: the game is no Atari game, or a setting is unknown or out of range.
    """
    if not isinstance(game, Atari):
        raise SpecError(f"expert 'lookahead' plays Atari games only, not '{game.name}'")
    try:
        return Lookahead(game, **settings)
    except TypeError as error:
        raise SpecError(f"expert 'lookahead': {error}") from error


make_lookahead.identity = _identity  # type: ignore[attr-defined]
