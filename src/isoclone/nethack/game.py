"""`nethack/<env id>`: the games of the NetHack Learning Environment (NLE).

A frame is the terminal a player would see: 24 x 80 characters, their colours and the cursor, as
one flat row of bytes (`pack_tty`, `unpack_tty`). Frames equal those that NLE's own converter reads
from a recording of the same game (tested), except for characters above 127, which appear where a
prompt echoes a meta key.

The seed determines a game: the same seed and actions give the same screens. `reset(seed)` sets
NetHack's core and display generators to `seed` and turns its re-seeding off. Moon phase, Friday
13th, night, and the start time (on which names of shopkeepers depend) come from the seed, not from
the clock. NLE's `reset(seed=)` does none of this, and its challenge hides the functions for it.

NLE's own limits are switched off and replaced by limits in agent steps, because NLE counts a step
without progress twice, and reports a game that its limits cut off as one that ended by itself.
"""

from __future__ import annotations

import _ctypes
import ctypes
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from isoclone.base.errors import MissingExtraError, SpecError, UnknownNameError
from isoclone.base.registry import resolved
from isoclone.games.accounts import EpisodeAccount
from isoclone.games.base import FrameSpec, Game, SerialVector, VectorEnv, slot_seeds
from isoclone.games.process_vector import ProcessVector
from isoclone.nethack.share import share_code

ROWS, COLUMNS = 24, 80
CELLS = ROWS * COLUMNS
FRAME = FrameSpec((2 * CELLS + 2,), "uint8", 1)
MAX_STEPS = 100_000
NO_PROGRESS = 10_000  # agent steps in which no game turn passes
NEVER = 2**62
ANYBODY = "@"  # a random character
CHALLENGE = "NetHackChallenge-v0"

# NLE's observations: those that rollouts read, and all that experts may read.
LEAN = ("tty_chars", "tty_colors", "tty_cursor", "blstats")
RICH = (
    "glyphs", "chars", "colors", "specials", "blstats", "message", "inv_glyphs", "inv_strs",
    "inv_letters", "inv_oclasses", "tty_chars", "tty_colors", "tty_cursor", "misc",
)  # fmt: skip

SCORE, DEPTH, TURNS = 9, 12, 20  # where they are in `blstats`
GAME_OVER = 0  # where it is in `program_state`
BIRTHDAY, NAMES_CHANGE = 1_600_000_000, 257  # seconds; the first is arbitrary (shknam.c)
ESC, RETURN, SPACE, QUIT, YES = 27, 13, 32, 0x80 | ord("q"), ord("y")

# The characters of NetHack (role.c); role and race must both allow the alignment.
ROLES = {
    "arc": ("hum dwa gno", "law neu", "mal fem"),
    "bar": ("hum orc", "neu cha", "mal fem"),
    "cav": ("hum dwa gno", "law neu", "mal fem"),
    "hea": ("hum gno", "neu", "mal fem"),
    "kni": ("hum", "law", "mal fem"),
    "mon": ("hum", "law neu cha", "mal fem"),
    "pri": ("hum elf", "law neu cha", "mal fem"),
    "rog": ("hum orc", "cha", "mal fem"),
    "ran": ("hum elf gno orc", "neu cha", "mal fem"),
    "sam": ("hum", "law", "mal fem"),
    "tou": ("hum", "neu", "mal fem"),
    "val": ("hum dwa", "law neu", "fem"),
    "wiz": ("hum elf gno orc", "neu cha", "mal fem"),
}
RACE_ALIGNMENTS = {"hum": "law neu cha", "dwa": "law", "elf": "cha", "gno": "neu", "orc": "cha"}


def pack_tty(chars: np.ndarray, colors: np.ndarray, cursor: np.ndarray) -> np.ndarray:
    """Pack terminal screens into flat frames.

    Args:
        chars: (..., 24, 80) uint8.
        colors: (..., 24, 80) int8 or uint8, 0 to 15, as in NLE's `tty_colors`.
        cursor: (..., 2), row and column.

    Returns:
        (..., 3842) uint8: 1,920 characters, 1,920 colours, row and column of the cursor.
    """
    lead = chars.shape[:-2]
    frames = np.empty((*lead, 2 * CELLS + 2), np.uint8)
    frames[..., :CELLS] = chars.reshape(*lead, CELLS)
    frames[..., CELLS:-2] = colors.reshape(*lead, CELLS)
    frames[..., -2:] = cursor
    return frames


