"""Name -> maker tables, one for each kind of thing a user can add."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from isoclone.errors import UnknownNameError


class Registry:
    """Makers by name. A name ending in '/' is a family: its maker gets the rest of the name."""

    KINDS: ClassVar[set[str]] = set()  # what a user's file can register

    def __init__(self, kind: str):
        self.kind = kind
        self.KINDS.add(kind)
        self._makers: dict[str, Callable[..., Any]] = {}

    def add(self, name: str, maker: Callable[..., Any]) -> None:
        """Register a maker; a later one of the same name replaces the earlier."""
        self._makers[name] = maker

    def copy(self) -> dict[str, Callable[..., Any]]:
        """The table as it is now, for `restore`."""
        return dict(self._makers)

    def restore(self, makers: dict[str, Callable[..., Any]]) -> None:
        """Go back to an earlier table."""
        self._makers = dict(makers)

    def names(self) -> list[str]:
        """All registered names, sorted."""
        return sorted(self._makers)

    def make(self, name: str, *args: Any, **options: Any) -> Any:
        """Call the maker of `name`.

        Raises:
            UnknownNameError: no maker has that name or its family's.
        """
        if name in self._makers and not name.endswith("/"):
            return self._makers[name](*args, **options)
        family, _, rest = name.partition("/")
        if rest and f"{family}/" in self._makers:
            return self._makers[f"{family}/"](rest, *args, **options)
        known = [f"{known}<name>" if known.endswith("/") else known for known in self.names()]
        raise UnknownNameError(self.kind, name, known)
