"""`lookahead`: an expert for any Atari game that tries plans in a copy of the emulator.

Every few steps it copies the console's state into a second emulator, which has no sticky actions,
plays a few plans there for `depth` steps, and follows the best one. A plan is a sequence of macros
(an action held for several steps). The candidates are: doing nothing, the rest of the current
plan, one action held throughout, and then, half each, variations of the best plan so far and new
random plans. Doing nothing wins ties, so the expert acts only where acting is better, which an
imitator can learn. If no plan scores or loses a life, the next planning looks twice as far ahead.

The state of the game itself is read and never changed. The cost is emulator frames: about
`frames_per_step` for every step of play (see `steps_per_second_estimate`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from isoclone.base.errors import SpecError
from isoclone.experts.base import View
from isoclone.games import Game
from isoclone.games.atari import FRAME_SKIP, Atari, AtariEnv

NOOP = 0  # Backgammon and VideoCheckers have no NOOP; their action 0 is FIRE
FARTHEST = 4  # a plan has at most FARTHEST x `depth` steps


@dataclass(frozen=True)
class Lookahead:
    """An expert that tries plans in a copy of the emulator; make it by `expert("lookahead", game)`.

    Settings:
        depth: steps of a plan.
        rollouts: plans tried at each planning.
        macro: mean number of steps for which a plan holds an action.
        every: steps of play between plannings.
        careful: steps of play between plannings while some plan loses a life; sticky actions
            make close manoeuvres uncertain.
        life_cost: points that a lost life costs, discounted as points are.
        discount: factor on a point for each step that it comes later.
    """

    game: Atari
    depth: int = 32
    rollouts: int = 8
    macro: int = 4
    every: int = 4
    careful: int = 4
    life_cost: float = 1000.0
    discount: float = 0.98
    name: str = "lookahead"
    lockstep: int = 1
    _copy: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for setting in ("depth", "rollouts", "macro", "every", "careful"):
            if getattr(self, setting) < 1:
                raise SpecError(f"lookahead: {setting} must be at least 1")
        if self.every > self.depth:
            raise SpecError(f"lookahead: every ({self.every}) is more than depth ({self.depth})")

    def act(self, views: Sequence[View]) -> list[int]:
        """Return one action for each view, after a new planning where one is due."""
        return [self._act(view) for view in views]

    def recalled(self, memory: dict[str, Any]) -> dict[str, Any]:
        """Return the memory without the plan being followed, which is the planner's own making."""
        if not memory:
            return {}
        return {"plan": np.zeros(0), "followed": 0, "for": 0, "depth": memory["depth"]}

    def _act(self, view: View) -> int:
        memory = view.memory
        if not memory or memory["followed"] >= memory["for"]:
            self._plan(view)
        action = memory["plan"][memory["followed"]]
        memory["followed"] += 1
        return int(action)

    def _plan(self, view: View) -> None:
        """Try plans from the game's present state; keep the best one in the view's memory."""
        memory, rng = view.memory, view.rng
        depth = memory.get("depth", self.depth)
        trial = _Trial(self, self._emulator(), view.env.ale.cloneState(), depth)
        held = _resized(memory.get("plan", np.zeros(0))[memory.get("for", 0) :], depth)
        for plan in (
            _resized(held[:0], depth),
            held,
            np.full(depth, rng.integers(trial.n_actions)),
        ):
            trial.consider(plan)
        for k in range(self.rollouts - 3):
            keep = int(rng.integers(depth)) if k % 2 == 0 else 0
            fresh = _random_plan(rng, depth - keep, trial.n_actions, self.macro)
            trial.consider(np.concatenate([trial.best[:keep], fresh]))
        memory["plan"], memory["followed"] = trial.best, 0
        memory["for"] = min(self.careful, self.every) if trial.deadly else self.every
        memory["depth"] = self._next_depth(depth, trial)

    def _next_depth(self, depth: int, trial: _Trial) -> int:
        """Return a depth that reaches the next score again; twice the depth if no plan scored."""
        if not trial.touched:
            return min(2 * depth, FARTHEST * self.depth)
        return max(self.depth, min(trial.scores_at + self.depth // 2, depth))

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
        """Most emulator frames for a step of the game, while the depth is not raised."""
        return self.rollouts * self.depth * self.skip / self.every

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


class _Trial:
    """One planning: the state it starts from, and the best plan so far."""

    def __init__(self, settings: Lookahead, ale: Any, state: Any, depth: int):
        self._settings, self._ale, self._state = settings, ale, state
        self._actions = ale.getMinimalActionSet()
        self._worths = (settings.discount ** np.arange(depth)).tolist()
        self.n_actions = len(self._actions)
        self.best, self.value = np.zeros(depth, np.int64), -np.inf
        self.touched = False  # whether any plan scored or lost a life
        self.deadly = False  # whether any plan lost a life
        self.scores_at = 0  # the step at which the best plan first scores

    def consider(self, plan: np.ndarray) -> None:
        """Try a plan, and keep it if it is better than the best so far."""
        value, scores_at = self._try(plan)
        if value > self.value + 1e-9:
            self.best, self.value, self.scores_at = plan, value, scores_at

    def _try(self, plan: np.ndarray) -> tuple[float, int]:
        """Return a plan's discounted score less the cost of lost lives, and its first scoring step.

        Stop early once the plan cannot win.
        """
        ale, act, life_cost = self._ale, self._ale.act, self._settings.life_cost
        ale.restoreState(self._state)
        lives, value, scores_at = ale.lives(), 0.0, 0
        for step, (choice, worth) in enumerate(zip(plan.tolist(), self._worths, strict=True)):
            action, reward = self._actions[choice], 0
            for _ in range(self._settings.skip):
                reward += act(action)
            value += worth * reward
            if reward and not scores_at:
                scores_at = step
            left = ale.lives()
            if reward or left != lives:
                self.touched = True
                self.deadly = self.deadly or left < lives
                value -= worth * life_cost * max(0, lives - left)
                lives = left
                if value < self.value - life_cost / 2:
                    break
            if ale.game_over():
                break
        return value, scores_at


def _resized(plan: np.ndarray, depth: int) -> np.ndarray:
    """Return the plan with `depth` steps: cut off, or filled up with doing nothing."""
    return np.concatenate([plan[:depth], np.full(max(0, depth - len(plan)), NOOP)]).astype(np.int64)


def _random_plan(rng: np.random.Generator, depth: int, n_actions: int, macro: int) -> np.ndarray:
    """Return random actions, each held for 1 to 2 macro - 1 steps; (depth,) int64."""
    actions = rng.integers(n_actions, size=depth)
    return np.repeat(actions, rng.integers(1, 2 * macro, size=depth))[:depth]


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
