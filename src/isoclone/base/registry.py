"""Registries: tables from names to makers, one for each kind of thing that can be added.

A maker is a callable, or the name of one as "package.module:Name", which is imported when it is
first used. Packages that are installed add theirs through the entry-point group `isoclone.plugins`.
What comes from outside is checked before it is first used in a process (see `isoclone.testing`).
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Protocol

from isoclone.base.errors import (
    FOREIGN,
    IsocloneError,
    SpecError,
    UnknownNameError,
    foreign_fails,
    words_of,
)

PLUGINS = "isoclone.plugins"  # entry-point group; each entry is a function without arguments
MODULES_VARIABLE = "ISOCLONE_IMPORT"  # modules, comma-separated, that names may refer to

Maker = Callable[..., Any]


class Registry:
    """Makers by name. A name ending in '/' is a family: its maker gets the rest of the name.

    Args:
        kind: what the makers make, in messages.
        first: "package.module:Name" of `first(name, maker, args, options)`, which makes the first
            product of a maker from outside, and raises SpecError if it is unfit. It is imported
            only when needed: the checks import all rooms, and built-in makers do not need them.
    """

    KINDS: ClassVar[set[str]] = set()  # kinds that a user's file can register

    def __init__(self, kind: str, first: str = ""):
        self.kind = kind
        self.KINDS.add(kind)
        self._first = first
        self._makers: dict[str, Any] = {}
        self._unchecked: set[str] = set()
        self._passed: set[str] = set()  # names "package.module:Name" that have passed the check

    def add(self, name: str, maker: Any, checked: bool = True) -> None:
        """Register a maker; a later one of the same name replaces the earlier.

        One that is not `checked` yet is checked before its first use in each process.
        """
        self._makers[name] = maker
        self._unchecked.discard(name)
        if not checked:
            self._unchecked.add(name)

    def remove(self, name: str) -> None:
        """Forget a maker, if there is one of that name."""
        self._makers.pop(name, None)

    def knows(self, name: str) -> bool:
        """Return whether `find` would look for a maker of that name, without importing it."""
        load_plugins()
        family, _, rest = name.partition("/")
        own = name in self._makers and not name.endswith("/")
        return own or bool(rest and f"{family}/" in self._makers) or is_reference(name)

    def reference(self, name: str) -> str | None:
        """Return "package.module:Name" of a maker that is registered so; None for any other."""
        load_plugins()
        maker = self._makers.get(name)
        return maker if isinstance(maker, str) else None

    def names(self) -> list[str]:
        """Return all registered names, sorted."""
        load_plugins()
        return sorted(self._makers)

    def find(self, name: str) -> tuple[Any, tuple[str, ...]]:
        """Return the maker of `name`, and the arguments that the name itself adds.

        Raises:
            UnknownNameError: no maker has that name or its family's.
            SpecError: "package.module:Name" that cannot be imported, or may not be.
        """
        load_plugins()
        family, _, rest = name.partition("/")
        if name in self._makers and not name.endswith("/"):
            return self._guarded(name, resolved(self._makers[name])), ()
        if rest and f"{family}/" in self._makers:
            return self._guarded(f"{family}/", resolved(self._makers[f"{family}/"])), (rest,)
        if is_reference(name):
            maker = _trusted(self.kind, name)
            return maker if name in self._passed else self._checking(name, maker), ()
        known = [f"{known}<name>" if known.endswith("/") else known for known in self.names()]
        raise UnknownNameError(self.kind, name, known)

    def check(self, name: str, maker: Maker, *args: Any, **options: Any) -> None:
        """Check a maker from outside by its product for these arguments.

        Raises:
            SpecError: it is unfit, or fails.
        """
        with foreign_fails(SpecError, f"{self.kind} '{name}': making it failed", 160):
            resolved(self._first)(name, maker, args, options)

    def _guarded(self, name: str, maker: Any) -> Any:
        return self._checking(name, maker) if name in self._unchecked else maker

    def _checking(self, name: str, maker: Maker) -> Maker:
        """Return the maker with the check before its first call."""
        if not self._first:
            return maker

        def checked(*args: Any, **options: Any) -> Any:
            made = resolved(self._first)(name, maker, args, options)
            self._unchecked.discard(name)
            self._passed.add(name)
            return made

        checked.__wrapped__ = maker  # type: ignore[attr-defined]  # its signature is the maker's
        return checked

    def make(self, name: str, *args: Any, **options: Any) -> Any:
        """Call the maker of `name`; raises what `find` raises."""
        maker, first = self.find(name)
        return maker(*first, *args, **options)


def is_reference(name: str) -> bool:
    """Return whether a name has the form "package.module:Name"."""
    module, _, attribute = name.partition(":")
    parts = [*module.split("."), *attribute.split(".")]
    return bool(module and attribute) and all(part.isidentifier() for part in parts)


def resolved(maker: Any) -> Any:
    """Import what "package.module:Name" names; return anything else as it is.

    Raises:
        SpecError: the module cannot be imported, or has no such name.
    """
    if not isinstance(maker, str):
        return maker
    module, _, attribute = maker.partition(":")
    found: Any = _imported(module)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise SpecError(f"{maker}: module {module} has no {attribute}")
        found = getattr(found, part)
    return found


def trusted_modules() -> tuple[str, ...]:
    """Return the modules that names "package.module:Name" may refer to."""
    return tuple(m for m in os.environ.get(MODULES_VARIABLE, "").split(",") if m)


def trust_modules(names: Iterable[str]) -> None:
    """Allow names "package.module:Name" of these modules, here and in worker processes."""
    known = trusted_modules()
    wanted = tuple(dict.fromkeys([*known, *names]))
    if wanted != known:
        os.environ[MODULES_VARIABLE] = ",".join(wanted)


def trust_typed(*names: str | None) -> None:
    """Trust the modules of the names "package.module:Name" among those that a user typed.

    Raises:
        SpecError: one of them cannot be imported; it is not trusted then.
    """
    import_modules(name.partition(":")[0] for name in names if name and is_reference(name))


def import_modules(names: Iterable[str]) -> None:
    """Import modules that a user typed, and trust them: workers will import them too.

    They may register makers when they are imported.

    Raises:
        SpecError: one of them cannot be imported.
    """
    for name in names:
        _imported(name)
        trust_modules([name])


def _imported(module: str) -> ModuleType:
    if not {"", os.getcwd()} & set(sys.path):  # not on the path of a console script
        sys.path.append(os.getcwd())
    with foreign_fails(SpecError, f"module {module} cannot be imported"):
        return importlib.import_module(module)


def _trusted(kind: str, name: str) -> Any:
    module = name.partition(":")[0]
    if module not in trusted_modules():
        raise SpecError(
            f"{kind} '{name}' runs code of the module {module}; allow it by --import {module} "
            f"or {MODULES_VARIABLE}={module}"
        )
    return resolved(name)


BROKEN_PLUGINS: dict[str, str] = {}  # name of an entry point -> why it could not be loaded
_LOADED = False
_IMPORTED: set[str] = set()


def load_plugins() -> None:
    """Call the function of every installed entry point of `isoclone.plugins`, once a process.

    One that fails is left out and kept with its reason in `BROKEN_PLUGINS`. The modules that a
    user named by `--import` are imported after them.

    Raises:
        SpecError: a module that the user named cannot be imported; it is tried again next time.
    """
    global _LOADED
    if not _LOADED:
        _LOADED = True
        for entry in sorted(metadata.entry_points(group=PLUGINS), key=lambda entry: entry.name):
            try:
                entry.load()()
            except FOREIGN as error:
                BROKEN_PLUGINS[entry.name] = words_of(error)
    for module in trusted_modules():
        if module not in _IMPORTED:
            _IMPORTED.add(module)  # first, as the module may call this
            try:
                _imported(module)
            except IsocloneError:
                _IMPORTED.discard(module)
                raise


# ---------------------------------------------------------------------- the command line's tables

Verb = Callable[..., None]
VERBS: dict[str, Verb | str] = {}  # words, as in "demos import csv" -> typed function, or its name


def add_verb(words: str, function: Verb | str) -> None:
    """Add a verb to the command line; a later one of the same words replaces the earlier.

    Args:
        words: what is typed after `isoclone`, as in "demos import csv": groups, then the verb.
        function: a function whose parameters are typed and whose docstring is the help, or its
            name as "package.module:function", which is imported by the command line only.

    Raises:
        SpecError: `words` are not lower case, or the function has no docstring.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]*( [a-z][a-z0-9-]*)*", words):
        raise SpecError(f"verb '{words}': give lower-case words with one blank between them")
    if not isinstance(function, str) and not function.__doc__:
        raise SpecError(f"verb '{words}': its function needs a docstring, which is the help")
    VERBS[words] = function


class Viewer(Protocol):
    """A viewer of games in the terminal, for `isoclone play`."""

    def accepts(self, source: Path, game_name: str | None) -> bool:
        """Return whether this viewer shows `source`.

        Args:
            source: the file that was given, or the checkpoint found in the folder that was given.
            game_name: the game of the checkpoint; None where `source` was not opened yet, for
                viewers of files that are no checkpoints.
        """
        ...

    def show(
        self,
        source: Path,
        *,
        policy: Any,
        out: Path | None,
        seed: int,
        sampling: str,
        at: int,
        frames: int | None,
        json: bool,
    ) -> None:
        """Show `source`; flags as of `isoclone play`, `policy` is the loaded checkpoint or None."""
        ...
