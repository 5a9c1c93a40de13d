"""The frozen records that pass between the rooms: Run, Point, Interval, Status, Forecast.

All are plain data, hold no torch object, and go to JSON and back without loss. A float that is
not finite is written as `null` and read as `None`: what is missing stays missing.

Types are checked by `conform` and no library: of 45 values tried, msgspec treats 18 and pydantic 17
(strict) or 21 (lax) in another way, among them 3 for a float, which becomes 3.0 and changes a run's
id. With msgspec and the code that mends this, the file was 3 lines longer.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Any, Self, get_args, get_origin

from isoclone.base.schema import count, field_types, figure, label, unmeasured

LARGEST_FLOAT = 2**1023


def canonical_json(value: Any) -> str:
    """Return one text for one value: keys sorted, no white space, floats by their shortest repr."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def stable_id(value: Any, length: int = 12) -> str:
    """Return the first `length` hex digits of the SHA-256 of the value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


def jsonable(value: Any) -> Any:
    """Return the value with tuples as lists, records as dicts, and non-finite floats as None."""
    kind = type(value)
    if value is None or kind in (str, int, bool):  # most values are: a quick way out
        return value
    if kind is float:
        return value if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = _field_names(value.__class__)
        return {name: jsonable(getattr(value, name)) for name in names}
    if isinstance(value, dict):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(v) for v in value]
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return jsonable(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@functools.cache
def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(f.name for f in dataclasses.fields(kind))


def conform(record: Any) -> None:
    """Bring each field of a fresh dataclass to its declared type, or refuse it.

    Lists become tuples, and NumPy scalars numbers, where that is declared; a whole number may stand
    for a float and stays one; options become what JSON makes of them. Nothing else is converted.

    Raises:
        TypeError: a field is not of its type; the message names it and its value.
    """
    for name, hint in field_types(record.__class__).items():
        value = getattr(record, name)
        kind = type(value)
        if kind not in _taken_as_is(hint) or (kind is int and not _LEAST <= value < -_LEAST):
            object.__setattr__(record, name, conformed(value, hint, name))


_LEAST = -(2**63)  # the least whole number that tables can hold


@functools.cache
def _taken_as_is(hint: Any) -> frozenset[type]:
    """Return the types whose values `conformed` returns as they are; other values may pass, too."""
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return frozenset(kind for kind in kinds if kind in (str, float, int, bool, NoneType))


def conformed(value: Any, hint: Any, name: str) -> Any:
    """Return a value brought to its declared type, as `conform` does it.

    Args:
        hint: the declared type, such as `tuple[int, ...]` or `float | None`.
        name: of the value, for the message.

    Raises:
        TypeError: it is not of that type.
    """
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if hasattr(value, "tolist") and not isinstance(value, type):  # NumPy scalars and arrays
        value = value.tolist()
    if value is None and NoneType in kinds:
        return None
    kind = kinds[0]
    holder, inner = get_origin(kind), get_args(kind)
    try:
        if holder is dict and isinstance(value, dict):  # options: as they will be read again
            return json.loads(json.dumps(value, allow_nan=False, default=jsonable))
        if holder in (tuple, list) and isinstance(value, list | tuple):
            if holder is list or inner[-1] is Ellipsis:
                inner = (inner[0],) * len(value)
            pairs = zip(value, inner, strict=True)
            return holder(conformed(v, k, name) for v, k in pairs)
        if kind is Any or _is_a(value, kind):
            return value
    except (TypeError, ValueError, RecursionError):
        pass
    if holder is dict and isinstance(value, dict):
        odd = next((key for key, each in value.items() if not _is_plain(each)), None)
        if odd is not None:
            raise TypeError(f"{name}: {odd} must be a plain, finite value, not {shown(value[odd])}")
    raise TypeError(f"{name} must be {_said(hint)}, not {shown(value)}")


def _is_plain(value: Any) -> bool:
    """Return whether a value can be kept as JSON."""
    try:
        json.dumps(value, allow_nan=False, default=jsonable)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _is_a(value: Any, kind: Any) -> bool:
    if kind is float:
        return type(value) is float or (type(value) is int and abs(value) < LARGEST_FLOAT)
    if kind is int:
        return type(value) is int and _LEAST <= value < -_LEAST
    return isinstance(kind, type) and isinstance(value, kind)


def _said(hint: Any) -> str:
    """Return a type in words: 'a whole number', 'a list of numbers or nothing'."""
    words = {"int": "whole number", "float": "number", "str": "text", "dict": "table"}
    text = str(hint) if get_origin(hint) or isinstance(hint, UnionType) else hint.__name__
    main = text.replace(" | None", "").replace(", ...", "")
    outer, _, inner = main.removesuffix("]").partition("[")
    names = [words.get(name.strip(), name.strip()) for name in inner.split(", ")] if inner else []
    if outer in ("tuple", "list"):
        said = f"a list of {names[0]}s"
    elif outer in ("str", "bool"):
        said = "text" if outer == "str" else "true or false"
    else:
        said = f"a {words.get(outer, outer)}" + (" of plain values" if outer == "dict" else "")
    return said + (" or nothing" if "None" in text else "")


def shown(value: Any) -> str:
    """Return a value as text for a message: one line of at most 60 characters."""
    try:
        # Of numpy's numbers and small arrays the values are shown: no np.float64(0.5).
        plain = value.tolist() if 0 < getattr(value, "size", 0) <= 60 else value
        text = " ".join(repr(plain).split())
    except RecursionError:
        text = "something nested too deep"
    return text if len(text) <= 60 else f"{text[:57]}..."


class Record:
    """A dataclass that goes to JSON and back."""

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return jsonable(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return a record from the result of `to_json`.

        Raises:
            TypeError: a field is unknown, missing, or not of its type.
        """
        if not isinstance(data, dict):
            raise TypeError(f"expected a table of {cls.__name__}'s fields, not {shown(data)}")
        return cls(**data)


