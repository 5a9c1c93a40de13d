"""What a kind of input is to a campaign: how one is ruined, and how the answer to it is judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutate import Draw


class Wrong(AssertionError):
    """An answer that is not right: something was lost or changed, and nobody was told."""


@dataclass(frozen=True)
class Target:
    """A kind of input: `ruin(draw)` makes one, `answer(input)` judges what the library does.

    `answer` returns when the library answered and the answer was right, raises `IsocloneError` when
    the input was refused, and `Wrong` when the library answered but something was silently lost or
    changed. Anything else is a defect.
    """

    ruin: Callable[[Draw], Any]
    answer: Callable[[Any], None]


Maker = Callable[[Path, Path], Target]  # of a target, given the seeds' folder and one to work in


def expect(fine: bool, what: str) -> None:
    if not fine:
        raise Wrong(what)
