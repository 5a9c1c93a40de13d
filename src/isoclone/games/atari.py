"""`atari/<Name>`: every ROM in ale-py, with the preprocessing of Tuyls et al.

84x84 grey frames, the maximum of the last two of every four emulator frames, four frames stacked,
sticky actions of .25, whole episodes (a lost life does not end one), raw rewards, no no-ops and
no automatic FIRE at the start. `sticky` and `frame_skip` are options: 0 and "2-4" are those of
Gym's `Breakout-v4`, in which older agents were trained.

Experts and rollouts play the same emulators (`AtariEnv`), which are reused. Frames, rewards and
ends are bit-identical to those of ale-py's vector environment with its defaults overridden
(tested), at the same speed. But seeding ale-py's loads the ROM once more for every slot (160 ms
with making it), which took more than half of the time of a rollout of short episodes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.base.errors import DataError, SpecError, UnknownNameError
from isoclone.base.records import shown
from isoclone.games.base import FrameSpec
from isoclone.games.random_scores import random_score

SIDE = 84
FRAME_SKIP = 4
STICKY = 0.25
MOST_SKIPPED = 60
FRAME = FrameSpec((SIDE, SIDE), "uint8", 4)


@cache
def rom_names() -> dict[str, str]:
    """Return {CamelCase name: ale-py's rom id} of every ROM that the emulator can play.

    ale-py also brings four games for two players only; loading one would end the process.
    """
    from ale_py import ALEInterface, roms

    playable = (r for r in roms.get_all_rom_ids() if ALEInterface.isSupportedROM(_rom_path(r)))
    return {_camel(rom): rom for rom in sorted(playable)}


def _rom_path(rom: str) -> Path:
    from ale_py import roms

    return Path(str(roms.get_rom_path(rom)))


def _camel(rom: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"_", rom))


def _quiet() -> None:
    from ale_py import ALEInterface, LoggerMode

    ALEInterface.setLoggerMode(LoggerMode.Error)


def _shrink(screen: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.resize(screen, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _grey(screens: np.ndarray) -> np.ndarray:
    """Return RGB screens (..., 3) in the greys of the emulator's own palette."""
    weighed = screens.astype(np.float64) @ np.array([0.2989, 0.5870, 0.1140])
    return np.rint(weighed).astype(np.uint8)


@dataclass(frozen=True)
class _Emulator:
    """An emulator with its ROM, its state after the very first reset, and the screen then."""

    ale: Any
    start: Any
    screen: np.ndarray  # (height, width) uint8


def _load(rom: str) -> _Emulator:
    """Make an emulator without randomness of its own, and load the ROM (80 ms)."""
    from ale_py import ALEInterface

    _quiet()
    ale = ALEInterface()
    ale.setFloat("repeat_action_probability", 0.0)
    ale.setInt("frame_skip", 1)
    ale.setInt("random_seed", 0)
    ale.loadROM(_rom_path(rom))
    ale.reset_game()
    return _Emulator(ale, ale.cloneState(), ale.getScreenGrayscale())


_IDLE: dict[str, list[_Emulator]] = {}  # loaded emulators that `AtariEnv.close` has given back


class AtariEnv:
    """One emulator. `ale` (emulator state), `ram()` and `actions` are open to experts.

    Sticky actions are drawn here, once for every emulator frame as the emulator's own option does
    it, and the emulator itself is deterministic. Seeding the emulator instead would reload the ROM
    for every episode: 80 ms, as long as 200 steps of play.

    A reset leaves parts of the console as they were (in at least 17 of 104 games, Beam Rider and
    Tennis among them), so every episode begins with the state after the very first reset.
    """

    def __init__(
        self,
        rom: str,
        max_steps: int,
        sticky: float = STICKY,
        skips: tuple[int, int] = (FRAME_SKIP, FRAME_SKIP),
    ):
        self._idle = _IDLE.setdefault(rom, [])
        self._emulator = self._idle.pop() if self._idle else _load(rom)
        self.ale = self._emulator.ale
        self.actions = self.ale.getMinimalActionSet()
        self._screens = np.zeros((2, *self.ale.getScreenDims()), np.uint8)
        self._max_steps, self._sticky, self._skips = max_steps, sticky, skips

    def reset(self, seed: int) -> np.ndarray:
        self._rng = np.random.default_rng(seed)
        self._steps, self._executed = 0, self.actions[0]
        self.ale.reset_game()
        self.ale.restoreState(self._emulator.start)
        return _shrink(self._emulator.screen)

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool]:
        intended, reward, skip = self.actions[action], 0, self._skip()
        sticks = self._rng.random(skip) < self._sticky
        for k in range(skip):
            if not sticks[k]:
                self._executed = intended
            reward += self.ale.act(self._executed)
            if k >= skip - 2:
                self.ale.getScreenGrayscale(self._screens[k - skip + 2])
            if self.ale.game_over():
                break
        self._steps += 1
        terminated = self.ale.game_over()
        truncated = not terminated and self._steps >= self._max_steps
        seen = self._screens[1] if skip == 1 else np.maximum(*self._screens)
        return _shrink(seen), float(reward), terminated, truncated

    def _skip(self) -> int:
        """Return the emulator frames of the next step."""
        low, high = self._skips
        return low if low == high else int(self._rng.integers(low, high + 1))

    def close(self) -> None:
        """Give the emulator back for reuse; this environment cannot be used after that."""
        self._idle.append(self._emulator)
        del self.ale

    def lives(self) -> int:
        """Return how many lives are left."""
        return int(self.ale.lives())

    def ram(self) -> np.ndarray:
        """Return the 128 bytes of console memory."""
        return self.ale.getRAM()

    def screen_rgb(self) -> np.ndarray:
        """Return the full-size colour picture, (height, width, 3) uint8."""
        return self.ale.getScreenRGB()


