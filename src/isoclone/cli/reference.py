"""The reference of the command line, docs/cli.md, made from the verbs' own help.

python -m isoclone.cli.reference > docs/cli.md
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from unittest import mock

from isoclone.cli import groups_of, main, output, verbs

WIDTH = "100"
HEAD = """# The command line

<!-- Made by `make docs` from the help of the verbs; change their docstrings, not this page. -->

One verb for each public function. Results go to stdout, with `--json` as exactly one JSON document;
everything else goes to stderr. Every verb is safe to repeat: what is done is not done again.

Exit codes: 0 done; 1 something failed, nothing finished is lost, the same command goes on from
there; 2 what was asked for cannot be done as asked; 130 stopped by Ctrl-C or a polite kill
(SIGTERM), finished work is kept. All but 0 come with one line that says what and where, and after a
stop whether the same command goes on or begins anew. Verbs that installed plugins add are among the
others.
"""


def page() -> str:
    """Return docs/cli.md: the help of the command line, of every group, and of every verb."""
    known = list(verbs())
    places = [""]
    for verb in known:
        places += [place for place in (*groups_of(verb), verb) if place not in places]
    return HEAD + "".join(_section(place, place in known) for place in places)


def _section(place: str, is_verb: bool) -> str:
    name = f"isoclone {place}".strip()
    title = name if is_verb else f"The verbs of `{name}`"
    return f"\n## {title}\n\n```text\n{help_of(place)}\n```\n"


def help_of(place: str) -> str:
    """Return what `isoclone PLACE --help` prints at a width of 100, without boxes and colours.

    tyro draws boxes only where stdout is known to be UTF-8, which a string is not.
    """
    said = io.StringIO()
    with (
        mock.patch.dict(os.environ, {"COLUMNS": WIDTH, "NO_COLOR": "1"}),
        contextlib.redirect_stdout(said),
        contextlib.suppress(SystemExit),
    ):
        main([*place.split(), "--help"])
    return "\n".join(_plain(said.getvalue())).strip()


def _plain(text: str) -> Iterator[str]:
    """Yield the lines of a help text without blank ones in a row, sections as "title:"."""
    before = ""
    lines = [line.rstrip() for line in text.splitlines()]
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if line.strip("- ") and not after.strip("- ") and "---" in after:
            line = f"{line.strip()}:"
        if (line or before) and "-----" not in line:
            yield line
        before = line


if __name__ == "__main__":
    output.write(page(), sys.stdout)
