"""AutoAscend, the bot that won the NetHack Challenge 2021: from PyPI, or the user's own checkout.

The package `nethackers` brings the bot (MIT) with it. The original, a checkout of
github.com/maciej-sypetkowski/autoascend, was written for NLE of 2021. Either runs unmodified: it
gets an environment with the old interface, and empty modules for the two plotting libraries that it
imports and does not use in play. isoclone contains no part of it.

The bot calls the environment, but an expert returns one action for each call. So the bot of each
game runs in its own thread, which waits except while its next action is wanted.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import sys
import threading
import types
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, ClassVar

import numpy as np

from isoclone.base.errors import ExecutionError, MissingExtraError, SpecError
from isoclone.base.records import stable_id
from isoclone.base.store import sha256_file
from isoclone.experts.base import View
from isoclone.games import Game

NEEDED = ("numba", "nltk", "toolz", "scipy", "cv2")
STAND_INS = ("matplotlib", "matplotlib.pyplot", "seaborn")
KNOWN = "github.com/maciej-sypetkowski/autoascend at 8527910"
STATS = 26  # that the original knows; NLE now has 27
SCORE = 9
PATIENCE_SECONDS = 900.0  # for one action; a process's first one compiles for a minute
ESC = 27
TELEPORT_PROMPT = "Where do you want to be teleported?"


@dataclass(frozen=True)
class AutoAscend:
    """An expert: the bot in the checkout at `path`. Every game begins with the bot's own seed 0."""

    path: str
    name: str = "autoascend"
    lockstep: int = 1
    remembers: ClassVar[bool] = True
    recurrent: ClassVar[bool] = True

    def act(self, views: Sequence[View]) -> list[int]:
        """Return one action for each view.

        Raises:
            ExecutionError: the bot stopped or failed, or cannot be imported.
        """
        return [self._act(view) for view in views]

    def _act(self, view: View) -> int:
        session: _Session | None = view.memory.get("autoascend")
        if session is None:
            session = view.memory["autoascend"] = _Session(load(self.path), view.env)
        return session.next_action()


def make_autoascend(game: Game, path: str = "") -> AutoAscend:
    """Return the bot as an expert for NetHack's challenge: that of `nethackers`, or of a checkout.

    Raises:
        MissingExtraError: no path is given, and the bot's package is not installed.
        SpecError: no checkout of the bot at the path or another version of it, a missing
            dependency, or another game.
    """
    if game.name != "nethack/NetHackChallenge-v0":
        raise SpecError(f"autoascend plays nethack/NetHackChallenge-v0, not {game.name}")
    folder = Path(path) if path else packaged()
    check_checkout(folder)
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(f"autoascend ({', '.join(missing)} missing)", "autoascend")
    return AutoAscend(str(folder.resolve()))


def _identity(path: str = "", **options: Any) -> dict[str, Any]:
    """Return which bot it is: the package's version, or the hashes of a checkout's files."""
    if path:
        files = sorted((Path(path) / "autoascend").rglob("*.py"))
        return {"files": stable_id({p.name: sha256_file(p) for p in files}, 16)}
    packaged()
    return {"nethackers": metadata.version("nethackers")}


make_autoascend.identity = _identity  # type: ignore[attr-defined]


def packaged() -> Path:
    """Return the folder of the bot that the package `nethackers` brings.

    Raises:
        MissingExtraError: it is not installed, or brings none.
    """
    found = importlib.util.find_spec("nethackers")
    places = found.submodule_search_locations if found else None
    folders = [Path(place) / "roots" / "autoascend" for place in places or ()]
    there = [folder for folder in folders if folder.is_dir()]
    if not there:
        what = "autoascend (or --options path=PATH, a checkout of its own)"
        raise MissingExtraError(what, "autoascend")
    return there[0]


def check_checkout(path: Path) -> None:
    """Raise SpecError unless the folder holds the right version of the bot; run none of it."""
    source = path / "autoascend" / "agent.py"
    if not source.is_file():
        raise SpecError(
            f"--options path={path}: no {source.relative_to(path)} there; "
            f"give a checkout of {KNOWN}"
        )
    wrong = f"--options path={path}: not the version this adapter drives"
    try:
        tree = ast.parse(source.read_text("utf-8"))
    except (SyntaxError, ValueError, OSError) as error:
        raise SpecError(f"{wrong}: {source.name} cannot be read ({error}); use {KNOWN}") from error
    agents = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Agent"]
    methods = {
        method.name: {a.arg for a in method.args.args}
        for agent in agents
        for method in agent.body
        if isinstance(method, ast.FunctionDef)
    }
    fits = {"env", "seed", "panic_on_errors"} <= methods.get("__init__", set())
    if not (fits and {"main", "step"} <= methods.keys()):
        raise SpecError(f"{wrong}: its Agent takes other arguments; use {KNOWN}")