def unpack_tty(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unpack the frames of `pack_tty`, as views where possible.

    Args:
        frames: (..., 3842) uint8.

    Returns:
        chars (..., 24, 80), colors (..., 24, 80), cursor (..., 2), all uint8.
    """
    screen = (*frames.shape[:-1], ROWS, COLUMNS)
    chars, colors = frames[..., :CELLS], frames[..., CELLS:-2]
    return chars.reshape(screen), colors.reshape(screen), frames[..., -2:]


@cache
def action_keys(env_id: str = CHALLENGE) -> tuple[int, ...]:
    """Return the key that each action presses, in NLE's own order.

    The challenge has 121 actions: eight steps (k l j h u n b y), eight runs (the capitals), up,
    down, wait, Return, the commands in the order of their names, and + - space ' " 0-9 $. Keys 34,
    36 and 43 each belong to two actions.
    """
    _require_nle()
    from nle import nethack

    if env_id == CHALLENGE:
        return tuple(int(action) for action in nethack.ACTIONS)
    env = env_ids()[env_id](observation_keys=LEAN)
    keys = tuple(int(action) for action in env.actions)
    env.close()
    return keys


@cache
def key_actions(env_id: str = CHALLENGE) -> tuple[int, ...]:
    """Return the action of each of 256 keys, the first if it has two; -1 if it has none."""
    keys = action_keys(env_id)
    return tuple(keys.index(key) if key in keys else -1 for key in range(256))


def _require_nle() -> None:
    try:
        import nle  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("NetHack", "nethack") from error


@cache
def env_ids() -> dict[str, Any]:
    """Return the class of every environment that NLE registers, by Gymnasium id."""
    _require_nle()
    import gymnasium
    import nle.env  # noqa: F401  registers them
    from gymnasium.envs.registration import load_env_creator

    places = {e.id: str(e.entry_point) for e in gymnasium.registry.values()}
    known = {name: place for name, place in places.items() if place.startswith("nle.")}
    return {name: load_env_creator(place) for name, place in known.items()}


def check_character(character: str) -> None:
    """Raise SpecError unless NetHack can start with this character.

    '@' is a random one; else role-race-alignment-gender, as in 'mon-hum-neu-mal'.
    """
    if character == "@":
        return
    parts = character.split("-")
    if len(parts) != 4:
        raise SpecError(
            f"character '{character}' must be role-race-alignment-gender, as in "
            "'mon-hum-neu-mal', or '@' for a random one"
        )
    role, race, alignment, gender = parts
    if role not in ROLES:
        raise SpecError(f"character '{character}': no role '{role}'; known: {', '.join(ROLES)}")
    races, alignments, genders = (words.split() for words in ROLES[role])
    if race in races:
        alignments = [a for a in alignments if a in RACE_ALIGNMENTS[race]]
    for what, given, known in (
        ("race", race, races),
        ("alignment", alignment, alignments),
        ("gender", gender, genders),
    ):
        if given not in known:
            raise SpecError(
                f"character '{character}': {what} '{given}' does not go with '{role}'; "
                f"choose from {', '.join(known)}"
            )


def fix_birthday(nethack: Any, seed: int) -> None:
    """Set the start time of a game, on which names and sex of shopkeepers depend.

    The library is released at once, because NLE loads it again for each new game.
    """
    library = ctypes.CDLL(nethack.dlpath)
    ctypes.c_long.in_dll(library, "ubirthday").value = BIRTHDAY + seed % 2**20 * NAMES_CHANGE
    _ctypes.dlclose(library._handle)


def _frame_of(nethack: Any) -> np.ndarray:
    """Return a flat frame, as of `pack_tty`, into which NLE draws its terminal from now on."""
    frame = np.zeros(FRAME.shape, FRAME.dtype)
    chars, colors, cursor = unpack_tty(frame)
    buffers = nethack._obs_buffers
    buffers.update(tty_chars=chars, tty_colors=colors.view(np.int8), tty_cursor=cursor)
    nethack._pynethack.set_buffers(**buffers)
    nethack._obs = tuple(buffers.values())  # in the order NLE was asked for them
    return frame


class NetHackEnv:
    """An environment that plays one game of NetHack at a time.

    `observation` holds NLE's arrays by name; NLE overwrites them at every step. `nle` is NLE's
    environment itself. After an episode `episode_facts` describes it.
    """

    def __init__(self, game: NetHack, keys: Sequence[str] = RICH, savedir: Path | None = None):
        """Make NLE's environment with the observations `keys`; record games into `savedir`."""
        self._is_challenge, self._game = game.is_challenge, game.name
        own_limit = {"no_progress_timeout": NEVER} if self._is_challenge else {}
        self.nle = env_ids()[game.env_id](
            character=game.character,
            max_episode_steps=NEVER,
            observation_keys=keys,
            save_ttyrec_every=1 if savedir else 0,
            savedir=str(savedir) if savedir else None,
            fix_moon_phase=True,
            **own_limit,
        )
        for name in ("set_initial_seeds", "set_current_seeds", "get_current_seeds"):
            self.nle.nethack.__dict__.pop(name, None)  # the challenge overrides them to raise
        self._max_steps, self._no_progress = game.max_steps, game.no_progress
        self._savedir = savedir
        folder = savedir or Path(self.nle.nethack._vardir)
        self._xlogfile = folder / (f"nle.{os.getpid()}.xlogfile" if savedir else "xlogfile")
        self._frame = _frame_of(self.nle.nethack)
        self.observation: dict[str, np.ndarray] = dict(self.nle.nethack._obs_buffers)
        self._blstats: np.ndarray = self.observation["blstats"]
        self._facts: dict[str, Any] | None = None

    def reset(self, seed: int) -> np.ndarray:
        """Start the game of `seed`; return its first frame, (3842,) uint8."""
        self.nle.nethack.set_initial_seeds(seed, seed, False)
        self.nle.reset()
        fix_birthday(self.nle.nethack, seed)
        share_code(self.nle.nethack)
        self._facts, self._logged = None, self._xlogfile.stat().st_size
        self.seed, self.steps, self._idle, self._paid = seed, 0, 0, 0.0
        self._turns, self._score = self._blstats.item(TURNS), self._blstats.item(SCORE)
        self._depth = self._blstats.item(DEPTH)
        return self._frame.copy()

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool]:
        """Take one action; return (frame, reward, terminated, truncated).

        The reward is NLE's: in the challenge, the increase of the score in the bottom line.
        """
        act = self._act_in_challenge if self._is_challenge else self._act_in_task
        reward, terminated = act(action)
        frame = self._frame.copy()
        self.steps += 1
        self._paid += reward
        if terminated:
            self._facts = self._told("terminated")
            return frame, reward, True, False
        self._follow()
        truncated = self.steps >= self._max_steps or self._idle >= self._no_progress
        if truncated:
            self.quit("step limit" if self.steps >= self._max_steps else "no progress")
        return frame, reward, False, truncated

    def _act_in_task(self, action: int) -> tuple[float, bool]:
        """Take one of NLE's own steps; return the reward and whether the game ended."""
        _, reward, terminated, _, _ = self.nle.step(action)
        return reward, terminated

    def _act_in_challenge(self, action: int) -> tuple[float, bool]:
        """Take a step of the challenge; return the reward and whether the game ended.

        The challenge dismisses no prompts before a game is over. NLE's own step copies all
        observations first, which costs as much as NetHack itself; the reward needs only the score.
        """
        nle = self.nle
        observation, done = nle.nethack.step(nle.actions[action])
        if self.observation["program_state"].item(GAME_OVER):
            _, done = nle._perform_known_steps(observation, done)
        if not nle.nethack.in_normal_game():
            return 0.0, done
        return float(self._blstats.item(SCORE) - self._score), done

    def _follow(self) -> None:
        """Keep the values of the bottom lines, which are blank after the end of the game."""
        turns, score, depth = (self._blstats.item(i) for i in (TURNS, SCORE, DEPTH))
        self._idle = self._idle + 1 if turns == self._turns else 0
        self._turns, self._score = turns, score
        self._depth = max(self._depth, depth)

    def quit(self, why: str) -> None:
        """End the game by NetHack's own command, so that NetHack logs it.

        The keys of quitting are at the end of a recording; `episode_facts()['length']` says where
        play ended. `why` becomes the episode's 'end'.
        """
        press = self.nle.nethack.step
        done = False
        for key in [ESC] * 8 + [QUIT, YES] + [ESC, RETURN] * 20:
            if done:
                break
            done = press(key)[1]
        self._facts = self._told(why)

    def episode_facts(self) -> dict[str, Any]:
        """Return the facts of the last episode, as a row of a table.

        'game', 'seed', 'return' (the sum of rewards), 'score' (the last one in the bottom line),
        'points' (NetHack's own total at the end), 'depth' (the deepest level reached), 'turns',
        'length' (agent steps), 'end' ('terminated', 'step limit', 'no progress', or the argument of
        `quit`), 'death' (NetHack's words; 'quit' for a game cut off), 'character'
        (role-race-alignment-gender), 'role' and 'race' (of who was played, as in 'Mon' and 'Hum');
        of a recorded game also the names of its 'folder' and 'ttyrec'. A fact that is missing in
        NetHack's log is None.

        Raises:
            SpecError: no episode has ended yet.
        """
        if self._facts is None:
            raise SpecError("the episode has not ended: its facts are not known yet")
        return self._facts

    def _told(self, end: str) -> dict[str, Any]:
        log = self._log_line()
        names = [log.get(key, "").lower() for key in ("role", "race", "align0", "gender0")]
        death = log.get("death")
        if death and "while" in log:
            death = f"{death}, while {log['while']}"
        return {
            "game": self._game,
            "seed": self.seed,
            "return": self._paid,
            "score": self._score,
            "points": int(log["points"]) if "points" in log else None,
            "depth": max(self._depth, int(log.get("maxlvl", 0))),
            "turns": int(log.get("turns", self._turns)),
            "length": self.steps,
            "end": end,
            "death": death,
            "character": "-".join(names) if all(names) else None,
            "role": log.get("role"),
            "race": log.get("race"),
            **self._recording(),
        }

    def _recording(self) -> dict[str, str]:
        """Return the names of the recording's folder and file; {} if the game is not recorded."""
        if self._savedir is None:
            return {}
        file = self.nle._ttyrec_pattern % self.nle._episode
        return {"folder": self._savedir.name, "ttyrec": Path(file).name}

    def _log_line(self) -> dict[str, str]:
        """Return what NetHack logged about the last game; {} if nothing (a saved game)."""
        line = self._xlogfile.read_bytes()[self._logged :].decode("latin-1").rstrip("\n")
        fields = (word.partition("=") for word in line.split("\t") if word)
        return {name: value for name, _, value in fields}

    def close(self) -> None:
        """End NetHack; its recording is then complete on disk."""
        self.nle.close()


