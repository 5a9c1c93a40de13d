"""Ruined inputs by the thousand; `make fuzz` runs it.

    python tests/fuzz/campaign.py [--inputs 1000] [--kinds specs tables ...] [--seed 0] [--json]

Every kind (see `targets.py`, `recordings.py` and `foreign.py`) runs in a process of its own, so
that one that brings down the interpreter is counted too. An input has ten seconds of CPU time, or
two minutes by the clock; what does not even listen then, as a loop in C, is brought down.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import bombs
import escapes
import foreign
import hypothesis
import recordings
import targets
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kinds import Target, Wrong

from isoclone.base.errors import IsocloneError

ROOMS = {kind: room for room in (targets, recordings, escapes, foreign, bombs) for kind in room.ALL}

CPU_SECONDS, CLOCK_SECONDS = 10.0, 120.0
MEMORY_BYTES = 16 << 30  # address space; what an input asks for beyond it is refused, not granted
OUTCOMES = ("right", "refused", "traceback", "hang", "silent loss", "unclear", "crash")
BAD = OUTCOMES[2:]


class Hang(BaseException):
    """The time of an input is up; nothing may swallow this."""


def _time_is_up(number: int, frame: FrameType | None) -> None:
    raise Hang


def judge(target: Target, ruined: Any) -> tuple[str, str]:
    """(outcome, where and why) of one input."""
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    signal.setitimer(signal.ITIMER_REAL, CLOCK_SECONDS)
    faulthandler.dump_traceback_later(CLOCK_SECONDS + 10, exit=True)
    try:
        target.answer(ruined)
    except IsocloneError as error:
        clear = str(error).strip() and "\n" not in str(error)
        return ("refused", "") if clear else ("unclear", repr(error))
    except Wrong as error:
        return "silent loss", str(error)[:300]
    except Hang:
        return "hang", _where()
    except Exception:
        return "traceback", _where()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
    return "right", ""


def _where() -> str:
    """The error and the last places of ours it came through."""
    kind, error, trace = sys.exc_info()
    assert kind is not None
    ours = [f for f in traceback.extract_tb(trace) if "isoclone" in f.filename] or [
        *traceback.extract_tb(trace)
    ]
    places = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in ours[:-4:-1])
    return f"{kind.__name__}: {' '.join(str(error).split())[:200]} at {places}"


def target_of(kind: str, folder: Path) -> Target:
    """A kind's target, its seeds made if they are not there."""
    room = ROOMS[kind]
    seeds, work = folder / room.__name__, folder / kind
    if not seeds.exists():
        room.make_seeds(seeds)
    work.mkdir()
    return room.ALL[kind](seeds, work)


@dataclass
class Tally:
    """Outcomes so far, and an example of each that went wrong."""

    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, target: Target, ruined: Any) -> str:
        """Judge one more input; returns what is wrong, or ''."""
        outcome, why = judge(target, ruined)
        self.outcomes[outcome] += 1
        if outcome not in BAD:
            return ""
        self.examples.setdefault(f"{outcome}: {why}", repr(ruined)[:2000])
        return f"{outcome}: {why}"


def catch_hangs() -> None:
    """Have timers, and what brings down the interpreter, told of."""
    faulthandler.enable()
    signal.signal(signal.SIGPROF, _time_is_up)
    signal.signal(signal.SIGALRM, _time_is_up)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.RLIM_INFINITY))


def campaign(kind: str, inputs: int, seed: int, folder: Path) -> dict[str, Any]:
    """Outcomes of so many ruined inputs of a kind, and an example of each that went wrong."""
    target, tally, current = target_of(kind, folder), Tally(), folder / f"{kind}.current"
    catch_hangs()

    @hypothesis.seed(seed)
    @settings(
        max_examples=inputs,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def one(data: st.DataObject) -> None:
        ruined = target.ruin(data.draw)
        current.write_text(repr(ruined))
        tally.add(target, ruined)

    begun = time.monotonic()
    one()
    spent = round(time.monotonic() - begun, 1)
    return {"tally": tally.outcomes, "examples": tally.examples, "seconds": spent}


def apart(kind: str, inputs: int, seed: int, folder: Path) -> dict[str, Any]:
    """`campaign` in a process of its own; what kills it is an outcome too."""
    words = ["--inside", str(folder), "--kinds", kind, "--inputs", str(inputs), "--seed", str(seed)]
    done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    current = folder / f"{kind}.current"
    last = current.read_text()[:2000] if current.exists() else "its seeds"
    why = f"crash: exit {done.returncode}: {done.stderr[-1500:]}"
    return {"tally": {"crash": 1}, "examples": {why: last}, "seconds": 0.0}


def table(results: dict[str, dict[str, Any]]) -> str:
    """The outcomes for people."""
    lines = [f"{'kind':20}{'inputs':>8}" + "".join(f"{o:>13}" for o in OUTCOMES) + f"{'s':>8}"]
    for kind, result in results.items():
        tally = result["tally"]
        counts = "".join(f"{tally.get(o, 0):13d}" for o in OUTCOMES)
        lines.append(f"{kind:20}{sum(tally.values()):8d}{counts}{result['seconds']:8.0f}")
    return "\n".join(lines)


def run() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--kinds", nargs="*", choices=list(ROOMS), default=list(ROOMS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.inside:
        print(json.dumps(campaign(asked.kinds[0], asked.inputs, asked.seed, asked.inside)))
        return 0
    with tempfile.TemporaryDirectory(prefix="isoclone-fuzz-") as name:
        folder, results = Path(name), {}
        for kind in asked.kinds:
            results[kind] = apart(kind, asked.inputs, asked.seed, folder)
            print(f"{kind}: {results[kind]['tally']}", file=sys.stderr, flush=True)
    print(json.dumps(results) if asked.json else table(results))
    for kind, result in results.items():
        for why, example in result["examples"].items():
            print(f"\n{kind}: {why}\n    {example[:600]}", file=sys.stderr)
    return 1 if any(result["examples"] for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(run())
