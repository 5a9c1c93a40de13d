"""Choose a study's precision of training: both are timed on this machine when it is made.

Many processors have instructions for bfloat16, and on some they are slower than those of float32;
and a small network loses more to casting than it gains. So the recipe's 'auto' is settled by the
time that the study's own sizes take. The choice is written into the study with these times, and
every machine that goes on with it trains alike.
"""

from __future__ import annotations

from isoclone.base.errors import ExecutionError
from isoclone.base.formatting import duration
from isoclone.study.estimate import some_frames, train_seconds
from isoclone.study.spec import StudySpec
from isoclone.training.device import PRECISIONS_TIMED, precision_for

Times = dict[str, float]
GAIN = 1.1  # by so much must the faster one win over float32, which is the more exact
ROUNDS = 2  # of timing, in turn; the faster time counts, as other work on the machine only slows


def settle_precision(
    spec: StudySpec, device: str, there: StudySpec | None = None
) -> tuple[StudySpec, Times]:
    """Replace the precision 'auto'; return the specification, and what it was chosen by.

    Args:
        there: the specification of the study that is there already, whose precision is kept.

    Returns:
        The specification, and the seconds of all training on one core by precision; no times where
        there was nothing to choose, or the policy or the game kept failing: then it is float32.
    """
    if spec.recipe.get("precision", "auto") != "auto":
        return spec, {}
    if there is not None:
        return _with(spec, there.recipe["precision"]), {}
    if device != "cpu" or precision_for("auto", device) == "float32":
        return _with(spec, precision_for("auto", device)), {}
    try:
        frames = some_frames(spec.make_game())
        rounds = [
            {name: train_seconds(_with(spec, name), frames) for name in PRECISIONS_TIMED}
            for _ in range(ROUNDS)
        ]
    except ExecutionError:  # a plan, or the runs, will say what is wrong
        return _with(spec, "float32"), {}
    times = {name: min(each[name] for each in rounds) for name in PRECISIONS_TIMED}
    fastest = min(times, key=lambda name: times[name] * (1.0 if name == "float32" else GAIN))
    return _with(spec, fastest), times


def said_of(times: Times, chosen: str) -> str:
    """Return in words what a precision was chosen by.

    >>> said_of({"float32": 90.0, "bfloat16": 130.0}, "float32")
    'precision float32: training takes a core 1 min 30 s in float32, 2 min 10 s in bfloat16'
    """
    each = ", ".join(f"{duration(seconds)} in {name}" for name, seconds in times.items())
    return f"precision {chosen}: training takes a core {each}"


def _with(spec: StudySpec, precision: str) -> StudySpec:
    return spec.replace(recipe={**spec.recipe, "precision": precision})