class Checked(Record):
    """A record whose fields are checked against their types when it is made."""

    def __post_init__(self) -> None:
        conform(self)


@dataclass(frozen=True)
class Run(Checked):
    """One planned training. Its id is the hash of these fields and of nothing else.

    Device, paths and log settings are not among them: they do not change the result.
    `horizon_flops` is set only when the recipe's schedule depends on where training ends
    (a cosine per budget); a constant-rate run crosses any number of budgets under one id.
    """

    game: str
    demos: str  # the demonstrations' fingerprint; of reinforcement, the clone's, or ''
    policy: str
    width: int
    policy_options: dict[str, Any]
    recipe: dict[str, Any]
    seed: int
    flop_convention: str = "exact"
    horizon_flops: float | None = None
    game_options: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Return 12 hex digits, the same on every machine."""
        return stable_id(self.to_json())

    @property
    def label(self) -> str:
        """Return a short name for people: policy, width, seed, id."""
        return f"{self.policy}-w{self.width}-s{self.seed}-{self.id[:6]}"


@dataclass(frozen=True)
class Point(Checked):
    """One measured policy: what it cost, how well it predicts the expert, how well it plays.

    This is the only list of a table's columns: to add a figure, add a line here, and hand its value
    to `Point.of_run` where it is measured. New lines go to the end, with `default=None`, so that
    older tables can still be read.
    """

    run_id: str = label("id of the run")
    budget_flops: float = label("nominal budget that the point belongs to", "FLOPs")
    flops: float = count("compute really spent (C)", "FLOPs")
    params: int = label("trainable parameters (N)")
    samples: int = count(
        "training samples seen, repeats included (D); of reinforcement, environment steps"
    )
    unique_samples: int = count("different training samples seen")
    epochs: float = count("passes over the training samples")
    dev_loss: float | None = figure("loss on held-out episodes, teacher-forced", "nats per action")
    dev_loss_se: float | None = figure(
        "standard error of dev_loss over episodes", "nats per action"
    )
    dev_accuracy: float | None = figure("share of held-out actions that are the likeliest")
    train_loss: float | None = figure(
        "recent training loss, step s weighted s^8", "nats per action"
    )
    return_mean: float | None = figure("mean return of the episodes played", "score")
    return_se: float | None = figure("standard error of return_mean over episodes", "score")
    episodes: int = count("episodes played for return_mean")
    game: str = label("name of the game")
    policy: str = label("name of the policy")
    width: int = label("width of the policy")
    seed: int = label("seed of the training")
    recipe: str = label("name of the training recipe")
    flop_convention: str = label("how FLOPs are counted")
    checkpoint: str | None = figure("the policy's weights, relative to the study directory")
    role: str = label(
        "'sweep', 'forecast' (trained to test a forecast) or 'extra'", default="sweep"
    )
    status: str = label(
        "'ok', 'diverged' (loss not finite), 'collapsed' (far below an earlier budget) or 'failed'",
        default="ok",
    )
    reason: str | None = label("why the point is not ok", default=None)
    dev_accuracy_top3: float | None = figure(
        "share of held-out actions that are among the three likeliest of more", default=None
    )
    isoclone_version: str | None = label("version of isoclone that made the point", default=None)
    torch_version: str | None = label("version of torch that made the point", default=None)
    device: str | None = label("'cpu', 'cuda' or 'mps'", default=None)
    precision: str | None = label("'float32' or 'bfloat16'", default=None)
    play_flops: float | None = figure(
        "of `flops`, what playing cost a policy that learns by reinforcement",
        "FLOPs",
        default=None,
    )
    learn_flops: float | None = figure(
        "of `flops`, what learning from that play cost", "FLOPs", default=None
    )
    dev_loss_parts: str | None = figure(
        "dev loss of each part of a mixture, 'good 0.512 ± 0.004, bad 1.203 ± 0.010'", default=None
    )
    return_median: float | None = figure(
        "median return of the episodes played", "score", default=None
    )

    @classmethod
    def of_run(cls, run: Run, budget_flops: float, params: int, role: str, **measured: Any) -> Self:
        """Return a run's point; what is not among `measured` is 0 if it is a count, else None.

        A row of a run that failed is one with nothing measured but its status and reason.
        """
        said = ("game", "policy", "width", "seed", "flop_convention")
        row: dict[str, Any] = {
            **unmeasured(cls),
            **{name: getattr(run, name) for name in said},
            "run_id": run.id,
            "budget_flops": budget_flops,
            "params": params,
            "recipe": run.recipe["name"],
            "role": role,
        }
        return cls(**{**row, **measured})


@dataclass(frozen=True)
class Interval(Checked):
    """A value with a two-sided interval at `level`; unbounded sides are None."""

    value: float
    low: float | None
    high: float | None
    level: float = 0.95

    def holds(self, x: float) -> bool:
        """Return whether x lies inside the interval, ends included."""
        above = self.low is None or x >= self.low
        return above and (self.high is None or x <= self.high)


@dataclass(frozen=True)
class Status(Checked):
    """A warning about a result: a code for programs and a sentence for people."""

    code: str
    message: str


@dataclass(frozen=True)
class Forecast(Checked):
    """A law's forecast at a compute budget.

    `decades_beyond` is log10 of the budget over the largest budget with evidence (0 inside it).
    `params` and `samples` are intervals too: their `.value` is what to train. `dev_loss` is None
    where the runs have none, as those of reinforcement learning. `excludes` says for `dev_loss` and
    `return_mean` which share of what could come lies outside the interval. The intervals of both
    are those of the mean of so many `agents`, which differ in their seed alone; that of the return
    is of so many `episodes` of each, None where the law does not know what they change.
    """

    flops: float
    params: Interval
    samples: Interval
    dev_loss: Interval | None
    return_mean: Interval | None
    decades_beyond: float
    method: dict[str, Any] = field(default_factory=dict)
    status: tuple[Status, ...] = ()
    excludes: dict[str, float] = field(default_factory=dict)
    agents: int = 1
    episodes: int | None = None

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Forecast:
        """Return a forecast from the result of `to_json`."""
        read = dict(data)
        for name in ("params", "samples", "dev_loss", "return_mean"):
            if read[name] is not None:
                read[name] = Interval(**read[name])
        read["status"] = tuple(Status(**s) for s in read["status"])
        return cls(**read)
