"""The two consoles: styles, tables and bars, of texts that are never taken for markup.

What comes from outside is shown as text wherever it stands: nothing that is printed here is read as
markup, and what a terminal would obey is written out (see `output`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from isoclone.base.formatting import visible

LINE_SECONDS = 20.0  # between lines of progress where there is no terminal


class Screen(Console):
    """A console that shows control characters instead of sending them."""

    def __init__(self, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False)

    def render_str(self, text: str, **how: Any) -> Text:  # before anything is laid out
        return super().render_str(visible(text), **how)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            # What has a control moves the cursor: rich made it, for a bar.
            yield segment if segment.control else segment._replace(text=visible(segment.text))

    def say(self, *parts: str | Text | tuple[str, str]) -> None:
        """Print a line that is not wrapped, of texts and of (text, style)."""
        self.print(styled(*parts), soft_wrap=True)


class Pace:
    """Tells when the next line of progress is due, where no bar can be shown."""

    def __init__(self, screen: Console, begun: float = 0.0) -> None:
        self._screen, self._said = screen, begun

    def due(self) -> bool:
        """Return whether to say a line now; the next one is then due `LINE_SECONDS` later."""
        now = time.monotonic()
        if self._screen.is_terminal or now - self._said <= LINE_SECONDS:
            return False
        self._said = now
        return True


def styled(*parts: str | Text | tuple[str, str]) -> Text:
    """Return a line of texts and of (text, style)."""
    return Text.assemble(*(_shown(part) for part in parts))


def joined(lines: Iterable[Text]) -> Text:
    """Return many lines as one text, which is printed in a third of the time of each by itself."""
    return Text("\n").join(lines)


def _shown(part: str | Text | tuple[str, str]) -> str | Text | tuple[str, str]:
    if isinstance(part, str):
        return visible(part)
    return (visible(part[0]), part[1]) if isinstance(part, tuple) else part


def table(titles: Iterable[str], first: str = "left", others: str = "right") -> Table:
    """Return a table without lines, of such columns."""
    made = Table(box=None, pad_edge=False)
    for position, title in enumerate(titles):
        made.add_column(title, justify=first if position == 0 else others)  # type: ignore[arg-type]
    return made


STDERR = Screen(stderr=True)
STDOUT = Screen()