@dataclass(frozen=True)
class NetHack:
    """NetHack: `game("nethack")` or, for example, `game("nethack/NetHackScore-v0", character="@")`.

    An episode is truncated after `no_progress` agent steps in which no game turn passed.
    `processes` is the number of processes of a vectorised environment; it changes only the speed
    and is not part of `options()`.
    """

    name: str
    env_id: str
    n_actions: int
    character: str = "mon-hum-neu-mal"
    max_steps: int = MAX_STEPS
    no_progress: int = NO_PROGRESS
    frame: FrameSpec = FRAME
    random_score: float | None = None
    expert_score: float | None = None
    processes: int = field(default=1, compare=False)

    partially_observed: ClassVar[bool] = True
    play_recipe: ClassVar[str] = "ppo-nethack"
    frames_per_second: ClassVar[int] = 12  # in films; slow enough to read the text
    episode_summary: ClassVar[tuple[str, ...]] = (
        *("score", "depth", "turns", "length", "end", "death"),
    )

    @classmethod
    def named(
        cls,
        env_id: str = CHALLENGE,
        character: str = "mon-hum-neu-mal",
        max_steps: int = MAX_STEPS,
        no_progress: int = NO_PROGRESS,
        processes: int = 1,
    ) -> NetHack:
        """Make the game of NLE's id 'NetHackChallenge-v0' (or just 'NetHackChallenge').

        Raises:
            MissingExtraError: NLE is not installed.
            UnknownNameError: NLE has no environment of that id.
            SpecError: a character NetHack does not admit, or a limit that is not positive.
        """
        known = env_ids()
        full = env_id if env_id in known else f"{env_id}-v0"
        if full not in known:
            raise UnknownNameError("NetHack environment", env_id, list(known))
        check_character(character)
        for what, value in (("no_progress", no_progress), ("processes", processes)):
            if value < 1:
                raise SpecError(f"game 'nethack/{full}': {what} must be at least 1, not {value}")
        return cls(
            f"nethack/{full}",
            full,
            len(action_keys(full)),
            character,
            max_steps,
            no_progress,
            processes=processes,
        )

    @property
    def is_challenge(self) -> bool:
        """Whether the player presses all keys of a game, until it is over.

        In NLE's other tasks NLE presses keys of its own within a step: spaces at messages and
        escapes at questions, until the player must act again.
        """
        return self.env_id == CHALLENGE

    def actions_among(self, game: Game) -> tuple[int, ...] | None:
        """Return which of another NetHack's actions each action is, the key being the same."""
        env_id = getattr(game, "env_id", None)
        if env_id not in env_ids() or game.frame != self.frame:
            return None
        theirs = key_actions(env_id)
        actions = tuple(theirs[key] for key in action_keys(self.env_id))
        return None if -1 in actions else actions

    def check_recordable(self) -> None:
        """Raise SpecError if the player's keys in a recording would look the same as NLE's own."""
        if not self.is_challenge and {SPACE, ESC} & set(action_keys(self.env_id)):
            raise SpecError(
                f"{self.name} cannot be recorded or imported: space and escape are its actions, "
                "and NLE also presses them itself; use nethack/NetHackChallenge-v0"
            )

    def make_env(self, savedir: Path | None = None) -> NetHackEnv:
        """Return a new environment with all observations; NLE records its games in `savedir`."""
        return NetHackEnv(self, RICH, savedir)

    def read(self, observation: Any) -> np.ndarray:
        """Return what NLE gives as a frame: its `tty_` arrays packed, or a frame as it is."""
        if not isinstance(observation, Mapping):
            return np.asarray(observation)
        return pack_tty(*(observation[f"tty_{name}"] for name in ("chars", "colors", "cursor")))

    def make_lean_env(self) -> NetHackEnv:
        """Return a new environment with only the observations that a rollout reads."""
        return NetHackEnv(self, LEAN)

    def make_vector(self, n: int, seed: int) -> VectorEnv:
        """Return `n` environments, stepped in this process or in `processes` processes."""
        seeds = slot_seeds(seed, n)
        if min(self.processes, n) == 1:
            return SerialVector(self.make_lean_env, seeds, self.frame)
        return ProcessVector(self.make_lean_env, seeds, self.frame, min(self.processes, n))

    def make_recorded_vector(self, n: int, seed: int, folder: Path) -> VectorEnv:
        """Return `n` environments with the games of `make_vector`, recorded in a folder a slot."""
        places = iter([folder / f"slot-{slot:03d}" for slot in range(n)])

        def make() -> NetHackEnv:
            place = next(places)
            place.mkdir(parents=True)
            return NetHackEnv(self, LEAN, place)

        return SerialVector(make, slot_seeds(seed, n), self.frame)

    def finish_recordings(self, folder: Path, facts: Sequence[dict[str, Any]]) -> None:
        """List the recorded games of a folder in its games.csv."""
        resolved("isoclone.nethack.recordings.record:write_facts")(folder, facts)

    def draw(self, frame: np.ndarray) -> np.ndarray:
        """Return the terminal's screen as a picture, (384, 640, 3) uint8."""
        picture: np.ndarray = resolved("isoclone.nethack.draw:draw")(frame)
        return picture

    def fits_demonstrations(self, options: dict[str, Any]) -> str | None:
        """Return why demonstrations with these game options do not fit; None if they do."""
        played, mine = options.get("character", ANYBODY), self.character
        if ANYBODY in played + mine or played == mine:
            return None
        return (
            f"holds games of {played}, the study is of {mine}; give it "
            f"game_options={{'character': '{played}'}}, or other demonstrations"
        )

    def adopt(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the options that a study takes over from its demonstrations: their character."""
        played = options.get("character", ANYBODY)
        return {} if ANYBODY in played else {"character": played}

    def record_demonstrations(
        self, request: Any, path: Path, executor: Any = None, progress: Any = None
    ) -> Any:
        """Record games in the folder `recordings` beside `path`, and import them into `path`."""
        record = resolved("isoclone.nethack.recordings.record:record_as_demonstrations")
        return record(request, path, executor, progress)

    def scripted_experts(self) -> dict[str, Any]:
        """Return the game's scripted experts by variant; only the challenge has one."""
        return {"explorer": "isoclone.nethack.experts.bot:NetHackBot"} if self.is_challenge else {}

    def account_of(self, facts: Sequence[dict[str, Any]]) -> EpisodeAccount:
        """Return games ranked as the NetHack Challenge does, by role, race and cause of death."""
        told: EpisodeAccount = resolved("isoclone.nethack.ranking:account")(facts)
        return told

    def options(self) -> dict[str, Any]:
        """Return the settings beside the name."""
        return {
            "character": self.character,
            "max_steps": self.max_steps,
            "no_progress": self.no_progress,
        }
