"""The protocol of games: a frame specification, an action count, single and vector environments.

A game hands out *single* frames. Stacking is done in one place for demonstrations, training and
rollouts alike (`stack_indices`), so a policy sees the same stack wherever the frame came from.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from isoclone.base.errors import FOREIGN, DataError, SpecError, words_of
from isoclone.base.records import shown
from isoclone.games.actions import one_action

DATA = "data"  # the name of a game without an environment, see `games.data`
SEEDS = 2**62  # seeds counted on from one still fit into 63 bits


@dataclass(frozen=True)
class FrameSpec:
    """One frame as the game emits it, and how many of them make an observation.

    `dtype` is 'uint8' for images of bytes, else 'float32', or 'float64' for numbers that need it
    (policies read them standardised, in float32). A shape (h, w) or (h, w, channels) is a picture,
    (n,) a vector. At the start of an episode the first frame stands in for the ones that are
    missing, so no stack crosses a reset.
    """

    shape: tuple[int, ...]
    dtype: str
    stack: int

    @property
    def size(self) -> int:
        """Numbers in one frame."""
        return int(np.prod(self.shape))

    @property
    def is_image(self) -> bool:
        """Whether the frame is made of bytes."""
        return self.dtype == "uint8"

    @property
    def picture(self) -> tuple[int, int, int] | None:
        """(height, width, channels) of a picture; None for a vector."""
        if len(self.shape) not in (2, 3):
            return None
        h, w, *channels = self.shape
        return h, w, channels[0] if channels else 1


class Env(Protocol):
    """One environment. Experts that need more (RAM, emulator state) find it on the class itself.

    One that holds a process or much memory may also define `close()`, and one of a game with lives
    `lives() -> int`, how many are left.
    """

    def reset(self, seed: int) -> np.ndarray:
        """Start the episode that belongs to `seed`; return the first frame."""
        ...

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool]:
        """Act once; return (frame, reward, terminated, truncated).

        `action` is an index, an int; (factors,) int64 where the game has `action_sizes`.
        """
        ...


class VectorEnv(Protocol):
    """`n` environments stepped together; a slot is idle until it is reset, and again once ended.

    Made with a seed: the k-th episode of a slot is then always the same for the same actions.
    """

    n: int

    def reset(self, slots: np.ndarray) -> np.ndarray:
        """Start the next episode in each of `slots`; return first frames, (len(slots), *shape)."""
        ...

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Act in all slots: (frames (n, *shape), rewards (n,), terminated (n,), truncated (n,)).

        `actions` are (n,) int64, or (n, factors) where the game has `action_sizes`. Values of an
        idle slot have no meaning; both of its flags are False.
        """
        ...


@runtime_checkable
class Game(Protocol):
    """A game isoclone can study. `max_steps` truncates an episode, in agent steps.

    A game may also define:

    | method or attribute | what for; without it |
    |---|---|
    | `make_vector(n, seed) -> VectorEnv` | plays `n` side by side; single ones, in turn |
    | `make_recorded_vector(n, seed, folder) -> VectorEnv` | the same, and records what is played |
    |   | (`evaluate --keep`); refused |
    | `finish_recordings(folder, facts)` | ends such a recording, when all are played; nothing |
    | `record_demonstrations(request, path, executor, progress) -> Demonstrations` | records in a |
    |   | way of the game's own; frame by frame, see `demos.record` |
    | `scripted_experts() -> {variant: maker}` | the game's own experts, the default first; none |
    | `fits_demonstrations(options) -> str \| None` | why demonstrations of the game with other |
    |   | options are of no use, in words that follow their path; any are |
    | `adopt(options) -> dict` | options that a ready-made study takes over from its |
    |   | demonstrations'; none |
    | `draw(frame) -> (h, w, 3) uint8` | a frame as a picture, for films; `screen_rgb()` of the |
    |   | environment, else the frame enlarged, or bars for a vector |
    | `action_sizes: tuple[int, ...]` | actions of several factors, see `games.actions`; one |
    |   | among `n_actions` |
    | `index_of(action) -> int \| (factors,)` | the index of an action as the environment takes |
    |   | it; experts give indices |
    | `action_error(action) -> float \| None` | with `index_of`: how far what the index stands for |
    |   | is from the action, None if it is the same |
    | `describe() -> list[str]` | how spaces are read, for `plan` and the report; nothing is said |
    | `read(observation) -> frame` | what an observation of the environment underneath is as a |
    |   | frame, for `ic.load(...).act`; observations are frames |
    | `action_of(index) -> action` | what the environment underneath takes, the index itself |
    | `filmed() -> Game` | the same game, its environments drawing themselves (`screen_rgb`); the |
    |   | game itself is filmed. SpecError says why they cannot |
    | `frames_per_second: int` | agent steps a second in films; 30 |
    | `episode_summary: tuple[str, ...]` | which of `episode_facts` are summed up; all |
    | `account_of(facts) -> games.accounts.EpisodeAccount` | more that `evaluate` tells of the |
    |   | episodes played: figures and tables of the game's own; nothing |
    | `spaces: games.spaces.ReadSpaces` | reads play that others recorded in the environment's own |
    |   | observations and actions; it has to be the game's frames and numbers of actions |
    | `has_environment: bool` | False where there is nothing to play; True |
    | `actions_among(game) -> tuple[int, ...] \| None` | which of another game's actions each of |
    |   | these is, where that game's policies can play this one; None, as without it, where not |
    | `play_recipe: str` | the recipe by which it is learned by play, where none is named; one for |
    |   | its kind of frames |
    | `partially_observed: bool` | whether an observation shows too little to play well: plans of |
    |   | a policy without memory say so; False |

    A vector environment may define `episode_facts(slot) -> dict`: facts about the slot's last
    episode, as a row for a table.
    """

    name: str
    n_actions: int
    frame: FrameSpec
    max_steps: int
    random_score: float | None
    expert_score: float | None

    def make_env(self) -> Env:
        """Make a single environment."""
        ...

    def options(self) -> dict[str, Any]:
        """Return the settings that, with the name, make this game again."""
        ...


