"""`atari/<Name>`: every ROM in ale-py, with the preprocessing of Tuyls et al.

84x84 grey frames, the maximum of the last two of every four emulator frames, four frames stacked,
sticky actions of .25, whole episodes (a lost life does not end one), raw rewards, no no-ops and
no automatic FIRE at the start.

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

from isoclone.base.errors import SpecError, UnknownNameError
from isoclone.games.base import FrameSpec
from isoclone.games.random_scores import random_score

SIDE = 84
FRAME_SKIP = 4
STICKY = 0.25
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


def _load(rom: str) -> Any:
    """Make an emulator without randomness of its own, and load the ROM (70 ms)."""
    from ale_py import ALEInterface

    _quiet()
    ale = ALEInterface()
    ale.setFloat("repeat_action_probability", 0.0)
    ale.setInt("frame_skip", 1)
    ale.setInt("random_seed", 0)
    ale.loadROM(_rom_path(rom))
    return ale


_IDLE: dict[str, list[Any]] = {}  # loaded emulators that `AtariEnv.close` has given back


class AtariEnv:
    """One emulator. `ale` (emulator state), `ram()` and `actions` are open to experts.

    Sticky actions are drawn here, once for every emulator frame as the emulator's own option does
    it, and the emulator itself is deterministic. Seeding the emulator instead would reload the ROM
    for every episode: 80 ms, as long as 200 steps of play.
    """

    def __init__(self, rom: str, max_steps: int, sticky: float = STICKY):
        self._idle = _IDLE.setdefault(rom, [])
        self.ale = self._idle.pop() if self._idle else _load(rom)
        self.actions = self.ale.getMinimalActionSet()
        self._screens = np.zeros((2, *self.ale.getScreenDims()), np.uint8)
        self._max_steps, self._sticky = max_steps, sticky

    def reset(self, seed: int) -> np.ndarray:
        self._rng = np.random.default_rng(seed)
        self._steps, self._executed = 0, self.actions[0]
        self.ale.reset_game()
        self.ale.getScreenGrayscale(self._screens[1])
        return _shrink(self._screens[1])

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool]:
        intended, reward = self.actions[action], 0
        sticks = self._rng.random(FRAME_SKIP) < self._sticky
        for k in range(FRAME_SKIP):
            if not sticks[k]:
                self._executed = intended
            reward += self.ale.act(self._executed)
            if k >= FRAME_SKIP - 2:
                self.ale.getScreenGrayscale(self._screens[k - FRAME_SKIP + 2])
            if self.ale.game_over():
                break
        self._steps += 1
        terminated = self.ale.game_over()
        truncated = not terminated and self._steps >= self._max_steps
        return _shrink(np.maximum(*self._screens)), float(reward), terminated, truncated

    def close(self) -> None:
        """Give the emulator back for reuse; this environment cannot be used after that."""
        self._idle.append(self.ale)
        del self.ale

    def ram(self) -> np.ndarray:
        """Return the 128 bytes of console memory."""
        return self.ale.getRAM()

    def screen_rgb(self) -> np.ndarray:
        """Return the full-size colour picture, (height, width, 3) uint8."""
        return self.ale.getScreenRGB()


@dataclass(frozen=True)
class Atari:
    """An Atari 2600 game; make it with `game("atari/Breakout")`."""

    name: str
    rom: str
    n_actions: int
    max_steps: int = 27_000  # 108,000 emulator frames, as usual in the field
    frame: FrameSpec = FRAME
    random_score: float | None = None
    expert_score: float | None = None

    @classmethod
    def named(cls, name: str, max_steps: int = 27_000) -> Atari:
        """Return the game of the name 'Breakout' (or ale-py's 'breakout').

        Raises:
            UnknownNameError: no such ROM is installed.
            SpecError: `max_steps` is not positive.
        """
        if max_steps < 1:
            raise SpecError(f"max_steps must be at least 1, not {max_steps}")
        known = rom_names()
        camel = name if name in known else _camel(name)
        if camel not in known:
            raise UnknownNameError("Atari game", name, list(known))
        rom = known[camel]
        title = f"atari/{camel}"
        chance = random_score(title) if max_steps == cls.max_steps else None
        return cls(title, rom, _action_count(rom), max_steps, random_score=chance)

    def make_env(self) -> AtariEnv:
        """Make a single environment."""
        return AtariEnv(self.rom, self.max_steps)

    def options(self) -> dict[str, Any]:
        """Return the settings beside the name."""
        return {"max_steps": self.max_steps}


@cache
def _action_count(rom: str) -> int:
    env = AtariEnv(rom, 1)
    env.close()
    return len(env.actions)
