"""Choose up to which width kernels compute a study's convolutions: some of its sizes are timed.

Kernels compiled for a size take a quarter of the time of torch's convolutions where those are of a
few channels, and lose where they are wide; where the one becomes the other depends on the machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isoclone.policies.base import made_without_storage
from isoclone.study.spec import StudySpec
from isoclone.study.timing import GAIN, SIZE_SECONDS, SizeTimes, said_of_sizes, sample_seconds

SIZE_SECONDS_COMPILED = SIZE_SECONDS + 0.8  # about what timing a size takes, compiling included


@dataclass(frozen=True)
class KernelTimes(SizeTimes):
    """CPU seconds of a training sample, by who computes convolutions."""

    torch: float
    compiled: float


def has_kernels(spec: StudySpec) -> bool:
    """Return whether kernels can compute the convolutions of a study's policy, on this machine."""
    from isoclone.policies.kernels import compiler, parts_with_kernels

    the_game = spec.make_game()
    shape = (spec.policy, spec.widths[0], the_game.frame, the_game.n_actions)
    module = made_without_storage(*shape, **spec.policy_options)
    return bool(compiler() and parts_with_kernels(module))


def kernel_times(
    spec: StudySpec, frames: np.ndarray, seconds: float = math.inf
) -> list[KernelTimes]:
    """Time training steps both ways at those sizes that tell where kernels stop to gain.

    The wider a network, the less it gains by them: the largest size is timed first, and if it
    gains nothing, halves of what is left, until the time is over. All is in the precision of the
    recipe; there is nothing to time where the processor does not multiply it.

    Args:
        frames: of its game (n, *shape).
        seconds: that it may take, about.

    Raises:
        ExecutionError: the policy, or the compiler, kept failing.
    """
    from isoclone.policies.kernels import multiplies_bfloat16

    rows, precision = list[KernelTimes](), spec.recipe["precision"]
    if precision == "bfloat16" and not multiplies_bfloat16():
        return rows
    gaining, end = 0, len(spec.widths)  # so many of the smallest gain, and from `end` on none does
    while gaining < end and (len(rows) + 1) * SIZE_SECONDS_COMPILED <= seconds:
        i = (gaining + end) // 2 if rows else end - 1
        width = spec.widths[i]
        ways = compiled_to(spec, 0), compiled_to(spec, width)
        rows.append(KernelTimes(width, precision, *sample_seconds(ways, width, frames)))
        gaining, end = (i + 1, end) if rows[-1].gain >= GAIN else (gaining, i)
    return sorted(rows, key=lambda row: row.width)


def with_kernels(spec: StudySpec, times: Sequence[KernelTimes]) -> StudySpec:
    """Return the specification with kernels up to the last width that gains by them."""
    return compiled_to(spec, max((row.width for row in times if row.gain >= GAIN), default=0))


def compiled_to(spec: StudySpec, width: int) -> StudySpec:
    """Return the specification with kernels up to a width.

    Recipes leave out what is as it was before there was a choice: they keep their identity.
    """
    old = {name: value for name, value in spec.recipe.items() if name != "compiled_to"}
    return spec.replace(recipe={**old, **({"compiled_to": width} if width else {})})


def said_of_kernels(times: Sequence[KernelTimes], precision: str, to: int) -> str:
    """Return in words what was chosen for a precision, and by what.

    >>> times = [KernelTimes(2, "float32", 9e-5, 3e-5), KernelTimes(64, "float32", 1e-3, 1e-3)]
    >>> said_of_kernels(times, "float32", 2)
    'kernels up to width 2; us a sample torch / compiled: width 2 90 / 30, 64 1000 / 1000'
    """
    begin = f"kernels up to width {to}" if to else "no kernels"
    each = said_of_sizes(times, precision)
    return f"{begin}; us a sample torch / compiled: {each}" if each else begin
