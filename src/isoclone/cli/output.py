"""All that is written to standard output and standard error; with `screen`, the only such place.

Whatever comes from outside (a name in a table, a path, an error's text) is shown as text: what a
terminal would obey is written out, and what its encoding lacks is replaced by plain characters.

Light, so that verbs on tables need not import the rooms of studies.
"""

from __future__ import annotations

import codecs
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from isoclone.base.errors import IsocloneError, StoreError
from isoclone.base.formatting import visible
from isoclone.base.records import jsonable

PLAIN = {"±": "+-", "×": "x", "·": "-", "–": "-", "—": "-", "…": "...", "−": "-"}
PLAIN |= {"→": "->", "←": "<-", "↑": "up", "↓": "down", "≤": "<=", "≥": ">=", "≈": "~"}
PLAIN |= dict.fromkeys("─━╸╺╴╶═", "-") | dict.fromkeys("│┃║", "|")
PLAIN |= dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼", "+")
LOCALE = ("LC_ALL", "LC_CTYPE", "LANG")  # the first that is set says what the terminal can show
CLOSED = "standard output was closed before all was written"
NOT_WRITTEN = "standard output cannot be written"
Row = Sequence[tuple[str, str]]
OVERRIDES = ("PYTHONIOENCODING", "PYTHONUTF8")


def prepare() -> None:
    """Make the standard streams ready: open, and able to take any text.

    Raises:
        StoreError: standard output is closed, so that any result would be lost.
    """
    for number in range(3):  # or the next file that is opened would be taken for it
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    codecs.register_error("isoclone.plain", _plainly)
    said = next((os.environ[name] for name in LOCALE if os.environ.get(name)), "")
    ascii_only = said in ("C", "POSIX") and not any(map(os.environ.get, OVERRIDES))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            encoding = "ascii" if ascii_only else None
            stream.reconfigure(encoding=encoding, errors="isoclone.plain")
    if sys.stdout is None:
        raise StoreError("standard output is closed; give it a file, or /dev/null")


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """Return plain characters for those that an encoding lacks, and where to go on."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    plain = "".join(PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lacking)
    return plain, error.end


def write(text: str, stream: TextIO | None) -> None:
    """Write text to a standard stream, as text; nowhere if that is closed.

    Raises:
        BrokenPipeError: whoever reads it has gone.
        StoreError: it cannot be written.
    """
    if stream is None:
        return
    try:
        stream.write(visible(text))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StoreError(f"{NOT_WRITTEN}: {error.strerror}") from error


def print_plain(text: str) -> None:
    """Print text as it is on standard output: nothing wrapped, no markup."""
    if _HELD:
        _HELD[-1].append(text + "\n")
    else:
        write(text + "\n", sys.stdout)


_HELD: list[list[str]] = []  # results that wait for the end of `chatter_aside`


@contextmanager
def chatter_aside() -> Iterator[None]:
    """Send what anybody prints in the block to standard error; results follow on standard output.

    A game, an expert or a library may print as it likes: also from C, and in processes begun here.
    """
    ours, kept = sys.stdout, None
    with suppress(OSError, ValueError):  # a stream of Python's alone has no number
        if ours.fileno() == 1:
            ours.flush()
            kept = os.dup(1)
            os.dup2(2, 1)
    sys.stdout = sys.stderr
    _HELD.append([])
    try:
        yield
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)
        sys.stdout = ours
        for text in _HELD.pop():
            write(text, sys.stdout)


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    print_plain(json.dumps(jsonable(value), indent=2, allow_nan=False))


def note(message: str) -> None:
    """Print a remark on standard error, as one line."""
    _line(f"note: {message}")


def complain(error: IsocloneError | str) -> None:
    """Print why the command ends, on standard error, as one line."""
    _line(f"isoclone: {error}")


def _line(text: str) -> None:
    with suppress(OSError, StoreError):
        write(" ".join(text.splitlines()) + "\n", sys.stderr)


class Canvas:
    """The terminal's second screen, drawn row by row; use it as a context manager.

    A row is a list of (text, style), a style the numbers of an SGR sequence, such as '0;7;93'.
    """

    def __init__(self, out: TextIO | None = None):
        self._out = out or sys.stdout

    def __enter__(self) -> Canvas:
        self._out.write("\x1b[?1049h\x1b[?25l\x1b[2J")
        return self

    def __exit__(self, *exception: object) -> None:
        self._out.write("\x1b[0m\x1b[?25h\x1b[?1049l")
        self._out.flush()

    def draw(self, rows: Sequence[Row]) -> None:
        """Draw rows from the top of the screen on; texts are shown as `write` shows them."""
        lines = ("".join(f"\x1b[{style}m{visible(text)}" for text, style in row) for row in rows)
        self._out.write("\x1b[H" + "\r\n".join(f"{line}\x1b[0m\x1b[K" for line in lines))
        self._out.flush()


def finish(code: int) -> int:
    """Hand on all that was printed; return the exit code, which is 1 if some of it was lost."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        if code == 0:
            broken = isinstance(error, BrokenPipeError)
            complain(CLOSED if broken else f"{NOT_WRITTEN}: {error.strerror}")
        forget_output()
        return code or 1
    return code


def forget_output() -> None:
    """Send what is still to be written to nowhere, so that the interpreter ends quietly."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
