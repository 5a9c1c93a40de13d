"""What a person sees in the terminal: phases, live progress, points as they come, a closing table.

Everything goes to stderr but results; on a terminal there is a bar, elsewhere a line now and then.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from isoclone.base.formatting import duration, interval_text, plus_minus, si
from isoclone.base.records import Point
from isoclone.base.results import ERROR_OF, MADE_LATER, NOT_A_TEST
from isoclone.cli.output import print_plain
from isoclone.cli.screen import STDERR, STDOUT, Pace, Screen, styled, table
from isoclone.games.accounts import EpisodeAccount
from isoclone.laws.saved import WORDS, Worth
from isoclone.laws.words import forecast_text, laws_text
from isoclone.report.compared import no_better, share_of
from isoclone.report.measured import Measured
from isoclone.study.estimate import Plan
from isoclone.study.plan import Sweep
from isoclone.study.session import Observer
from isoclone.study.study import Study

__all__ = ["STDERR", "STDOUT", "ConsoleObserver", "plus_minus", "point_line", "print_plain"]
POLL_SECONDS = 1.0
STILL_SECONDS = 30.0  # after which no time left is told, but for how long nothing was heard
STALE_SECONDS = 60.0  # a dev loss is measured without a word in between
PROGRESS = {"phase": str, "label": str, "budget_flops": float, "flops": float, "samples": float}


class ConsoleObserver(Observer):
    """Show a study at work. Use as a context manager, so that the bar is taken down."""

    def __init__(self, plan: Plan | None = None) -> None:
        self._plan = plan
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[detail]}", markup=False),
            TimeElapsedColumn(),
            console=STDERR,
            transient=True,
            disable=not STDERR.is_terminal,
        )
        self._task: TaskID | None = None
        self._name, self._begun, self._pace = "", time.monotonic(), Pace(STDERR)
        self._detail, self._moved = "", self._begun  # what was seen last, and when
        self._seen: tuple[Any, ...] = ()
        self._look: Callable[[], tuple[float, float, str, str]] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> ConsoleObserver:
        self._bar.start()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        self._bar.stop()

    def phase(self, name: str, detail: str = "") -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
        elapsed = duration(time.monotonic() - self._begun)
        STDERR.print(styled((name, "bold"), f" {detail}  ", (f"after {elapsed}", "dim")))
        self._name, self._phase_begun = name, time.monotonic()
        self._pace, self._moved = Pace(STDERR, self._phase_begun), self._phase_begun
        self._detail = ""
        self._first_seen: tuple[float, float] | None = None  # of the agent: when, and its FLOPs
        self._task = self._bar.add_task(name, total=None, detail="")

    def progress(self, what: str, done: float, total: float) -> None:
        if self._task is None:
            return
        left = self._time_left(done / total) if total else ""
        self._detail = f"{si(done)} of {si(total)}"
        detail = f"{self._detail}{left}"
        self._bar.update(self._task, completed=done, total=total, detail=detail)
        self._line(detail)

    def sweep(self, study: Study, sweep: Sweep) -> None:
        self._look = partial(self._seen_of_sweep, study, sweep)

    def runs(self, studies: Sequence[Path], flops: float) -> None:
        self._look = partial(self._seen_of_runs, studies, flops)

    def point(self, point: Point, study: str = "") -> None:
        STDERR.say(f"{study:{18 if study else 0}s}", point_line(point))

    def trouble(self, message: str) -> None:
        STDERR.say((message, "yellow"))

    def _time_left(self, share: float) -> str:
        passed = time.monotonic() - self._phase_begun
        if share < 0.02 or passed < 2:
            return ""
        return f", {duration(passed * (1 - share) / share)} left"

    def _line(self, detail: str) -> None:
        if self._pace.due():
            STDERR.say(f"  {self._name}: {detail}")

    def _poll(self) -> None:
        """Look into the runs' folders now and then: whoever trains them, they report there."""
        while not self._stop.wait(POLL_SECONDS):
            if self._look is not None and self._name in ("sweep", "forecast", "train"):
                done, planned, left, running = self._look()
                still = self._still((done, running))
                self._show(done, planned, still or left, running)
            elif self._task is not None and (still := self._still((self._detail,))):
                detail = f"{self._detail}{still}".removeprefix(", ")
                self._bar.update(self._task, detail=detail)
                self._line(detail)

    def _still(self, seen: tuple[Any, ...]) -> str:
        """Return words for how long nothing has changed, '' while that is not long."""
        now = time.monotonic()
        if seen != self._seen:
            self._seen, self._moved = seen, now
        passed = now - self._moved
        return f", nothing new for {duration(passed)}" if passed >= STILL_SECONDS else ""

    def _show(self, done: float, planned: float, left: str, running: str) -> None:
        """FLOPs spent and planned, the time left, and what is at work."""
        detail = f"{done:.2e} of {planned:.2e} FLOPs{left}"
        if self._task is not None:
            text = f"{detail} · {running}" if running else detail
            self._bar.update(self._task, completed=done, total=planned, detail=text)
        self._line(f"{detail}; {running}")

    def _seen_of_runs(
        self, studies: Sequence[Path], planned: float
    ) -> tuple[float, float, str, str]:
        progress = [row for study in studies for row in read_progress(study)]
        done = min(sum(p["flops"] for p in progress), planned)
        return done, planned, self._time_left(done / planned), _at_work(progress)

    def _seen_of_sweep(self, study: Study, sweep: Sweep) -> tuple[float, float, str, str]:
        progress = read_progress(study.path)
        spec = study.spec
        stopped = [(d.width, d.budget_flops) for d in sweep.decisions if d.what == "stopped"]
        lasts = dict.fromkeys(sweep.widths, max(spec.budgets_flops))
        lasts |= dict(sorted(stopped, reverse=True))  # each width's first
        swept = sum(spec.flops_to(budget) for budget in lasts.values())
        planned = spec.forecast_seeds * spec.forecast_budget + len(spec.seeds) * swept
        done = min(sum(p["flops"] for p in progress), planned)
        if self._name == "forecast":
            left = self._agents_time_left(spec.forecast_budget, progress)
        else:
            left = self._sweeps_time_left(study, sweep, progress)
        return done, planned, left, _at_work(progress)

    def _agents_time_left(self, budget: float, progress: list[dict[str, Any]]) -> str:
        """Time left to train the forecast agent, at its pace since it was first seen."""
        live = [p["flops"] for p in progress if p["live"]]
        if not live:
            return ""
        flops, now = max(live), time.monotonic()
        begun, before = self._first_seen = self._first_seen or (now, flops)
        if not before < flops < budget:
            return ""
        return f", about {duration((now - begun) * (budget - flops) / (flops - before))} left"

    def _sweeps_time_left(self, study: Study, sweep: Sweep, progress: list[dict[str, Any]]) -> str:
        """Time left by the plan's own speeds; small sizes take more seconds for a FLOP."""
        if self._plan is None or self._plan.speed is None:
            return ""
        speed, spec = self._plan.speed, study.spec
        stopped = {d.width for d in sweep.decisions if d.what == "stopped"}
        costs = {row["width"]: row["flops_per_sample"] for row in self._plan.sizes}
        every, left = spec.flops_to(max(spec.budgets_flops)) * len(spec.seeds), 0.0
        for width in (w for w in sweep.widths if w in costs and w not in stopped):
            own = f"{spec.policy}-w{width}-s"
            todo = every - sum(p["flops"] for p in progress if p["label"].startswith(own))
            left += speed.train_seconds(max(0.0, todo) / costs[width], max(0.0, todo))
        left = left / self._plan.estimate.workers + self._plan.estimate.forecast_s
        return f", about {duration(left)} left"


