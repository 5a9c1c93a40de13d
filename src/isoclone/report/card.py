"""The card of a pushed agent or of demonstrations: what it is, how good, how to load it."""

from __future__ import annotations

import json
from typing import Any

from isoclone.base.formatting import interval_text, plural, plus_minus
from isoclone.base.records import Point, Run
from isoclone.report.facts import Facts
from isoclone.training.recipes import imitates

LIBRARY = "isoclone"
UNKNOWN = "unknown"  # the hub's word for a licence that nobody has named


def agent_card(
    address: str, run: Run, licence: str, facts: Facts | None, point: Point | None
) -> str:
    """Return the card of an agent, in Markdown with the hub's heading.

    Args:
        address: hf://USER/NAME, where it goes.
        run: what the agent was trained by.
        facts: of its study, if it comes with one.
        point: the agent's own measurements, if they are known.
    """
    heading: dict[str, Any] = {
        "license": licence,
        "library_name": LIBRARY,
        "pipeline_tag": "reinforcement-learning",
        "tags": [*_kinds(run), LIBRARY, run.game],
    }
    if point is not None and point.return_mean is not None:
        heading["model-index"] = [_index(address, run, point)]
    parts = [
        _heading(heading),
        f"# {run.policy} of width {run.width}, {run.game}",
        f"An agent {_made_from(run, facts)} in `{run.game}` by isoclone, which chose its size by "
        f"scaling laws. Run `{run.id}`.",
        _measured(point),
        _how_to_load(address, run),
        *(_of_study(facts) if facts else ()),
        f"## Licence\n\n{_licence(licence)}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def demos_card(address: str, licence: str, lines: list[str], game: str) -> str:
    """Return the card of demonstrations; `lines` is what they say of themselves."""
    name = address.removeprefix("hf://")
    heading = {"license": licence, "tags": ["imitation-learning", LIBRARY, game]}
    load = (
        f"```bash\nhf download {name} --repo-type dataset --local-dir demos\n"
        "isoclone demos show demos         # verifies every file\n```"
    )
    parts = [
        _heading(heading),
        f"# Demonstrations of {game}",
        "```\n" + "\n".join(lines) + "\n```",
        f"## How to load\n\n{load}",
        f"## Licence\n\n{_licence(licence)}",
    ]
    return "\n\n".join(parts) + "\n"


def _heading(told: dict[str, Any]) -> str:
    """Return the card's heading: JSON is YAML, and quotes what has to be quoted."""
    lines = [f"{key}: {json.dumps(value)}" for key, value in told.items()]
    return "\n".join(["---", *lines, "---"])


def _index(address: str, run: Run, point: Point) -> dict[str, Any]:
    score = {"type": "mean_reward", "name": "mean return", "value": point.return_mean}
    task = {"type": "reinforcement-learning", "name": "reinforcement learning"}
    where = {"name": run.game, "type": run.game}
    result = {"task": task, "dataset": where, "metrics": [score]}
    return {"name": address.rpartition("/")[2], "results": [result]}


def _kinds(run: Run) -> list[str]:
    """Return the hub's tags for how a run learns."""
    return ["imitation-learning", "behavioural-cloning"] if imitates(run.recipe) else ["ppo"]


def _made_from(run: Run, facts: Facts | None) -> str:
    if not imitates(run.recipe):
        return "trained by its own play" + (", from a clone," if run.demos else "")
    return f"cloned from demonstrations of {_expert(facts)}"


def _expert(facts: Facts | None) -> str:
    if facts is None:
        return "an expert"
    return f"the expert `{facts.expert}`"


def _measured(point: Point | None) -> str:
    if point is None:
        return ""
    samples = ("training samples", f"{point.samples:,} ({point.epochs:.2f} epochs)")
    if point.dev_loss is None:
        samples = ("environment steps", f"{point.samples:,}")
    rows = [
        ("parameters", f"{point.params:,}"),
        samples,
        ("training compute", f"{point.flops:.3g} FLOPs ({point.flop_convention})"),
    ]
    if point.dev_loss is not None:
        loss = plus_minus(point.dev_loss, point.dev_loss_se)
        rows.append(("dev loss, nats per action", loss))
    if point.return_mean is not None:
        score = plus_minus(point.return_mean, point.return_se, 2)
        rows.append((f"mean return, {plural(point.episodes, 'episode')}", score))
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def _how_to_load(address: str, run: Run) -> str:
    return f"""## How to load

```python
import isoclone as ic              # pip install 'isoclone[hub]'

agent = ic.load("{address}")
agent.reset()
action = agent.act(observation)    # as `{run.game}` gives it; returns what `step` takes
```"""


def _of_study(facts: Facts) -> list[str]:
    """Return the laws and the forecast of the study that the agent comes from."""
    parts = []
    laws = (facts.laws or {}).get("laws") or {}
    rows = [
        f"| {name} | {interval_text(law['exponent'], '.2f')} |"
        for name, law in laws.items()
        if law and law.get("exponent")
    ]
    if rows:
        head = ["| quantity ~ C^exponent | exponent, 95 % interval |", "|---|---|"]
        parts.append("## Laws\n\n" + "\n".join([*head, *rows]))
    predicted = facts.forecast
    if predicted is not None:
        later = facts.tested is not None and facts.tested.after_agent
        when = "made after the agent was measured" if later else "made before the agent was trained"
        lines = [f"At {predicted.flops:.3g} FLOPs, {when}:", ""]
        lines += ["| | forecast | measured |", "|---|---|---|"]
        for key, name in (("dev_loss", "dev loss"), ("return_mean", "mean return")):
            if getattr(predicted, key) is None:
                continue
            value = getattr(facts.agent, key, None)
            said = "-" if value is None else f"{value:.3g} ({facts.verdicts[key] or 'not tested'})"
            ends = interval_text(getattr(predicted, key), excludes=predicted.excludes.get(key))
            lines.append(f"| {name} | {ends} | {said} |")
        parts.append("## Forecast\n\n" + "\n".join(lines))
    if {"random", "expert"} <= set(facts.references):
        scores = (f"{who} {plus_minus(r.mean, r.se, 2)}" for who, r in facts.references.items())
        parts.append(f"Mean returns to compare with: {', '.join(scores)}.")
    parts.append("Everything else is in `report.html`, `points.csv` and `laws.json`.")
    return parts


def _licence(licence: str) -> str:
    if licence == UNKNOWN:
        return "The author has not said under which licence this may be used."
    return f"`{licence}`, as its author says."