@dataclass(frozen=True)
class Atari:
    """An Atari 2600 game; make it with `game("atari/Breakout")`.

    `sticky` is the chance that an emulator frame repeats the action before; `frame_skip` is the
    number of emulator frames in a step, or as "2-4" a range to draw it from at each step.
    """

    name: str
    rom: str
    n_actions: int
    max_steps: int = 27_000  # 108,000 emulator frames, as usual in the field
    frame: FrameSpec = FRAME
    random_score: float | None = None
    expert_score: float | None = None
    sticky: float = STICKY
    frame_skip: int | str = FRAME_SKIP

    @classmethod
    def named(
        cls,
        name: str,
        max_steps: int = 27_000,
        sticky: float = STICKY,
        frame_skip: int | str | list[int] = FRAME_SKIP,
    ) -> Atari:
        """Return the game of the name 'Breakout' (or ale-py's 'breakout').

        Raises:
            UnknownNameError: no such ROM is installed.
            SpecError: an option has a value that it cannot have.
        """
        if max_steps < 1:
            raise SpecError(f"max_steps must be at least 1, not {max_steps}")
        if type(sticky) not in (int, float) or not 0 <= sticky < 1:
            raise SpecError(f"sticky must be a chance from 0 to below 1, not {shown(sticky)}")
        low, high = _skips(frame_skip)
        known = rom_names()
        camel = name if name in known else _camel(name)
        if camel not in known:
            raise UnknownNameError("Atari game", name, list(known))
        rom = known[camel]
        title = f"atari/{camel}"
        skip = low if low == high else f"{low}-{high}"
        usual = (max_steps, sticky, skip) == (cls.max_steps, STICKY, FRAME_SKIP)
        chance = random_score(title) if usual else None
        return cls(
            title,
            rom,
            _action_count(rom),
            max_steps,
            random_score=chance,
            sticky=float(sticky),
            frame_skip=skip,
        )

    def make_env(self) -> AtariEnv:
        """Make a single environment."""
        return AtariEnv(self.rom, self.max_steps, self.sticky, _skips(self.frame_skip))

    def read(self, observation: Any) -> np.ndarray:
        """Return what an emulator shows as a frame: the screen, in colour or grey, or the last two.

        Args:
            observation: (210, 160[, 3]) uint8, or two of them, of the last two emulator frames,
                whose brighter pixels are taken, as in recording; (84, 84) is a frame already.

        Raises:
            DataError: it is none of these.
        """
        screens = np.asarray(observation)
        if screens.dtype == np.uint8 and screens.shape == FRAME.shape:
            return screens.copy()
        if screens.ndim and screens.shape[-1] == 3:
            screens = _grey(screens)
        if screens.ndim == 3 and len(screens) == 2:
            screens = screens.max(0)
        if screens.dtype != np.uint8 or screens.shape[1:] != (160,) or len(screens) < 200:
            shape = np.shape(observation)
            raise DataError(f"{self.name}: an observation of shape {shape} is no Atari screen")
        return _shrink(screens)

    def options(self) -> dict[str, Any]:
        """Return the settings beside the name, those of usual values left out."""
        usual = {"sticky": STICKY, "frame_skip": FRAME_SKIP}
        changed = {n: getattr(self, n) for n, v in usual.items() if getattr(self, n) != v}
        return {"max_steps": self.max_steps, **changed}


def _skips(given: Any) -> tuple[int, int]:
    """Return the fewest and most emulator frames of a step, from 4, "2-4" or [2, 4]."""
    parts = given.split("-") if isinstance(given, str) else given
    parts = parts if isinstance(parts, list | tuple) else [parts]
    numbers = [int(part) if str(part).isdigit() else 0 for part in parts]
    if len(numbers) not in (1, 2) or not 1 <= numbers[0] <= numbers[-1] <= MOST_SKIPPED:
        raise SpecError(
            f"frame_skip must be a number from 1 to {MOST_SKIPPED}, or two as 2-4, "
            f"not {shown(given)}"
        )
    return numbers[0], numbers[-1]


@cache
def _action_count(rom: str) -> int:
    env = AtariEnv(rom, 1)
    env.close()
    return len(env.actions)