def read_progress(study: Path) -> list[dict[str, Any]]:
    """Read each run's last report, with 'live': whether it is being worked on just now."""
    found = []
    for path in sorted((study / "runs").glob("*/progress.json")):
        try:
            row = json.loads(path.read_text())
            fresh = time.time() - path.stat().st_mtime < STALE_SECONDS
            told = {name: kind(row[name]) for name, kind in PROGRESS.items()}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue  # being replaced at this very moment, or damaged: it is only for the eye
        found.append({**told, "live": fresh and told["phase"] != "done"})
    return found


def _at_work(progress: Sequence[dict[str, Any]]) -> str:
    """Return the runs that are being worked on, and what is done to them."""
    live = [p for p in progress if p["live"]]
    return ", ".join(f"{p['label'].rsplit('-', 1)[0]} {p['phase']}" for p in live)


def point_line(point: Point) -> Text:
    """Return a point as one line."""
    head = f"  {point.budget_flops:8.2e} FLOPs  width {point.width:<4d} N {si(point.params):>9}"
    if point.status != "ok":
        return styled(f"{head}  ", (point.status, "red"), f": {point.reason or ''}")
    text = f"{head}  D {si(point.samples):>9}"
    if point.dev_loss is not None:
        text += f"  loss {plus_minus(point.dev_loss, point.dev_loss_se)}"
    if point.dev_loss_parts is not None:
        text += f" ({point.dev_loss_parts})"
    if point.return_mean is not None:
        text += f"  return {plus_minus(point.return_mean, point.return_se, 1)}"
    return styled(text)


