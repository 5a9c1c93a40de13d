"""Name -> maker tables, one for each kind of thing that can be added.

A maker is a callable, or the name of one as "package.module:Name", which is imported when it is
first used. Packages that are installed add theirs through the entry-point group `isoclone.plugins`.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Protocol

from isoclone.base.errors import SpecError, UnknownNameError

PLUGINS = "isoclone.plugins"  # entry-point group; each entry is a function without arguments
MODULES_VARIABLE = "ISOCLONE_IMPORT"  # modules, comma-separated, that names in a study may be of

Maker = Callable[..., Any]


class Registry:
    """Makers by name. A name ending in '/' is a family: its maker gets the rest of the name."""

    KINDS: ClassVar[set[str]] = set()  # what a user's file can register

    def __init__(self, kind: str):
        self.kind = kind
        self.KINDS.add(kind)
        self._makers: dict[str, Maker | str] = {}

    def add(self, name: str, maker: Maker | str) -> None:
        """Register a maker; a later one of the same name replaces the earlier."""
        self._makers[name] = maker

    def remove(self, name: str) -> None:
        """Forget a maker, if there is one of that name."""
        self._makers.pop(name, None)

    def names(self) -> list[str]:
        """Return all registered names, sorted."""
        load_plugins()
        return sorted(self._makers)

    def find(self, name: str) -> tuple[Maker, tuple[str, ...]]:
        """Return the maker of `name`, and the arguments that the name itself adds.

        Raises:
            UnknownNameError: no maker has that name or its family's.
            SpecError: "package.module:Name" that cannot be imported, or may not be.
        """
        load_plugins()
        if name in self._makers and not name.endswith("/"):
            return resolved(self._makers[name]), ()
        family, _, rest = name.partition("/")
        if rest and f"{family}/" in self._makers:
            return resolved(self._makers[f"{family}/"]), (rest,)
        if is_reference(name):
            return _trusted(self.kind, name), ()
        known = [f"{known}<name>" if known.endswith("/") else known for known in self.names()]
        raise UnknownNameError(self.kind, name, known)

    def make(self, name: str, *args: Any, **options: Any) -> Any:
        """Call the maker of `name`; raises what `find` raises."""
        maker, first = self.find(name)
        return maker(*first, *args, **options)


def is_reference(name: str) -> bool:
    """Return whether a name has the form "package.module:Name"."""
    module, _, attribute = name.partition(":")
    parts = [*module.split("."), *attribute.split(".")]
    return bool(module and attribute) and all(part.isidentifier() for part in parts)


def resolved(maker: Maker | str) -> Maker:
    """Import what "package.module:Name" names; return a callable as it is."""
    if not isinstance(maker, str):
        return maker
    module, _, attribute = maker.partition(":")
    found: Any = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    maker_found: Maker = found
    return maker_found


def trust_modules(names: list[str]) -> None:
    """Let names "package.module:Name" of these modules be used, here and in worker processes."""
    known = [name for name in os.environ.get(MODULES_VARIABLE, "").split(",") if name]
    os.environ[MODULES_VARIABLE] = ",".join(dict.fromkeys([*known, *names]))


def _trusted(kind: str, name: str) -> Maker:
    module = name.partition(":")[0]
    if module not in os.environ.get(MODULES_VARIABLE, "").split(","):
        raise SpecError(
            f"{kind} '{name}' runs code of the module {module}; allow it by --import {module} "
            f"or {MODULES_VARIABLE}={module}"
        )
    try:
        return resolved(name)
    except (ImportError, AttributeError) as error:
        raise SpecError(f"{kind} '{name}' cannot be imported: {error}") from error


BROKEN_PLUGINS: dict[str, str] = {}  # name of an entry point -> why it could not be loaded
_LOADED = False


def load_plugins() -> None:
    """Call the function of every installed entry point of `isoclone.plugins`, once a process.

    One that fails is left out and kept with its reason in `BROKEN_PLUGINS`.
    """
    global _LOADED
    if _LOADED:
        return
    _LOADED = True
    for entry in sorted(metadata.entry_points(group=PLUGINS), key=lambda entry: entry.name):
        try:
            entry.load()()
        except Exception as error:  # whatever is wrong with somebody's package
            said = " ".join(str(error).split())[:200]
            BROKEN_PLUGINS[entry.name] = f"{type(error).__name__}: {said}"


# ---------------------------------------------------------------------- the command line's tables

Verb = Callable[..., None]
VERBS: dict[str, Verb | str] = {}  # words, as in "demos import nld" -> typed function, or its name


def add_verb(words: str, function: Verb | str) -> None:
    """Add a verb to the command line; a later one of the same words replaces the earlier.

    Args:
        words: what is typed after `isoclone`, as in "demos import nld": groups, then the verb.
        function: a function whose parameters are typed and whose docstring is the help, or its
            name as "package.module:function", which is imported by the command line only.

    Raises:
        SpecError: words that nobody could type, or a function without a docstring.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]*( [a-z][a-z0-9-]*)*", words):
        raise SpecError(f"verb '{words}': give lower-case words with one blank between them")
    if not isinstance(function, str) and not function.__doc__:
        raise SpecError(f"verb '{words}': its function needs a docstring, which is the help")
    VERBS[words] = function


class Viewer(Protocol):
    """Shows games in the terminal that no film shows well, for `isoclone play`."""

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


VIEWERS = Registry("viewer")  # makers without arguments, each of a Viewer
