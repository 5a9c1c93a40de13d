"""The parser's complaints as one line.

tyro draws a box of several lines and exits. Its hook for errors (`tyro._errors`) is private and
changes without notice, so the text of the box is read; whatever it says becomes one line.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from isoclone.base.errors import UsageError

WANTED = {  # what the parser says of a value it could not read, and what that means
    "[INT": "whole numbers",
    "[FLOAT": "numbers",
    "INT": "a whole number",
    "int()": "a whole number",
    "FLOAT": "a number",
    "float": "a number",
}


def deferred(verbs: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Return the verbs with their signatures; calling one returns the call that is to be made.

    Parsing ends before the verb begins, so that what the verb prints is not taken for a complaint.
    """
    return {name: _defer(verb) for name, verb in verbs.items()}


def _defer(verb: Callable[..., Any]) -> Callable[..., Any]:
    def prepare(*args: Any, **kwargs: Any) -> Callable[[], Any]:
        return functools.partial(verb, *args, **kwargs)

    # Not functools.wraps: the parser would read the docstring of the verb itself, and keep the
    # line breaks inside a flag's description.
    prepare.__name__, prepare.__module__ = verb.__name__, verb.__module__
    prepare.__doc__ = re.sub(r"\n {8,}(?=\S)", " ", inspect.cleandoc(verb.__doc__ or ""))
    prepare.__annotations__ = typing.get_type_hints(verb, include_extras=True)
    prepare.__signature__ = inspect.signature(verb, eval_str=True)  # type: ignore[attr-defined]
    return prepare


@contextlib.contextmanager
def complaints_in_one_line(verb: str) -> Iterator[None]:
    """Turn the parser's exit with a box on stderr into a UsageError; its help passes.

    Args:
        verb: the verb or group whose help is pointed to; '' for the whole command line.

    Raises:
        UsageError: what the box said, and where to read on.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            yield
    except SystemExit as stop:
        if not stop.code:
            raise
        help_for = " ".join(["isoclone", *verb.split(), "--help"])
        raise UsageError(f"{one_line(said.getvalue())} (see {help_for})") from stop


def one_line(box: str) -> str:
    """Return the first section of a box, and the first option that it thinks was meant.

    >>> one_line("╭─ Oh ─╮\\n│ No such │\\n│ flag: --wokers │\\n│ ── │\\n│ Perhaps you meant: │"
    ...          "\\n│ --workers INT │\\n╰──╯")
    'No such flag: --wokers; did you mean --workers?'
    """
    lines = [line.strip().strip("│").strip() for line in box.splitlines()]
    inner = [line for line in lines if line and line[0] not in "╭╰"]
    if "╭" not in box:  # where stdout has no UTF-8, the title stands above a line of dashes
        inner = inner[2:]
    dividers = [i for i, line in enumerate(inner) if not line.strip("─-")] or [len(inner)]
    message = _plainly(" ".join(inner[: dividers[0]]).rstrip("."))
    rest = " ".join(inner[dividers[0] :])
    meant = re.search(r"Perhaps you meant:.*?(--[\w-]+)", rest)
    if meant:
        return f"{message}; did you mean {meant[1]}?"
    known = re.search(r"Available subcommands: (.*?) [─-]{2}", rest)
    return f"{message}; there are {known[1]}" if known else message


def _plainly(message: str) -> str:
    """Return a complaint about a flag's value in plain words.

    >>> _plainly("Error parsing --workers: no type matching INT could be instantiated from ['x']."
    ...          " Got errors: - <class 'int'>: invalid literal for int() with base 10: 'x'")
    "--workers wants a whole number, not 'x'"
    >>> _plainly("Unrecognized or misplaced options: x (applied to isoclone demos) Arguments are"
    ...          " applied to the directly preceding subcommand, so ordering can matter")
    'Unrecognized or misplaced options: x'
    >>> _plainly("Error parsing --seed: invalid literal for int() with base 10: '1.5'")
    "--seed wants a whole number, not '1.5'"
    """
    message = re.sub(r" \(applied to [^)]*\)|,? ?Arguments are applied to .*$", "", message)
    flag = re.match(r"Error parsing (--\S+):", message)
    given = re.search(r"from \[(.*?)\]\. Got|(?:base 10|to float): ('.*')$", message)
    wanted = next((words for sign, words in WANTED.items() if sign in message), None)
    if not flag or not given or not wanted:
        return message
    return f"{flag[1]} wants {wanted}, not {given[1] or given[2]}"