def measured_line(measured: Measured) -> Text:
    """Return a variant's point as one line."""
    return styled(f"{measured.label:18s}", point_line(measured.point))


def show_worths(worths: Sequence[Worth], console: Screen = STDOUT) -> None:
    """Print the compute multiplier of each variant as a table, and why one has none below it."""
    if not worths:
        return
    base, named = worths[0].base, WORDS[worths[0].measure]
    shown = table(("variant", "compute multiplier [95 %]", f"same {named}", "FLOPs", "of the base"))
    for worth in worths:
        level = "-" if worth.level is None else f"{worth.level:.4g}"
        found = interval_text(worth.multiplier)
        shown.add_row(worth.label, found, level, si(worth.flops), si(worth.flops_base))
    console.print(f"base: {base}; above 1, a variant needs less compute for the same {named}")
    console.print(shown)
    for worth in worths:
        for status in worth.status:
            console.print(styled(f"{worth.label}: {status.message}"))


def show_plan(plan: Plan, console: Screen = STDERR) -> None:
    """Print the plan, before anything runs."""
    told = f": {plan.policy} imitates {plan.expert} in {plan.game}, {plan.samples:,} samples"
    if not plan.samples:  # nobody is imitated
        told = f": {plan.policy} learns to play {plan.game}; D are environment steps"
    console.print(styled((plan.name, "bold"), told))
    sizes = table(("width", "N", "FLOPs/sample", "D at largest budget"), first="right")
    for size in plan.sizes:
        sizes.add_row(
            str(size["width"]),
            f"{size['params']:,}",
            si(size["flops_per_sample"]),
            si(size["samples_at_largest_budget"]),
        )
    console.print(sizes)
    budgets = ", ".join(f"{b:.3g}" for b in plan.budgets_flops)
    seeds = f"{len(plan.seeds)} seed{'s' if len(plan.seeds) > 1 else ''}"
    console.print(
        f"{len(plan.sizes)} sizes x {len(plan.budgets_flops)} budgets ({budgets} FLOPs) x {seeds}"
        f" = {plan.points} points, {plan.sweep_flops:.2e} FLOPs; {plan.done_points} done"
    )
    seeds = f", {plan.forecast_seeds} seeds" if plan.forecast_seeds > 1 else ""
    console.print(f"then one agent at {plan.forecast_flops:.3g} FLOPs{seeds}, against its forecast")
    cost = plan.estimate
    recorded = f"record {duration(cost.record_s)}, " if plan.samples else ""
    expected = (
        f"expected on {cost.workers} workers: {recorded}sweep {duration(cost.sweep_s)}, "
        f"forecast agent {duration(cost.forecast_s)}, all else {duration(cost.other_s)}, "
        "in all about "
    )
    console.print(styled(expected, (duration(cost.total_s), "bold")))
    for note in plan.notes:
        console.say((note, "dim"))


INSIDE = {"inside": "yes", "outside": "NO", None: "-"}  # any other verdict is said as it is


def law_text(law: dict[str, Any] | None, symbol: str) -> str:
    """Return 'N ~ C^0.51 [0.40, 0.62]'."""
    if not law:
        return f"{symbol}: no exponent"
    return f"{symbol} ~ C^{interval_text(law['exponent'], '.2f')}"


