"""One study of a suite in figures, and where its law fails."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from isoclone.base.records import Forecast, Interval, Point, Record, Status
from isoclone.base.results import MADE_LATER, TESTED, Reference, Tested

HOLDS, FAILS, NOT_SHOWN = "holds", "fails", "not shown"
UNFINISHED, FAILED = "unfinished", "failed"
WORDS = {"dev_loss": "dev loss", "return_mean": "return"}
CLEARLY = 1.96  # standard errors
PASSED_ON = ("loss_no_guide", "saturated", "no_returns", "law_failed")  # from the law's own list
# What only says that the study cannot tell; a wider sweep, or more of its games, might.
DOUBTS = (
    "no_interior_optima", "few_optima", "loss_may_not_fall", "return_may_not_rise",
    "forecast_says_nothing", "forecast_not_tested", "agent_may_be_no_better", "no_returns",
    "points_failed",
)  # fmt: skip


@dataclass(frozen=True)
class Compared(Record):
    """A study of a suite: its exponents, its tested forecast, and what is wrong with its law.

    Attributes:
        name: of the study, which is that of its folder.
        phase: how far it is, in words.
        verdict: 'holds', 'fails' (see `failings`), 'not shown' (no failing but `DOUBTS`),
            'unfinished', 'failed' (see `reason`).
        failings: what the law does not do here, or the study does not tell, a `Status` each.
        exponents: of 'params', 'samples', 'dev_loss' and 'return_mean' against compute.
        share: of the way from random play to the expert that the forecast agent's mean return is.
        share_se: its standard error, from those of the three returns; None if one is unknown.
        above_floor: nats by which the agent's dev loss exceeds the expert's own entropy.
        above_floor_se: its standard error.
    """

    name: str
    game: str
    phase: str
    verdict: str
    points: int
    failed_points: int
    reason: str | None
    failings: tuple[Status, ...]
    exponents: dict[str, Any]
    forecast: Forecast | None
    agent: Point | None
    verdicts: dict[str, Any]
    random: Reference | None
    expert: Reference | None
    share: float | None
    share_se: float | None
    above_floor: float | None
    above_floor_se: float | None


def compared(
    name: str,
    game: str,
    phase: str,
    points: list[Point],
    laws: dict[str, Any] | None,
    tested: Tested | None,
    references: dict[str, Reference],
    reason: str | None = None,
) -> Compared:
    """Return a study of a suite in figures.

    Args:
        laws: what `laws.json` holds; None where no law was fitted.
        tested: the forecast, with its agent if that was trained.
        reason: why the study ended early, if it did.
    """
    found = exponents_of(laws or {})
    finished = tested is not None and tested.point is not None and phase == "finished"
    failings = failings_of(laws, found, tested) if laws or finished else ()
    bad = [p for p in points if p.status == "failed"]
    if bad:
        said = f"{len(bad)} points failed ({bad[0].reason})"
        failings = (*failings, Status("points_failed", said))
    low, high = references.get("random"), references.get("expert")
    agent = tested.point if tested else None
    share, error = share_of(agent, low, high)
    above, above_se = above_floor(agent, high)
    failings = (*failings, *no_better(share, error))
    verdict = _verdict(failings)
    if reason is not None:
        verdict = FAILED
    elif not finished:
        verdict = UNFINISHED
    return Compared(
        name=name,
        game=game,
        phase=phase,
        verdict=verdict,
        points=len(points),
        failed_points=len(bad),
        reason=reason,
        failings=failings,
        exponents=found,
        forecast=tested.forecast if tested else None,
        agent=agent,
        verdicts=tested.verdicts if tested else dict.fromkeys(TESTED),
        random=low,
        expert=high,
        share=share,
        share_se=error,
        above_floor=above,
        above_floor_se=above_se,
    )


def _verdict(failings: Sequence[Status]) -> str:
    """Return what the failings of a finished study come to."""
    if not failings:
        return HOLDS
    return NOT_SHOWN if all(status.code in DOUBTS for status in failings) else FAILS


def exponents_of(laws: dict[str, Any]) -> dict[str, Interval | None]:
    """Return each law's exponent with its interval: its own, else that of the isoFLOP optima."""
    fitted = laws.get("laws") or {}
    optima = (laws.get("exponents") or {}).get("isoflop_optima") or {}
    found: dict[str, Interval | None] = {}
    for key in ("params", "samples", "dev_loss", "return_mean"):
        told = (fitted.get(key) or {}).get("exponent") or optima.get(key)
        found[key] = Interval(**told) if told else None
    return found


