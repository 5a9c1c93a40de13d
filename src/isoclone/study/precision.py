"""Choose a study's precision of training: both are timed on this machine when it is made.

Many processors have instructions for bfloat16, and on some they are slower than those of float32;
and a small network loses more to casting than it gains. So the recipe's 'auto' is settled by the
time that the study's own sizes take, and with it how weights lie in memory and who computes
convolutions, on which it depends which precision is faster. The choice is written into the study
with these times, and every machine that goes on with it trains alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from isoclone.base.errors import ExecutionError
from isoclone.base.formatting import duration
from isoclone.study.compiled import (
    KernelTimes,
    compiled_to,
    has_kernels,
    kernel_times,
    with_kernels,
)
from isoclone.study.estimate import some_frames, train_seconds
from isoclone.study.memory_format import (
    FormatTimes,
    format_times,
    has_formats,
    in_format,
    with_fastest,
)
from isoclone.study.spec import StudySpec
from isoclone.study.timing import SIZE_SECONDS
from isoclone.training.device import precisions_on
from isoclone.training.recipes import MEMORY_FORMATS, Recipe

Times = dict[str, float]
T = TypeVar("T", FormatTimes, KernelTimes)
GAIN = 1.1  # by so much must the faster one win over float32, which is the more exact
ROUNDS = 2  # of timing, in turn; the faster time counts, as other work on the machine only slows
SHARE = 0.02  # of all training that timing sizes may take


@dataclass(frozen=True)
class Settled:
    """A specification without 'auto', and what it was chosen by.

    `times` are the seconds of all training on one core by precision, each with the memory formats
    and kernels that suit it; none where there was nothing to choose, or the policy or the game kept
    failing.
    """

    spec: StudySpec
    times: Times = field(default_factory=dict)
    formats: list[FormatTimes] = field(default_factory=list)
    kernels: list[KernelTimes] = field(default_factory=list)


def settle(spec: StudySpec, device: str) -> Settled:
    """Replace what the recipe leaves to a study by what is faster here.

    Where nothing can be timed it is float32, contiguous and torch's own convolutions.
    """
    names, plain = _precisions(spec, device), _without_auto(spec)
    cpu, auto = device == "cpu", spec.recipe.get("memory_format") == "auto"
    in_formats = cpu and auto and has_formats(spec)
    compiled = cpu and _leaves_kernels(spec) and has_kernels(spec)
    if len(names) == 1 and not in_formats and not compiled:
        return Settled(_with(plain, names[0]))
    plain_ones = {name: _with(plain, name) for name in names}
    try:
        frames = some_frames(spec.make_game())
        times = _timed(plain_ones, frames)
    except ExecutionError:  # a plan, or the runs, will say what is wrong
        return Settled(plain_ones[names[0]])
    sizes, may_take = len(spec.widths), SHARE * min(times.values())
    candidates, formats, kernels = plain_ones, list[FormatTimes](), list[KernelTimes]()
    if in_formats and SIZE_SECONDS * len(names) * sizes < may_take:
        candidates, formats = _by_size(
            candidates, lambda each: format_times(each, frames), with_fastest
        )
    if compiled:
        seconds = may_take / len(names)
        candidates, kernels = _by_size(
            candidates, lambda each: kernel_times(each, frames, seconds), with_kernels
        )
    if len(names) > 1:
        changed = {name: each for name, each in candidates.items() if each != plain_ones[name]}
        times |= _timed(changed, frames)
    fastest = min(times, key=lambda name: times[name] * (1.0 if name == names[0] else GAIN))
    return Settled(candidates[fastest], times if len(names) > 1 else {}, formats, kernels)


def keep_settled(spec: StudySpec, there: StudySpec) -> StudySpec:
    """Replace 'auto' by what was chosen when the study that is there already was made."""
    if spec.recipe.get("precision", "auto") == "auto":
        spec = _with(spec, there.recipe["precision"])
    if spec.recipe.get("memory_format") == "auto" and there.imitates:
        known = Recipe.from_json(there.recipe)
        spec = in_format(spec, known.memory_format, known.memory_format_but)
    if _leaves_kernels(spec):
        spec = compiled_to(spec, there.recipe.get("compiled_to", 0))
    return spec


def _precisions(spec: StudySpec, device: str) -> list[str]:
    """Return those to choose among: float32 first, unless only one is possible."""
    named = spec.recipe.get("precision", "auto")
    return precisions_on(device) if named == "auto" else [named]


def _without_auto(spec: StudySpec) -> StudySpec:
    if spec.recipe.get("memory_format") == "auto":
        spec = in_format(spec, MEMORY_FORMATS[0])
    return compiled_to(spec, 0) if _leaves_kernels(spec) else spec


def _leaves_kernels(spec: StudySpec) -> bool:
    """Return whether a recipe leaves it to its study up to which width kernels are compiled."""
    return spec.recipe.get("compiled_to", 0) is None


def _timed(candidates: dict[str, StudySpec], frames: np.ndarray) -> Times:
    """Return the seconds of all training of each candidate; several are timed in turn."""
    rounds = [
        {name: train_seconds(candidate, frames) for name, candidate in candidates.items()}
        for _ in range(ROUNDS if len(candidates) > 1 else 1)
    ]
    return {name: min(each[name] for each in rounds) for name in candidates}


def _by_size(
    candidates: dict[str, StudySpec],
    timed: Callable[[StudySpec], list[T]],
    chosen: Callable[[StudySpec, Sequence[T]], StudySpec],
) -> tuple[dict[str, StudySpec], list[T]]:
    """Return candidates, each as the times of its sizes choose, and these times.

    A policy of somebody else may not run with channels last, and a compiler may fail: then all
    stay as they are.
    """
    try:
        rows = {name: timed(each) for name, each in candidates.items()}
    except ExecutionError:
        return candidates, []
    found = {name: chosen(each, rows[name]) for name, each in candidates.items()}
    return found, [row for each in rows.values() for row in each]


def said_of(times: Times, chosen: str) -> str:
    """Return in words what a precision was chosen by.

    >>> said_of({"float32": 90.0, "bfloat16": 130.0}, "float32")
    'precision float32: training takes a core 1 min 30 s in float32, 2 min 10 s in bfloat16'
    """
    each = ", ".join(f"{duration(seconds)} in {name}" for name, seconds in times.items())
    return f"precision {chosen}: training takes a core {each}"


def _with(spec: StudySpec, precision: str) -> StudySpec:
    return spec.replace(recipe={**spec.recipe, "precision": precision})
