"""The faults of `harness.py` for a study in an object store, worked on by several machines in turn.

A machine is a cache of its own (ISOCLONE_CACHE). After each death the store itself is looked at,
by another client: no point may be there without its checkpoint, none may differ from that of the
undisturbed study, and none that was there before may have been measured or written again.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).resolve().parents[1]))
from storage import BUCKET, client, object_store, serving

from isoclone.base.errors import StoreError
from isoclone.remote import Remote, copy, lease, objects

if TYPE_CHECKING:
    from harness import Bench, Life

EXECUTORS = (("serial", 1), ("serial", 1), ("processes", 2))
RAY_EVERY = 8  # deaths: its start takes long
MACHINES = 3
SECONDS = {"PUSH_SECONDS": 0.5, "BEAT_SECONDS": 0.5, "PATIENCE_SECONDS": 3.0, "AGAIN_SECONDS": 0.5}
FINAL = ("points.csv", "points.parquet", "laws.json", "references.json")


class Place:
    """A study's address, and what was seen there."""

    def __init__(self, bench: Bench, address: str, name: str):
        self.bench, self.store = bench, client()
        self.prefix = f"{address.partition(BUCKET)[2].lstrip('/')}/{name}"
        self.path = Path(f"s3://{BUCKET}/{self.prefix}")  # has lost a slash, as on a command line
        self.caches = bench.folder / "machines"
        self.points: dict[str, Any] = {}

    def live(self, machine: int, kind: str = "serial", workers: int = 1, **others: str) -> Life:
        """Begin a life on one of the machines."""
        there = {"ISOCLONE_CACHE": str(self.caches / str(machine)), **others}
        return self.bench.live(self.path, kind, workers, partial(_elsewhere, there))

    def copy(self, machine: int) -> Path:
        """The study's copy on a machine."""
        (found,) = (self.caches / str(machine)).glob(f"copies/*/{self.path.name}")
        return Path(found)

    def objects(self) -> dict[str, Any]:
        """Name -> (entity tag, time), of all there is."""
        pages = self.store.get_paginator("list_objects_v2").paginate(
            Bucket=BUCKET, Prefix=f"{self.prefix}/"
        )
        rows = [row for page in pages for row in page.get("Contents", ())]
        return {r["Key"][len(self.prefix) + 1 :]: (r["ETag"], r["LastModified"]) for r in rows}

    def read(self, name: str) -> bytes:
        got = self.store.get_object(Bucket=BUCKET, Key=f"{self.prefix}/{name}")
        return bytes(got["Body"].read())

    def look(self) -> dict[str, Any]:
        """Compare what is there with the undisturbed study and with what was there before."""
        verdict, there = self.bench.verdict, self.objects()
        points = {n: seen for n, seen in there.items() if PurePosixPath(n).parent.name == "points"}
        for name in points.keys() - self.points.keys():
            data = self.read(name)
            if data != self.bench.files.get(name):
                verdict.changed.append(f"{self.path.name}/{name}")
            if json.loads(data)["checkpoint"] not in there:
                verdict.trouble.append(f"{self.path.name}/{name} is there without its checkpoint")
        verdict.lost += [f"{self.path.name}/{n}" for n in self.points.keys() - points.keys()]
        again = [n for n, seen in self.points.items() if points.get(n, seen) != seen]
        verdict.trouble += [f"{self.path.name}/{n} was written again" for n in again]
        self.points = points
        return points

    def complete(self) -> None:
        """Compare a finished study as a whole."""
        self.look()
        self.bench.verdict.compared += 1
        for name in (*FINAL, *self.bench.files):
            if self.read(name) != (self.bench.whole / name).read_bytes():
                self.bench.verdict.changed.append(f"{self.path.name}/{name}")
        left = [name for name in self.objects() if name.startswith(".drivers/") and name[9:]]
        self.bench.verdict.trouble += [f"left behind {name}" for name in left]
        shutil.rmtree(self.caches)

    def wait_for_points(self, life: Life, count: int) -> None:
        while len(self.look()) < count and life.wait(0.1) is None:
            pass

    def end(self, life: Life, *codes: int, saying: str = "") -> int | None:
        code = self.bench.end(life, self.path, *codes, saying=saying)
        self.look()
        return code


def _elsewhere(there: dict[str, str]) -> None:
    """In the child: as on another machine, and in a hurry."""
    os.environ.update(there)
    for module in (objects, lease, copy):  # each has the ones that it reads
        for name in SECONDS.keys() & vars(module).keys():
            setattr(module, name, SECONDS[name])


# ---------------------------------------------------------------------- faults


def deaths(bench: Bench, address: str, times: int) -> None:
    """kill -9 of the driver at random moments; somebody on some machine goes on."""
    left, number, seconds = times, 0, 12.0
    while left:
        place, done = Place(bench, address, f"killed-{number}"), False
        number += 1
        while not done:
            kind = ("ray", 2) if left and left % RAY_EVERY == 0 else bench.rng.choice(EXECUTORS)
            life = place.live(bench.rng.randrange(MACHINES), *kind)
            if (
                left
                and life.wait(bench.rng.uniform(0.0, seconds * (1 + (kind[0] == "ray")))) is None
            ):
                os.kill(life.pid, signal.SIGKILL)
                place.look()
                if kind[0] == "ray":
                    _bury_ray(life)
                bench.verdict.blows[f"deaths of drivers ({kind[0]}) of a study in a store"] += 1
                left -= 1
                print(f"{times - left} of {times} deaths", file=sys.stderr, flush=True)
            done = place.end(life, 0, -signal.SIGKILL) == 0
        place.complete()


