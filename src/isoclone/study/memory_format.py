"""Choose how the weights of a study's convolutions lie in memory: each of its sizes is timed.

Channels last in memory halves a training step of some pictures and sizes, and lengthens that of
others, by whether the processor's library has to rearrange what it is given. No rule was found
that holds for two kinds of pictures, so each size takes a few steps either way (docs/log.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isoclone.policies.base import made_without_storage
from isoclone.study.spec import StudySpec
from isoclone.study.timing import GAIN, SizeTimes, said_of_sizes, sample_seconds
from isoclone.training.recipes import MEMORY_FORMATS


@dataclass(frozen=True)
class FormatTimes(SizeTimes):
    """CPU seconds of a training sample, by memory format."""

    contiguous: float
    channels_last: float


def has_formats(spec: StudySpec) -> bool:
    """Return whether the weights of a study's policy may lie in memory in two ways."""
    from isoclone.training.memory_format import has_choice

    the_game = spec.make_game()
    shape = (spec.policy, spec.widths[0], the_game.frame, the_game.n_actions)
    return has_choice(made_without_storage(*shape, **spec.policy_options))


def format_times(spec: StudySpec, frames: np.ndarray) -> list[FormatTimes]:
    """Time training steps of every size of a study, either way, in the precision of its recipe.

    Args:
        frames: of its game (n, *shape).

    Raises:
        ExecutionError: the policy kept failing.
    """
    precision = spec.recipe["precision"]
    ways = [in_format(spec, name) for name in MEMORY_FORMATS]
    return [
        FormatTimes(width, precision, *sample_seconds(ways, width, frames)) for width in spec.widths
    ]


def with_fastest(spec: StudySpec, times: Sequence[FormatTimes]) -> StudySpec:
    """Return the specification with the format that is faster on the whole, and its exceptions.

    A width takes the other format where that wins by `GAIN`; sizes that come later take the usual
    one.
    """
    usual = sum(math.log(row.gain) for row in times) > len(times) * math.log(GAIN)
    but = [row.width for row in times if (1 / row.gain if usual else row.gain) >= GAIN]
    if not usual and not but:
        return in_format(spec, MEMORY_FORMATS[0])
    return in_format(spec, MEMORY_FORMATS[usual], but)


def in_format(spec: StudySpec, name: str, but: Sequence[int] = ()) -> StudySpec:
    """Return the specification in a memory format, some widths in the other.

    Recipes leave out what is as it was before there was a choice: they keep their identity.
    """
    chosen = {"memory_format": name} if name != MEMORY_FORMATS[0] else {}
    more = {"memory_format_but": list(but)} if but else {}
    old = {k: v for k, v in spec.recipe.items() if not k.startswith("memory_format")}
    return spec.replace(recipe={**old, **chosen, **more})


def said_of_formats(times: Sequence[FormatTimes], precision: str) -> str:
    """Return in words what the memory formats of a precision were chosen by.

    >>> said_of_formats([FormatTimes(8, "float32", 4.1e-4, 5e-4)], "float32")
    'memory format, us a sample contiguous / channels last: width 8 410 / 500'
    """
    each = said_of_sizes(times, precision)
    return f"memory format, us a sample contiguous / channels last: {each}"