def failings_of(
    laws: dict[str, Any] | None, exponents: dict[str, Interval | None], tested: Tested | None
) -> tuple[Status, ...]:
    """Return what the law does not do in a game, each by a code of its own; see `no_better` too.

    no_law                no law could be fitted
    no_interior_optima    at no budget the best size lies inside the sampled ones
    few_optima            at too few budgets: the exponents of N and D lean on a prior
    loss_does_not_fall    the loss exponent is 0 or more
    loss_may_not_fall     it is below 0, and its interval reaches 0
    return_does_not_rise  of a study by return: its exponent is 0 or less
    return_may_not_rise   it is above 0, and its interval reaches 0
    loss_no_guide         dev loss hardly predicts the return
    forecast_outside      a measured figure lies outside the forecast's interval
    forecast_says_nothing an interval excludes too little of what could come to have held
    forecast_not_tested   the forecast agent has no figure to judge the forecast by

    `saturated`, `no_returns` and `law_failed` are passed on from the law.
    """
    if laws is None:
        return (Status("no_law", "no law could be fitted to its points"),)
    found = _of_optima(laws)
    loss, gain = exponents["dev_loss"], exponents["return_mean"]
    if loss is not None:
        found += _of_trend("loss", loss, -1, "fall")
    elif gain is not None:
        found += _of_trend("return", gain, 1, "rise")
    told = [Status(**row) for row in laws.get("status", [])]
    told += tested.forecast.status if tested else []
    known = {status.code: status for status in told if status.code in PASSED_ON}
    return (*found, *known.values(), *_of_test(tested))


def _of_trend(name: str, exponent: Interval, sign: int, verb: str) -> list[Status]:
    """Return whether an exponent has not, or may not have, the sign it should have."""
    end = exponent.low if sign > 0 else exponent.high
    if end is not None and sign * end > 0:
        return []
    word = "does" if sign * exponent.value <= 0 else "may"
    said = f"its exponent is {exponent.value:.2f} and may be 0 or {'less' if sign > 0 else 'more'}"
    return [Status(f"{name}_{word}_not_{verb}", f"{name} {word} not {verb} with compute: {said}")]


def _of_optima(laws: dict[str, Any]) -> list[Status]:
    """Return whether too few budgets tell the best size."""
    told = {row["code"]: row["message"] for row in laws.get("status", [])}
    curves = laws.get("isoflops") or []
    if curves and not any(curve["interior"] for curve in curves):
        text = f"at none of {len(curves)} budgets the best size lies inside the sampled sizes"
        return [Status("no_interior_optima", text)]
    return [Status("few_optima", told["few_optima"])] if "few_optima" in told else []


def _of_test(tested: Tested | None) -> list[Status]:
    """Return which figures of a tested forecast did not come as forecast."""
    if tested is None or tested.point is None:
        return []
    if tested.after_agent:
        return [Status("forecast_not_tested", MADE_LATER)]
    found = []
    if not any(tested.verdicts.values()):
        reason = tested.point.reason or "no interval was forecast, or too few seeds have a figure"
        found.append(Status("forecast_not_tested", f"nothing was compared: {reason}"))
    for key, word in tested.verdicts.items():
        interval, value = getattr(tested.forecast, key), getattr(tested.point, key)
        if word == "outside":
            text = f"{WORDS[key]} {value:.3g} lies outside the forecast {interval.value:.3g}"
            found.append(Status("forecast_outside", text))
        elif word == "says nothing":
            share = 100 * tested.forecast.excludes.get(key, 0.0)
            text = f"the interval of the {WORDS[key]} excludes {share:.0f} % of what could come"
            found.append(Status("forecast_says_nothing", text))
    return found


def no_better(share: float | None, error: float | None) -> list[Status]:
    """Return whether an agent that went this share of the way beats random play: if not, a status.

    Args:
        share: of the way from random play to the expert, see `share_of`, with its standard error.
    """
    if share is None or share > CLEARLY * (error or 0.0):
        return []
    code, word = ("agent_may_be", "may be") if share > 0 else ("agent_is", "is")
    off = f" ± {100 * error:.0f}" if error else ""
    text = f"the agent {word} no better than random play: {100 * share:.0f}{off} % of the way"
    return [Status(f"{code}_no_better", text)]


def share_of(
    agent: Point | None, random: Reference | None, expert: Reference | None
) -> tuple[float | None, float | None]:
    """Return the share of the way from random play to the expert, with its standard error.

    (R - r) / (e - r); the error is that of its linearisation in the three independent means. None
    where a return is missing, or the expert is not better than random play by more than `CLEARLY`
    standard errors of their difference.
    """
    if agent is None or agent.return_mean is None or random is None or expert is None:
        return None, None
    span = expert.mean - random.mean
    if not span > CLEARLY * math.hypot(random.se, expert.se):
        return None, None
    share = (agent.return_mean - random.mean) / span
    if agent.return_se is None:
        return share, None
    parts = (agent.return_se, (1 - share) * random.se, share * expert.se)
    return share, math.hypot(*parts) / span


def above_floor(agent: Point | None, expert: Reference | None) -> tuple[float | None, float | None]:
    """Return by how many nats an agent's dev loss exceeds its expert's own entropy, with its SE.

    None where the expert was not asked what else it might do, or the agent has no dev loss.
    """
    if expert is None or expert.entropy_nats is None or agent is None or agent.dev_loss is None:
        return None, None
    error = math.hypot(expert.entropy_se or 0.0, agent.dev_loss_se or 0.0)
    return agent.dev_loss - expert.entropy_nats, error
