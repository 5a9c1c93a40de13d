"""`gym/<id>`: any Gymnasium environment; `games.spaces` says how its spaces are read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from isoclone.base.errors import FOREIGN, SpecError, words_of
from isoclone.base.quiet import draw_without_a_screen
from isoclone.base.records import shown
from isoclone.games.base import FrameSpec, as_flag, close
from isoclone.games.gym_make import make_gymnasium, spaces_of

MAX_STEPS = 27_000
BINS = 256


@dataclass(frozen=True)
class GymOptions:
    """Options of a Gymnasium game beside `max_steps`; those left alone are not written down.

    Attributes:
        make: keywords for `gymnasium.make`.
        wrappers: names "module:Name" of wrappers, the innermost first.
        stack: frames in an observation; None for 4 of photographs and 1 of all else.
        frames: how pictures are shown: 'auto', 'grey', 'rgb', 'raw' or 'onehot'.
        resize: whether grey and colour pictures become 84x84; a number is another side.
        entries: of a Dict or Tuple of observations, those that are read; all unless said.
        bins: into which each real number of an action is cut.
        action_bounds: lowest and highest value of numbers in actions that have no bounds.
        loose_bounds: take observations outside their declared bounds. Those of Gymnasium's own
            games are always taken, as LunarLander gives some.
    """

    make: dict[str, Any] = field(default_factory=dict)
    wrappers: tuple[str, ...] = ()
    stack: int | None = None
    frames: str = "auto"
    resize: bool | int = True
    entries: tuple[str, ...] = ()
    bins: int = BINS
    action_bounds: tuple[float, float] | None = None
    loose_bounds: bool = False

    def __post_init__(self) -> None:
        for name in ("wrappers", "entries"):
            given = getattr(self, name)
            listed = given.split(",") if isinstance(given, str) else given
            if not isinstance(listed, list | tuple) or not all(isinstance(x, str) for x in listed):
                raise SpecError(f"{name} must be a list of names, not {shown(given)}")
            object.__setattr__(self, name, tuple(x.strip() for x in listed if x.strip()))
        if self.action_bounds is not None:
            object.__setattr__(self, "action_bounds", _two_numbers(self.action_bounds))
        if not isinstance(self.make, dict):
            raise SpecError(f"make must be a table of keywords, not {shown(self.make)}")
        try:
            json.dumps(self.make)
        except (TypeError, ValueError) as error:
            raise SpecError(f"make must hold plain values, not {shown(self.make)}") from error
        if self.stack is not None and (type(self.stack) is not int or not 1 <= self.stack <= 64):
            raise SpecError(f"stack must be a whole number from 1 to 64, not {shown(self.stack)}")
        if type(self.loose_bounds) is not bool:
            raise SpecError(f"loose_bounds must be true or false, not {shown(self.loose_bounds)}")
        if type(self.resize) not in (bool, int) or not 0 <= int(self.resize) <= 1024:
            raise SpecError(
                f"resize must be true, false or a side of at most 1024, not {shown(self.resize)}"
            )

    def said(self) -> dict[str, Any]:
        """Return the options that differ from the defaults, as JSON values."""
        usual = GymOptions()
        chosen = {n: v for n, v in asdict(self).items() if v != getattr(usual, n)}
        return {n: list(v) if isinstance(v, tuple) else v for n, v in chosen.items()}


def _two_numbers(given: Any) -> tuple[float, float]:
    texts = given.split(",") if isinstance(given, str) else given
    try:
        low, high = (float(x) for x in texts)
    except (TypeError, ValueError) as error:
        raise SpecError(f"action_bounds must be two numbers, not {shown(given)}") from error
    return low, high


def _readers(env_id: str, options: GymOptions) -> tuple[Any, Any]:
    """Return the readers of observations and of actions; made once in a process."""
    spaces = spaces_of(env_id, options.make, options.wrappers)
    key = json.dumps(options.said(), sort_keys=True)
    kept = _KEPT.get((env_id, key))
    if kept is None or kept[0] is not spaces:
        kept = _KEPT[env_id, key] = spaces, _made_readers(env_id, options, spaces)
    return kept[1]


_KEPT: dict[tuple[str, str], tuple[Any, tuple[Any, Any]]] = {}


def _made_readers(
    env_id: str, options: GymOptions, spaces: tuple[Any, Any, bool]
) -> tuple[Any, Any]:
    from isoclone.games.spaces import action_reader, observation_reader

    observations, actions, own = spaces
    try:
        seen = observation_reader(
            observations,
            frames=options.frames,
            resize=options.resize,
            stack=options.stack,
            entries=options.entries,
            strict=not (own or options.loose_bounds),
        )
        return seen, action_reader(actions, options.bins, options.action_bounds)
    except SpecError as error:
        raise SpecError(f"gym/{env_id}: {error}") from error


class GymEnv:
    """One Gymnasium environment.

    `env` is open to experts that need it, and `observation`, the last as the environment gave it.
    """

    def __init__(self, env_id: str, max_steps: int, options: GymOptions):
        self._max_steps, self._steps, self.observation = max_steps, 0, None
        self.env = make_gymnasium(env_id, options.make, options.wrappers)
        seen, done = _readers(env_id, options)
        self._read, self._action = seen.read, done.to_action

    def reset(self, seed: int) -> np.ndarray:
        self._steps = 0
        self.observation, _ = self.env.reset(seed=seed)
        return self._read(self.observation)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool]:
        self.observation, reward, terminated, truncated, _ = self.env.step(self._action(action))
        self._steps += 1
        over = as_flag(terminated, "terminated")
        cut = as_flag(truncated, "truncated") or self._steps >= self._max_steps
        return self._read(self.observation), float(reward), over, cut and not over

    def close(self) -> None:
        """Close the environment."""
        close(self.env)


class DrawnGymEnv(GymEnv):
    """One Gymnasium environment that draws itself, made with `render_mode="rgb_array"`."""

    def screen_rgb(self) -> np.ndarray:
        """Return the environment's own picture, (height, width, 3) uint8.

        Raises:
            SpecError: it draws none.
        """
        try:
            picture = self.env.render()
        except FOREIGN as error:
            raise SpecError(f"its render() failed: {words_of(error)}") from error
        if not isinstance(picture, np.ndarray) or picture.ndim != 3 or picture.shape[2] != 3:
            raise SpecError(f"its render() gave {shown(picture)}, not an array of RGB")
        return np.ascontiguousarray(picture, np.uint8)


@dataclass(frozen=True)
class Gym:
    """A Gymnasium environment; make it with `game("gym/CartPole-v1")`.

    `action_sizes` is set where actions have several factors.
    """

    name: str
    env_id: str
    n_actions: int
    frame: FrameSpec
    max_steps: int = MAX_STEPS
    random_score: float | None = None
    expert_score: float | None = None
    action_sizes: tuple[int, ...] = ()
    settings: GymOptions = field(default_factory=GymOptions, hash=False)
    frames_per_second: int = 30  # of films
    drawn: bool = False

    @classmethod
    def named(cls, env_id: str, max_steps: int = MAX_STEPS, **options: Any) -> Gym:
        """Read the environment's spaces and wrap it.

        Args:
            env_id: as Gymnasium knows it.
            max_steps: after which an episode is cut short.
            options: see `GymOptions`.

        Raises:
            UnknownNameError: Gymnasium does not know the id.
            SpecError: it cannot be made, its spaces cannot be read, or an option has a value it
                cannot have.
        """
        known = [f.name for f in fields(GymOptions)]
        unknown = [name for name in options if name not in known]
        if unknown:
            raise SpecError(
                f"gym/{env_id} has no option '{unknown[0]}'; it has max_steps, {', '.join(known)}"
            )
        settings = GymOptions(**options)
        seen, done = _readers(env_id, settings)
        return cls(
            f"gym/{env_id}",
            env_id,
            sum(done.sizes),
            seen.frame,
            max_steps,
            action_sizes=done.sizes if len(done.sizes) > 1 else (),
            settings=settings,
        )

    def make_env(self) -> GymEnv:
        """Make an environment."""
        kind = DrawnGymEnv if self.drawn else GymEnv
        return kind(self.env_id, self.max_steps, self.settings)

    def filmed(self) -> Gym:
        """Return the same game with environments that draw themselves, at their own pace.

        Raises:
            SpecError: they cannot; the message says why.
        """
        draw_without_a_screen()
        make = {**self.settings.make, "render_mode": "rgb_array"}
        shows = replace(self, settings=replace(self.settings, make=make), drawn=True)
        env = shows.make_env()
        try:
            env.reset(0)
            env.screen_rgb()  # type: ignore[attr-defined]
            rate = env.env.metadata.get("render_fps") or self.frames_per_second
        finally:
            env.close()
        return replace(shows, frames_per_second=max(1, round(rate)))

    def options(self) -> dict[str, Any]:
        """Return the settings beside the name."""
        return {"max_steps": self.max_steps, **self.settings.said()}

    @property
    def spaces(self) -> Any:
        """Return Gymnasium's spaces with their readers, a `games.spaces.ReadSpaces`."""
        from isoclone.games.spaces import ReadSpaces

        options = self.settings
        seen, done, own = spaces_of(self.env_id, options.make, options.wrappers)
        strict = not (own or options.loose_bounds)
        readers = _readers(self.env_id, options)
        return ReadSpaces(seen, done, *readers, options.bins, options.action_bounds, strict)

    def describe(self) -> list[str]:
        """Return how observations and actions are read, a line each."""
        seen, done = _readers(self.env_id, self.settings)
        return [f"observations: {seen.described}", f"actions: {done.described}"]

    def read(self, observation: Any) -> np.ndarray:
        """Return an observation of the environment as a frame; DataError if it is none."""
        frame: np.ndarray = _readers(self.env_id, self.settings)[0].read(observation)
        return frame

    def action_of(self, index: Any) -> Any:
        """Return what the environment's `step` takes for the index of an action."""
        return _readers(self.env_id, self.settings)[1].to_action(index)

    def index_of(self, action: Any) -> int | np.ndarray:
        """Return the index of an action as the environment takes it; DataError if it is none."""
        index: int | np.ndarray = _readers(self.env_id, self.settings)[1].to_index(action)
        return index

    def action_error(self, action: Any) -> float | None:
        """Return how far the middle of an action's bins is from it; None without bins."""
        done = _readers(self.env_id, self.settings)[1]
        return done.error(action) if done.is_binned else None
