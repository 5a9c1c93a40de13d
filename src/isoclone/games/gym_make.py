"""Making Gymnasium environments: by id, keywords and wrappers; one-line errors when that fails."""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from isoclone.base.errors import FOREIGN, IsocloneError, SpecError, UnknownNameError, words_of
from isoclone.base.quiet import quietly
from isoclone.base.registry import trusted_modules
from isoclone.games.base import close

OWN = "gymnasium."  # modules of Gymnasium itself, which need no trust
PLUGINS = ("gymnasium.envs", "gymnasium.envs.__root__")
ATARI_MODULE = "ale_py"
HINT = "a package that registers games when it is imported is named by --import MODULE"


def make_gymnasium(env_id: str, make: dict[str, Any], wrappers: Sequence[str]) -> Any:
    """Make an environment and put the wrappers around it, the first one innermost.

    Args:
        env_id: as Gymnasium knows it.
        make: keywords for `gymnasium.make`.
        wrappers: names "module:Name", called with the environment.

    Raises:
        UnknownNameError: Gymnasium does not know the id.
        SpecError: it cannot be made; the message has the environment's own words.
    """
    import gymnasium

    title = f"gym/{env_id}"
    _find(env_id)
    _check_module(title, env_id.partition(":")[0] if ":" in env_id else "")
    makers = [_wrapper(title, name) for name in wrappers]
    try:
        with quietly():  # about old versions and missing checks; what matters is raised
            env = gymnasium.make(env_id, disable_env_checker=True, **make)
    except IsocloneError:
        raise
    except FOREIGN as error:  # foreign code may raise anything
        raise _failed(title, error) from error
    for name, maker in zip(wrappers, makers, strict=True):
        try:
            env = maker(env)
        except FOREIGN as error:
            close(env)
            raise _failed(f"{title} in the wrapper {name}", error) from error
    return env


def _find(env_id: str) -> None:
    """Have the game registered by the installed package that brings it.

    Packages name a function that registers their games in the entry points of Gymnasium.

    Raises:
        UnknownNameError: nobody knows the id.
        SpecError: an Atari game, made in another way unless --import ale_py is given.
    """
    import gymnasium

    if ":" in env_id:  # its module will register it
        return
    if env_id not in gymnasium.registry:
        _load_plugins(env_id)
    spec = gymnasium.registry.get(env_id)
    from_ale = spec is None or str(spec.entry_point).startswith(ATARI_MODULE)
    if from_ale and not (spec and ATARI_MODULE in trusted_modules()):
        title = _as_atari(env_id)
        if title:
            raise SpecError(f"gym/{env_id}: Atari games are made by isoclone itself, as {title}")
    if spec is None:
        known = [f"gym/{name}" for name in gymnasium.registry]
        raise UnknownNameError("Gymnasium game", f"gym/{env_id}", known, HINT)


def _load_plugins(env_id: str) -> None:
    """Call what installed packages name in Gymnasium's entry points, until the id is known."""
    import gymnasium

    entries = [e for group in PLUGINS for e in metadata.entry_points(group=group)]
    for entry in sorted(entries, key=lambda e: (e.name != env_id.partition("/")[0], e.name)):
        if entry.name not in _LOADED and env_id not in gymnasium.registry:
            _LOADED.add(entry.name)
            with contextlib.suppress(*FOREIGN):  # foreign code may raise anything
                entry.load()()


_LOADED: set[str] = set()


def _failed(what: str, error: BaseException) -> SpecError:
    return SpecError(f"{what} cannot be made: {words_of(error)}")


def _check_module(title: str, module: str) -> None:
    inside = [OWN, *(f"{name}." for name in trusted_modules())]
    if module and not any(f"{module}.".startswith(name) for name in inside):
        raise SpecError(f"{title} runs code of the module {module}; allow it by --import {module}")


def _wrapper(title: str, name: str) -> Any:
    from isoclone.base.registry import is_reference, resolved

    if not is_reference(name):
        raise SpecError(f"{title}: a wrapper is named as module:Name, not '{name}'")
    _check_module(f"the wrapper {name}", name.partition(":")[0])
    return resolved(name)


def _as_atari(env_id: str) -> str | None:
    """Return our name of an Atari game that Gymnasium has under other names, None for others."""
    from isoclone.games.atari import rom_names

    bare = re.sub(r"^ALE/|-v\d+$", "", env_id)
    bare = re.sub(r"(-ram)?(NoFrameskip|Deterministic)?(-ram)?$", "", bare)
    return f"atari/{bare}" if bare in rom_names() else None


def spaces_of(env_id: str, make: dict[str, Any], wrappers: Sequence[str]) -> tuple[Any, Any, bool]:
    """Return observation space, action space, and whether Gymnasium itself brings the game.

    An environment is made for it once in a process, and closed.
    """
    import gymnasium

    key = env_id, json.dumps(make, sort_keys=True), tuple(wrappers)
    return _spaces(*key, id(gymnasium.registry.get(env_id)))


@functools.cache
def _spaces(
    env_id: str, make: str, wrappers: tuple[str, ...], registered: int
) -> tuple[Any, Any, bool]:
    env = make_gymnasium(env_id, json.loads(make), wrappers)
    try:
        made = env.observation_space, env.action_space
        own = type(env.unwrapped).__module__.startswith(OWN)
    finally:
        close(env)
    return (*made, own)