def show_result(study: Study, laws: dict[str, Any], tested: dict[str, Any]) -> None:
    """Print the short table at the end: laws, forecast against measurement, paths."""
    fitted, forecast, point = laws["laws"], tested["forecast"], tested["point"]
    by_return = forecast["dev_loss"] is None
    STDOUT.print()
    count = len(study.points())
    STDOUT.print(styled((study.spec.name, "bold"), f"  {count} points, 95 % intervals"))
    for name, symbol in (
        ("params", "N_opt"),
        ("samples", "D_opt"),
        ("dev_loss", "dev loss"),
        ("return_mean", "return"),
    ):
        if name == "dev_loss" and by_return:
            continue
        STDOUT.print(f"  {law_text(fitted.get(name), symbol)}")
    for line in laws_text(fitted):
        STDOUT.say(f"  {line}")
    bent = forecast["method"].get("loss_exponent")
    if bent is not None:
        STDOUT.print(f"  at the forecast dev loss ~ C^{bent:.2f}")
    for line in forecast_text(forecast):
        STDOUT.say(f"  {line}")
    head = f"at {forecast['flops']:.2e} FLOPs"
    compared = table((head, "forecast", "excludes", "measured", "inside"), others="left")
    losses = () if by_return else (("dev_loss", "dev loss, nats"),)
    for name, text in (*losses, ("return_mean", "mean return")):
        measured = plus_minus(point[name], point[ERROR_OF[name]])
        verdict = tested["verdicts"][name]
        share = forecast["excludes"].get(name)
        excludes = "-" if share is None else f"{100 * share:.0f} %"
        compared.add_row(
            text,
            interval_text(forecast[name], excludes=share),
            excludes,
            measured,
            INSIDE.get(verdict, verdict),
        )
    STDOUT.print(compared)
    if tested["after_agent"]:
        STDOUT.say("  ", (NOT_A_TEST, "yellow"), f": {MADE_LATER}")
    scores = study.references()
    returned, expert = forecast["return_mean"], scores.get("expert")
    if returned and expert and returned["value"] > expert.mean:
        said = "the forecast return is higher than what was measured of the expert"
        STDOUT.say("  ", ("above_expert", "yellow"), f": {said}")
    for who in ("random", "expert"):
        if who in scores:
            row = scores[who]
            STDOUT.print(f"  {who} return {plus_minus(row.mean, row.se, 1)}")
    for status in no_better(*share_of(study.tested().point, scores.get("random"), expert)):
        STDOUT.say("  ", (status.code, "yellow"), f": {status.message}")
    clone = study.baselines().get("clone")
    if clone is not None and clone.mean is not None and point["return_mean"] is not None:
        ahead = point["return_mean"] - clone.mean
        error = math.hypot(clone.se or 0.0, point["return_se"] or 0.0)
        STDOUT.print(
            f"  the clone's return {plus_minus(clone.mean, clone.se, 1)}: the agent is ahead by "
            f"{plus_minus(ahead, error, 1)}"
        )
    for status in laws["status"]:
        STDOUT.say("  ", (status["code"], "yellow"), f": {status['message']}")
    for file in ("report.html", "points.csv", "video.mp4"):
        if (study.path / file).exists():
            STDOUT.say(f"  {study.place_of(file)}")


def show_episodes(told: dict[str, Any]) -> None:
    """Print how episodes went: means with errors, and counts (see `rollout.summary`)."""
    for name, figure in told.items():
        if {"mean", "se"} <= set(figure):
            STDOUT.print(f"{name} {plus_minus(figure['mean'], figure['se'], 1)}")
        else:
            listed = ", ".join(f"{cause} {count}" for cause, count in list(figure.items())[:10])
            STDOUT.print(f"{name}: {listed or 'none'}")


def show_account(account: EpisodeAccount) -> None:
    """Print what a game tells of many episodes: its lines, its tables, its notes."""
    for line in account.lines:
        STDOUT.say(line)
    for each in account.tables:
        shown = table(each.head)
        for row in each.rows:
            shown.add_row(*row)
        STDOUT.print(shown)
    for note in account.notes:
        STDOUT.say((note, "dim"))