def _bury_ray(life: Life) -> None:
    """Its workers go with the driver; Ray's own servants, where it was started here, may stay."""
    from harness import kill, offspring

    life.wait()
    time.sleep(10)
    for pid in offspring(life.pid):
        kill(pid)


def suspended(bench: Bench, address: str, gate: Path) -> None:
    """A driver sleeps until another has taken over: it says so and leaves that one's work alone."""
    place = Place(bench, address, "suspended")
    sleeper = place.live(0)
    place.wait_for_points(sleeper, 1)
    os.kill(sleeper.pid, signal.SIGSTOP)
    heir = place.live(1)
    place.wait_for_points(heir, len(place.look()) + 1)
    os.kill(sleeper.pid, signal.SIGCONT)
    place.end(sleeper, 1, saying="was taken over by another isoclone process")
    place.end(heir, 0)
    bench.verdict.blows["suspended drivers"] += 1
    place.complete()


def away(bench: Bench, address: str, gate: Path) -> None:
    """The server goes away in mid-sweep, longer than a driver may keep silent, and comes back."""
    for kind in (("serial", 1), ("processes", 2)):
        place = Place(bench, address, f"away-{kind[0]}")
        life = place.live(0, *kind)
        place.wait_for_points(life, 2)
        gate.write_text("shut")
        life.wait(SECONDS["PATIENCE_SECONDS"] + 1)
        gate.write_text("open")
        bench.verdict.blows["servers that went away"] += 1
        place.end(life, 0)
        place.complete()


def refusing(bench: Bench, address: str, gate: Path) -> None:
    """The server takes no more: a line says so; what was measured is pushed by the same command."""
    place = Place(bench, address, "refusing")
    life = place.live(0)
    place.wait_for_points(life, 2)
    gate.write_text("refusing")
    place.end(life, 1, saying="run the same command again when the store works")
    measured = {p: p.stat().st_mtime_ns for p in place.copy(0).glob("runs/*/points/*.json")}
    if len(measured) <= len(place.points):
        bench.verdict.trouble.append("nothing was measured while the server refused")
    gate.write_text("open")
    place.end(place.live(0), 0)
    if any(path.stat().st_mtime_ns != then for path, then in measured.items()):
        bench.verdict.trouble.append("what was measured while the server refused was so again")
    bench.verdict.blows["servers that refuse"] += 1
    place.complete()


def full_copies(bench: Bench, address: str, gate: Path) -> None:
    """No room for the copy, at ever later moments, then room enough."""
    from harness import _mounted

    place, kilobytes = Place(bench, address, "full"), 300
    place.caches.mkdir()
    with _mounted(place.caches, kilobytes) as resize:
        while resize is not None and place.end(place.live(0), 0, 1, saying="") != 0:
            bench.verdict.blows["full disks under a copy"] += 1
            kilobytes *= 2
            resize(kilobytes)
        if resize is not None:
            place.look()
            shutil.rmtree(place.copy(0).parent)
    if resize is not None:
        place.caches.mkdir(exist_ok=True)
        place.complete()


def two_at_once(bench: Bench, address: str, gate: Path, times: int = 12) -> None:
    """Two machines want to drive in the same second: never both do."""
    log = bench.folder / "at-work"
    for number in range(times):
        log.write_text("")
        pids = [_drive(bench, f"{address}/two-{number}", machine, log) for machine in range(2)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        said = log.read_text().splitlines()
        if any(code not in (0, 1) for code in codes) or said.count("in") != codes.count(0):
            bench.verdict.trouble.append(f"two at once ended with {codes}: {said}")
        if any(a == b == "in" for a, b in pairwise(said)):
            bench.verdict.trouble.append("two were at work at once")
        bench.verdict.blows[f"races of two drivers, won by {codes.count(0)}"] += 1


def _drive(bench: Bench, address: str, machine: int, log: Path) -> int:
    """A process that says when it is at work; its exit code is 1 if it was refused."""
    pid = os.fork()
    if pid:
        return pid
    try:
        _elsewhere({"ISOCLONE_CACHE": str(bench.folder / f"racer-{machine}")})
        time.sleep(bench.rng.random() * 0.2 * machine)
        with Remote(address).driven():
            _say(log, "in")
            time.sleep(1.5)
            _say(log, "out")
        os._exit(0)
    except StoreError as error:
        os._exit(1 if "another isoclone process" in str(error) else 2)
    finally:
        os._exit(70)


def _say(log: Path, word: str) -> None:
    with open(log, "a") as file:
        file.write(f"{word}\n")


FAULTS = (suspended, away, refusing, full_copies, two_at_once)


def object_store_faults(bench: Bench, times: int) -> None:
    """All of them."""
    with object_store() as address, _gate(bench.folder / "gate") as gate:
        for fault in FAULTS:
            fault(bench, address, gate)
            print(f"object store: {fault.__name__}", file=sys.stderr, flush=True)
        deaths(bench, address, times)


@contextmanager
def _gate(state: Path) -> Iterator[Path]:
    """Put a gate before the server; what is written to the file opens and shuts it."""
    state.write_text("open")
    behind = os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2]
    gate = str(Path(__file__).with_name("gate.py"))
    with serving(gate, behind, str(state)) as address:
        os.environ["AWS_ENDPOINT_URL"] = address
        yield state