class SerialVector:
    """Single environments stepped one after the other, one for each of `seeds`.

    Args:
        begun: episodes each slot has begun already, elsewhere: it goes on with the next.
        frames: where the current frames are kept, (n, *shape); made here if not given.
    """

    def __init__(
        self,
        make_env: Callable[[], Env],
        seeds: np.ndarray,
        frame: FrameSpec,
        begun: np.ndarray | None = None,
        frames: np.ndarray | None = None,
    ):
        self.n = len(seeds)
        self._seeds = [np.random.default_rng(s) for s in seeds]
        for chance, count in zip(self._seeds, begun if begun is not None else (), strict=False):
            chance.integers(2**31, size=count)
        self._envs: list[Any] = []
        try:
            for _ in range(self.n):
                self._envs.append(make_env())
        except BaseException:
            self.close()
            raise
        self._frames = np.zeros((self.n, *frame.shape), frame.dtype) if frames is None else frames
        self._live = np.zeros(self.n, bool)

    def close(self) -> None:
        """Close the environments."""
        for env in self._envs:
            close(env)

    def reset(self, slots: np.ndarray) -> np.ndarray:
        for slot in slots:
            self._frames[slot] = self._envs[slot].reset(int(self._seeds[slot].integers(2**31)))
            self._live[slot] = True
        return self._frames[slots].copy()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        rewards = np.zeros(self.n, np.float64)
        ends = np.zeros((2, self.n), bool)
        for slot in np.flatnonzero(self._live).tolist():
            action = one_action(actions[slot])
            frame, reward, terminated, truncated = self._envs[slot].step(action)
            self._frames[slot], rewards[slot] = frame, reward
            if terminated or truncated:
                ends[:, slot] = terminated, truncated
                self._live[slot] = False
        return self._frames.copy(), rewards, ends[0], ends[1]

    def lives(self) -> np.ndarray | None:
        """Return the lives left in each slot, (n,) int64; None where the game has none."""
        envs: list[Any] = self._envs
        if not all(hasattr(env, "lives") for env in envs):
            return None
        return np.array([env.lives() for env in envs], np.int64)

    def episode_facts(self, slot: int) -> dict[str, Any]:
        """Return the game's facts about the slot's last episode; most games have none."""
        tell = getattr(self._envs[slot], "episode_facts", dict)
        facts: dict[str, Any] = tell()
        return facts


def is_playable(game: Game) -> bool:
    """Return whether a game has an environment, so that returns can be measured."""
    return bool(getattr(game, "has_environment", True))


def close(env: Any) -> None:
    """Close an environment, if it has `close()`; what that raises is a warning.

    What was played is whole by then, and must not be lost.
    """
    give_back = getattr(env, "close", None)
    if give_back is None:
        return
    try:
        give_back()
    except FOREIGN as error:
        warnings.warn(f"close() of {type(env).__name__}: {words_of(error)}", stacklevel=2)


def as_flag(value: Any, name: str) -> bool:
    """Return an environment's `terminated` or `truncated`: True, False, 0, 1, or an array of one.

    Raises:
        DataError: it is anything else, such as the text 'False', which Python holds for true.
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    found = np.asarray(value)
    if found.size != 1 or found.dtype.kind not in "biuf" or found.item() not in (0, 1):
        raise DataError(f"{name} is {shown(value)}, not True or False")
    return bool(found.item())


def check_seed(seed: int) -> None:
    """Raise SpecError for a seed that cannot be one of a game's, nor those that follow it."""
    if not 0 <= seed < SEEDS:
        raise SpecError(f"seed must not be negative and below 2^62, not {seed}")


def slot_seeds(seed: int, n: int) -> np.ndarray:
    """Return one 31-bit seed for each of `n` slots, (n,) int64; neighbouring seeds share none."""
    return np.random.SeedSequence(seed).generate_state(n, np.uint32).astype(np.int64) >> 1


def stack_indices(times: np.ndarray, starts: np.ndarray, stack: int) -> np.ndarray:
    """Return the rows of the frames that make each observation, oldest first.

    Args:
        times: row of the newest frame, (b,) int64.
        starts: row of the first frame of the same episode, (b,) int64.
        stack: frames per observation.

    Returns:
        (b, stack) int64; rows before the episode's start are replaced by its first.

    >>> stack_indices(np.array([5, 9]), np.array([4, 0]), 4).tolist()
    [[4, 4, 4, 5], [6, 7, 8, 9]]
    """
    offsets = np.arange(1 - stack, 1)
    return np.maximum(times[:, None] + offsets, starts[:, None])
