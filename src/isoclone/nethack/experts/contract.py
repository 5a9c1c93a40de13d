"""Bots of the contract of `nethackers`, as experts: a folder with a `bot.py`.

`bot.py` defines `make_agent()`, which returns an object with `reset(observation)`, called once at
the start of an episode, and `act(observation)`, which returns an index into `nle.nethack.ACTIONS`;
and `close()`, if it likes. An observation is a mapping of the 14 arrays in `OBSERVED`, not to be
written to. As in the package's arena, each episode has a bot of its own, and the global generators
of Python and NumPy are seeded before it is made.

A bot's code is run, so it wants trust.
"""

from __future__ import annotations

import importlib.util
import random
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from isoclone.base.errors import FOREIGN, ExecutionError, SpecError, TrustError, words_of
from isoclone.base.records import stable_id
from isoclone.base.store import sha256_file
from isoclone.experts.base import View
from isoclone.games import Game
from isoclone.nethack.game import RICH

BOT = "bot.py"
OBSERVED = RICH
MEMORY = "bot"  # where a view keeps its episode's bot


@dataclass(frozen=True)
class Bot:
    """A bot as an expert."""

    remembers: ClassVar[bool] = True
    recurrent: ClassVar[bool] = True
    path: str
    make: Any = field(repr=False, compare=False)
    actions: tuple[int, ...] = field(repr=False)  # from an index of the contract to the game's
    identity: dict[str, Any] = field(repr=False, compare=False)
    name: str = "bot"
    lockstep: int = 1

    def act(self, views: Sequence[View]) -> list[int]:
        """Return one action for each view.

        Raises:
            ExecutionError: the bot fails, or chooses what is no action of the game.
        """
        return [self._act(view) for view in views]

    def _act(self, view: View) -> int:
        seen = observed(view.env.observation)
        try:
            if MEMORY not in view.memory:
                view.memory[MEMORY] = self._begun(view, seen)
            said = view.memory[MEMORY].act(seen)
        except FOREIGN as error:
            raise ExecutionError(f"{self.name} failed: {words_of(error, 300)}") from error
        known = isinstance(said, int | np.integer) and 0 <= said < len(self.actions)
        action = self.actions[int(said)] if known else -1
        if action < 0:
            raise ExecutionError(f"{self.name} chose {said!r:.60}, which is no action of the game")
        return action

    def _begun(self, view: View, seen: Mapping[str, np.ndarray]) -> Any:
        """Return a new bot, told of its first observation."""
        seed = int(view.rng.integers(2**32))
        random.seed(seed)
        np.random.seed(seed)
        bot = self.make()
        bot.reset(seen)
        return bot


def observed(arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Return copies of what a bot may see, which cannot be written to."""
    copies = {key: np.array(arrays[key]) for key in OBSERVED}
    for array in copies.values():
        array.flags.writeable = False
    return types.MappingProxyType(copies)


def make_bot(rest: str, game: Game, trust: bool = False) -> Bot:
    """Return the bot in the folder `rest` as an expert.

    Raises:
        TrustError: `trust` is not given: its code would be run.
        SpecError: there is no bot, or the game is not NetHack.
        ExecutionError: its code cannot be imported, or has not what the contract asks for.
    """
    folder = Path(rest)
    if not game.name.startswith("nethack/"):
        raise SpecError(f"bots of nethackers play nethack, not {game.name}")
    if not (folder / BOT).is_file():
        raise SpecError(f"expert nethackers/{rest}: no {BOT} there; give the folder of a bot")
    if not trust:
        raise TrustError(
            f"expert nethackers/{rest} is code that would be run; if you trust its author, pass "
            "trust=True (--trust)"
        )
    folder = folder.resolve()
    make = getattr(_loaded(folder), "make_agent", None)
    if not callable(make):
        raise ExecutionError(f"{folder / BOT} has no make_agent()")
    _check_bot(folder, make)
    return Bot(str(folder), make, _actions(game), identity_of(rest), f"bot:{folder.name}")


def _check_bot(folder: Path, make: Any) -> None:
    """Make one bot, and raise ExecutionError unless it has what the contract asks for."""
    try:
        bot = make()
    except FOREIGN as error:
        raise ExecutionError(f"{folder}: make_agent() failed: {words_of(error)}") from error
    for name in ("reset", "act"):
        if not callable(getattr(bot, name, None)):
            raise ExecutionError(f"{folder}: what make_agent() returns has no {name}()")
    with suppress(Exception):
        getattr(bot, "close", lambda: None)()


def _actions(game: Any) -> tuple[int, ...]:
    """Return the game's action for each index of the contract, -1 where it has none."""
    from nle import nethack

    from isoclone.nethack.game import CHALLENGE, action_keys

    if game.env_id == CHALLENGE:
        return tuple(range(len(nethack.ACTIONS)))
    mine = action_keys(game.env_id)
    keys = [int(action) for action in nethack.ACTIONS]
    return tuple(mine.index(key) if key in mine else -1 for key in keys)


def identity_of(rest: str, **options: Any) -> dict[str, Any]:
    """Return the identity of the bot in a folder: a hash of its files."""
    folder = Path(rest).resolve()
    files = sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    hashes = {p.relative_to(folder).as_posix(): sha256_file(p) for p in files}
    return {"bot": folder.name, "files": stable_id(hashes, 16)}


make_bot.identity = identity_of  # type: ignore[attr-defined]


def _loaded(folder: Path) -> types.ModuleType:
    """Import a bot; what it imports from its folder is found there first.

    Raises:
        ExecutionError: the import fails, or would take a module of another bot for one of this.
    """
    for other in _shadowed(folder):
        raise ExecutionError(f"{other} is loaded from elsewhere; {folder} needs a new process")
    name = f"isoclone_bot_{stable_id(str(folder))}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, folder / BOT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with _on_path(folder):
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except FOREIGN as error:
            del sys.modules[name]
            raise ExecutionError(f"{folder / BOT} cannot be imported: {words_of(error)}") from error
    return module


def _shadowed(folder: Path) -> Iterator[str]:
    """Yield modules of the folder's names that were loaded from another place."""
    for entry in folder.iterdir():
        name = entry.stem if entry.suffix == ".py" else entry.name
        loaded = sys.modules.get(name) if entry.name != BOT else None
        file = getattr(loaded, "__file__", None)
        if file and not Path(file).resolve().is_relative_to(folder):
            yield name


@contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    """Put a folder first on Python's path for the block, and last from then on."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.path.append(str(folder))
