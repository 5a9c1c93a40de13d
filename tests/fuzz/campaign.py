"""Ruined inputs by the thousand; `make fuzz` runs it.

    python tests/fuzz/campaign.py [--inputs 1000] [--kinds specs tables ...] [--seed 0] [--json]

Every kind (see `targets.py`) runs in a process of its own, so that one that brings down the
interpreter is counted too. An input has ten seconds of CPU time, or two minutes by the clock.
"""

from __future__ import annotations

import argparse
import collections
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from targets import ALL, Target, Wrong, make_seeds

from isoclone.errors import IsocloneError

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


def campaign(kind: str, inputs: int, seed: int, folder: Path) -> dict[str, Any]:
    """Outcomes of so many ruined inputs of a kind, and an example of each that went wrong."""
    seeds, work = folder / "seeds", folder / kind
    if not seeds.exists():
        make_seeds(seeds)
    work.mkdir()
    target = ALL[kind](seeds, work)
    tally: collections.Counter[str] = collections.Counter()
    examples: dict[str, str] = {}
    signal.signal(signal.SIGPROF, _time_is_up)
    signal.signal(signal.SIGALRM, _time_is_up)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.RLIM_INFINITY))

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
        (folder / f"{kind}.current").write_text(repr(ruined))
        outcome, why = judge(target, ruined)
        tally[outcome] += 1
        if outcome in BAD:
            examples.setdefault(f"{outcome}: {why}", repr(ruined)[:2000])

    begun = time.monotonic()
    one()
    return {"tally": tally, "examples": examples, "seconds": round(time.monotonic() - begun, 1)}


def apart(kind: str, inputs: int, seed: int, folder: Path) -> dict[str, Any]:
    """`campaign` in a process of its own; what kills it is an outcome too."""
    words = ["--inside", str(folder), "--kinds", kind, "--inputs", str(inputs), "--seed", str(seed)]
    done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    last = (folder / f"{kind}.current").read_text()[:2000]
    why = f"crash: exit {done.returncode}: {done.stderr[-1500:]}"
    return {"tally": {"crash": 1}, "examples": {why: last}, "seconds": 0.0}


def table(results: dict[str, dict[str, Any]]) -> str:
    """The outcomes for people."""
    lines = [f"{'kind':16}{'inputs':>8}" + "".join(f"{o:>13}" for o in OUTCOMES) + f"{'s':>8}"]
    for kind, result in results.items():
        tally = result["tally"]
        counts = "".join(f"{tally.get(o, 0):13d}" for o in OUTCOMES)
        lines.append(f"{kind:16}{sum(tally.values()):8d}{counts}{result['seconds']:8.0f}")
    return "\n".join(lines)


def run() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--kinds", nargs="*", choices=list(ALL), default=list(ALL))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.inside:
        print(json.dumps(campaign(asked.kinds[0], asked.inputs, asked.seed, asked.inside)))
        return 0
    with tempfile.TemporaryDirectory(prefix="isoclone-fuzz-") as name:
        folder = Path(name)
        make_seeds(folder / "seeds")
        results = {}
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