def load(path: str) -> types.ModuleType:
    """Import the bot's main module from the checkout at `path`.

    Raises:
        ExecutionError: the import fails, or another checkout was imported before.
    """
    with _stand_ins(), _first_on_path(path):
        try:
            agent = importlib.import_module("autoascend.agent")
        except Exception as error:
            said = " ".join(str(error).split())
            raise ExecutionError(
                f"{path} cannot be imported: {type(error).__name__}: {said}"
            ) from error
    if not Path(str(agent.__file__)).is_relative_to(Path(path)):
        raise ExecutionError(f"{agent.__file__} is already loaded; {path} needs a new process")
    return agent


@contextlib.contextmanager
def _stand_ins() -> Iterator[None]:
    """Replace missing plotting libraries by empty modules, within a `with` block."""
    absent = [n for n in STAND_INS if importlib.util.find_spec(n.partition(".")[0]) is None]
    for name in absent:
        module = types.ModuleType(name)
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


@contextlib.contextmanager
def _first_on_path(path: str) -> Iterator[None]:
    sys.path.insert(0, path)
    try:
        yield
    finally:
        sys.path.remove(path)


class _OldEnv:
    """The environment with the bot's old interface: no truncation, the statistics it knows."""

    def __init__(self, env: Any, actions: SimpleQueue[Any], turns: SimpleQueue[bool], stats: int):
        self._stats = stats
        self._seen: dict[str, np.ndarray] = env.observation
        self._index = {int(key): index for index, key in reversed([*enumerate(env.nle.actions)])}
        self._actions, self._turns = actions, turns
        self.agent: Any = None

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, dict[str, Any]]:
        """Pass on the action, wait until it was carried out, and return what NLE shows then."""
        if action == ESC and TELEPORT_PROMPT in self.agent.message:
            # Otherwise the bot reads on in the prompt it has just left, and answers it forever.
            self.agent._is_reading_message_or_popup = False
        score = int(self._seen["blstats"][SCORE])
        self._actions.put(self._index[int(action)])
        over = not self._turns.get()
        seen = dict(self._seen)
        seen["blstats"] = seen["blstats"][: self._stats]
        seen["tty_cursor"] = seen["tty_cursor"].astype(np.int64)  # the bot subtracts below 0
        return seen, float(int(self._seen["blstats"][SCORE]) - score), over, {}

    def debug_tiles(self, *args: Any, **options: Any) -> contextlib.AbstractContextManager[None]:
        """Return a context that does nothing; the bot draws on its own display here."""
        return contextlib.nullcontext()

    debug_log = debug_tiles


class _Session:
    """The bot of one game, in its thread, which ends when the session is deleted."""

    def __init__(self, module: types.ModuleType, env: Any):
        self._actions: SimpleQueue[Any] = SimpleQueue()
        self._turns: SimpleQueue[bool] = SimpleQueue()
        self._begun = False
        known = getattr(getattr(module, "BLStats", None), "_fields", None)
        old = _OldEnv(env, self._actions, self._turns, len(known) if known else STATS)
        arguments = module, old, self._actions
        threading.Thread(target=_live, args=arguments, daemon=True).start()
        weakref.finalize(self, self._turns.put, False)

    def next_action(self) -> int:
        """Return the bot's next action; its last one must have been carried out."""
        if self._begun:
            self._turns.put(True)
        self._begun = True
        try:
            said = self._actions.get(timeout=PATIENCE_SECONDS)
        except Empty:
            said = f"no action for {PATIENCE_SECONDS:.0f} s"
        if isinstance(said, str):
            raise ExecutionError(f"AutoAscend gave up: {said}")
        return int(said)


def _live(module: types.ModuleType, env: _OldEnv, actions: SimpleQueue[Any]) -> None:
    """Play in a thread until the game is over; if the bot stops before, put the reason."""
    try:
        with np.errstate(all="ignore"):
            env.agent = module.Agent(env, seed=0, panic_on_errors=True)
            env.agent.main()
        actions.put("it stopped playing")
    except BaseException as error:
        actions.put(f"{type(error).__name__}: {' '.join(str(error).split())}"[:300])
