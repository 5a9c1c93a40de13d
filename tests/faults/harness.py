"""Studies under faults: kill -9 at random moments, a full disk, a torn file, a wrong clock.

    python tests/faults/harness.py [--kills 100] [--seed 0] [--only NAME ...] [--json]

A life is one `isoclone run` of the study in `toystudy.py`, or in `nethackstudy.py` for a part of
the kills. While it lasts, somebody dies at a random moment: the driver, a worker, the process an
environment lives in, or all of them at once as in a power cut. Or the disk is full, a file is cut
short between write and read, the clock runs backwards. Or files of a finished study are torn, and
it is repaired. After each fault and at each end of a life, what stands under its final name must
be, byte for byte, what an undisturbed study holds there, and nothing finished may have gone. A
study that is complete is compared as a whole. Lives are forked from this process, which has
imported everything and computed nothing, so that a life does not begin with seconds of imports.
"""

from __future__ import annotations

import argparse
import atexit
import dataclasses
import json
import os
import random
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch._dynamo
from remote_faults import object_store_faults

import isoclone.base.provenance
import isoclone.cli.console
import isoclone.evaluation.video
import isoclone.games.toy
import isoclone.report
import isoclone.study.estimate
import isoclone.study.worker
import isoclone.testing
import isoclone.training.loop
from isoclone.base.store import read_json, sha256_file, write_json
from isoclone.cli import main
from isoclone.demos import open_demos
from isoclone.demos.demonstrations import table_digest
from isoclone.demos.episode import read_info, write_episode
from isoclone.study.repair import repair
from isoclone.study.study import Study

torch.set_num_threads(1)

HERE = Path(__file__).resolve().parent
TOY, NETHACK, CLOCK = HERE / "toystudy.py", HERE / "nethackstudy.py", HERE / "clock"
PLAY = HERE / "playstudy.py"
VICTIMS = ("driver", "worker", "environment", "everybody")
EXECUTORS = (("serial", 1), ("processes", 1), ("processes", 2))
KILLS_IN_A_LIFE = 2  # a task is begun three times: two deaths must not be its end
BURIAL_SECONDS = 60
SHORT_SECONDS = 8.0  # of a life with workers, which have to import first
LIFE_SECONDS = 900  # a life that lasts longer hangs
FINAL = (
    "points.csv",
    "points.parquet",
    "laws.json",
    "references.json",
    "baselines.json",
    "demos/episodes.csv",
    "demos/demonstrations.json",
)
SIGNS = {  # of a phase's end, where an undisturbed study has them
    "beginning": "study.json",
    "recording": "demos/demonstrations.json",
    "expanding": "references.json",
    "in the sweep": "laws.json",
}
WHOLE = ("runs/*/points/*.json", "runs/*/checkpoints/*.safetensors", "demos/episodes/*.parquet")

Fault = Callable[[], None]


# ---------------------------------------------------------------------- lives


class Life:
    """A forked `isoclone run`, in a session of its own. `fault` is called in it before all else."""

    def __init__(
        self,
        file: Path,
        study: Path,
        executor: str,
        workers: int,
        fault: Fault = lambda: None,
        *flags: str,
    ):
        words = ["run", str(file), "--executor", executor, "--workers", str(workers), *flags]
        number, self._said = tempfile.mkstemp(prefix="isoclone-life-")
        self.begun = time.monotonic()
        self._code: int | None = None
        self.pid = os.fork()
        if self.pid:
            os.close(number)
            return
        try:
            os._exit(_drive(number, [*words, "--out", str(study)], fault))
        finally:  # the child must never come back into the harness
            os._exit(70)

    def wait(self, seconds: float = LIFE_SECONDS) -> int | None:
        """Its exit code (negative: killed by that signal), or None if it lives on."""
        end = time.monotonic() + seconds
        while self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() >= end:
                break
            else:
                time.sleep(0.005)
        return self._code

    def said(self) -> str:
        """All it wrote to the terminal."""
        return Path(self._said).read_text()

    def bury(self) -> list[str]:
        """Wait for its offspring to go, and name who had to be killed.

        A worker looks after its driver once it has imported what this file imports: seconds, or
        many on a busy machine.
        """
        end = time.monotonic() + BURIAL_SECONDS
        while (left := offspring(self.pid)) and time.monotonic() < end:
            time.sleep(0.01)
        names = [command(pid) for pid in left]
        for pid in left:
            kill(pid)
        Path(self._said).unlink()
        return names


def _drive(output: int, argv: list[str], fault: Fault) -> int:
    """In the child: the command line, and what an interpreter does at its end."""
    os.setsid()
    for stream in (1, 2):
        os.dup2(output, stream)
    try:
        fault()
        code = main(argv)
    except BaseException:
        traceback.print_exc()
        code = 70
    threading._shutdown()  # pools' threads end before the queues they write to
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


# ---------------------------------------------------------------------- processes


def stat(pid: int) -> list[str]:
    """State, parent, group, session, ... of a process; nothing if there is none."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def offspring(session: int) -> list[int]:
    """Everybody in a session but its leader."""
    pids = [int(p.name) for p in Path("/proc").glob("[0-9]*") if int(p.name) != session]
    stats = ((pid, stat(pid)) for pid in pids)
    return [pid for pid, s in stats if s and int(s[3]) == session and s[0] != "Z"]


def command(pid: int) -> str:
    """The command line of a process, '' if there is none."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def find(life: Life, victim: str) -> list[int]:
    """Processes of that kind, as they are just now."""
    others = [pid for pid in offspring(life.pid) if "resource_tracker" not in command(pid)]
    parent = {pid: int((stat(pid) or [0, 0])[1]) for pid in others}
    workers = [p for p in others if parent[p] == life.pid and "spawn_main" in command(p)]
    if victim == "driver":
        return [life.pid]
    if victim == "worker":
        return workers
    if victim == "environment":  # forked, and so called like whoever plays in it
        hosts = {pid: command(pid) for pid in (life.pid, *workers)}
        return [p for p in others if p not in workers and command(p) == hosts.get(parent[p])]
    return [life.pid, *others]


# ---------------------------------------------------------------------- what is on the disk


def finished(study: Path) -> dict[str, bytes]:
    """Everything that stands under its final name and is never written again."""
    found = {}
    for path in (path for pattern in WHOLE for path in study.glob(pattern)):
        if (data := contents(path)) is not None:
            found[path.relative_to(study).as_posix()] = data
    return found


def contents(path: Path) -> bytes | None:
    """A file's bytes; None if there is none."""
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return None


def failed(data: bytes) -> bool:
    """Whether this is the row of a point that was given up."""
    with suppress(ValueError, TypeError):
        return bool(json.loads(data)["status"] == "failed")
    return False


@dataclass
class Verdict:
    """What was done, and what was seen; the last three must stay empty."""

    blows: Counter[str] = field(default_factory=Counter)
    phases: Counter[str] = field(default_factory=Counter)
    lives: int = 0
    compared: int = 0
    lost: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing was lost or changed and nothing else went wrong."""
        return not (self.lost or self.changed or self.trouble)


class Bench:
    """An undisturbed study, others beside it that are not let alone, and what was seen of them."""

    def __init__(self, folder: Path, seed: int, file: Path, verdict: Verdict):
        self.folder, self.rng, self.verdict = folder, random.Random(seed), verdict
        self.file, self.whole = file, folder / "whole"
        life = Life(file, self.whole, "serial", 1)
        if life.wait() != 0:
            raise RuntimeError(f"the undisturbed study failed: {life.said()}")
        self.seconds = max(SHORT_SECONDS, time.monotonic() - life.begun)
        life.bury()
        self.files, self.had = finished(self.whole), dict[str, bytes]()

    def live(
        self, study: Path, executor: str, workers: int, fault: Fault = lambda: None, *flags: str
    ) -> Life:
        """Begin a life."""
        self.verdict.lives += 1
        return Life(self.file, study, executor, workers, fault, *flags)

    def phase(self, study: Path) -> str:
        """How far a study has come."""
        ends = {phase: sign for phase, sign in SIGNS.items() if (self.whole / sign).exists()}
        return next((p for p, sign in ends.items() if not (study / sign).exists()), "forecasting")

    def end(self, life: Life, study: Path, *codes: int, saying: str = "") -> int | None:
        """See a life to its end, look around, and bury it; returns its exit code.

        It is trouble if that is none of `codes`, or if it does not say what it should.
        """
        code = life.wait()
        if code is None:
            kill(life.pid)
            life.wait()
        said = life.said()
        if code not in codes or "Traceback" in said or saying not in said:
            self.verdict.trouble.append(f"{study.name} ended with {code}: {said[-1500:]}")
        outlived = life.bury()
        self.verdict.trouble += [f"outlived its driver: {name}" for name in outlived]
        if study.exists():
            self.look(study)
        return code

    def look(self, study: Path) -> set[str]:
        """Compare what is finished with the undisturbed study; returns the points given up."""
        now = finished(study)
        given_up = {name for name, data in now.items() if failed(data)}
        whole = {name: data for name, data in now.items() if name not in given_up}
        # Episodes beyond the last one needed are not kept; what an undisturbed study holds is.
        gone = (self.had.keys() & self.files.keys()) - whole.keys()
        self.verdict.lost += [f"{study.name}/{name}" for name in gone]
        self.verdict.changed += [
            f"{study.name}/{n}" for n, data in whole.items() if self.files.get(n, data) != data
        ]
        self.had = whole
        return given_up

    def complete(self, study: Path) -> None:
        """Compare a finished study as a whole, and clear it away."""
        self.verdict.compared += 1
        for name in FINAL:
            if contents(study / name) != contents(self.whole / name):
                self.verdict.changed.append(f"{study.name}/{name}")
        odd = sorted(finished(study).keys() ^ self.files.keys())
        self.verdict.changed += [f"{study.name}/{name} (here or there only)" for name in odd]
        left = [path.name for path in study.rglob(".*.tmp")]
        self.verdict.trouble += [f"{study.name}: left behind {name}" for name in left]
        self.clear(study)

    def clear(self, study: Path) -> None:
        self.had = {}
        shutil.rmtree(study)


# ---------------------------------------------------------------------- faults


def kills(bench: Bench, times: int) -> None:
    """kill -9 at random moments of as many lives and studies as that takes."""
    study, seconds = bench.folder / "killed", dict.fromkeys(EXECUTORS, bench.seconds)
    left = times
    while left or study.exists():
        kind, most = bench.rng.choice(EXECUTORS), min(KILLS_IN_A_LIFE, left)
        life, struck = bench.live(study, *kind), 0
        while struck < most and life.wait(bench.rng.uniform(0.0, seconds[kind] / most)) is None:
            struck += strike(bench, life, study)
        left -= struck
        print(f"{times - left} of {times} kills", file=sys.stderr, flush=True)
        if bench.end(life, study, 0, -signal.SIGKILL) == 0:
            if not struck:
                seconds[kind] = time.monotonic() - life.begun
            if not bench.look(study):
                bench.complete(study)


def strike(bench: Bench, life: Life, study: Path) -> bool:
    """Kill somebody; False if there is nobody of the kind that was drawn."""
    victim = bench.rng.choice(VICTIMS)
    pids = find(life, victim)
    for pid in pids if victim == "everybody" or not pids else [bench.rng.choice(pids)]:
        kill(pid)
    if pids:
        bench.verdict.blows[f"kills of {victim}"] += 1
        bench.verdict.phases[f"while {bench.phase(study)}"] += 1
        bench.look(study)
    return bool(pids)


def nethack_kills(bench: Bench, times: int) -> None:
    """The same of a study of NetHack, on games of the scripted player."""
    folder = bench.folder / "nethack"
    words = ["demos", "record", "nethack", "--episodes", "4", "--max-steps", "150", "--out", folder]
    subprocess.run([sys.executable, "-m", "isoclone", *words], check=True, capture_output=True)
    os.environ["ISOCLONE_FAULT_DEMOS"] = str(folder / "demos")
    kills(Bench(folder, bench.rng.randrange(1_000), NETHACK, bench.verdict), times)


def play_kills(bench: Bench, times: int) -> None:
    """The same of a study that learns by its own play."""
    folder = bench.folder / "play"
    kills(Bench(folder, bench.rng.randrange(1_000), PLAY, bench.verdict), times)


def full_disk(bench: Bench, times: int) -> None:
    """Ever larger file systems, each full at another moment, then room enough."""
    mount = bench.folder / "small"
    mount.mkdir()
    study, kilobytes = mount / "study", 300
    with _mounted(mount, kilobytes) as resize:
        if resize is None:
            return
        for _ in range(times):
            life = bench.live(study, "serial", 1)
            if bench.end(life, study, 0, 1) == 0:
                break
            bench.verdict.trouble += [f"left behind {p}" for p in study.rglob(".*.tmp")]
            bench.verdict.blows["full disks"] += 1
            kilobytes = int(kilobytes * 1.25)
            resize(kilobytes)
        resize(500_000)
        bench.end(bench.live(study, "serial", 1), study, 0)
        bench.complete(study)


@contextmanager
def _mounted(folder: Path, kilobytes: int) -> Iterator[Callable[[int], None] | None]:
    """A file system of that size, and how to make it larger; None where nothing can be mounted."""

    def mount(*options: str) -> bool:
        return subprocess.run(["mount", *options], capture_output=True).returncode == 0

    if not mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)):
        yield None
        return
    try:
        yield lambda size: mount("-o", f"remount,size={size}k", str(folder))
    finally:
        subprocess.run(["umount", "-l", str(folder)], capture_output=True)


def short_files(bench: Bench, limits: tuple[int, ...] = (100_000, 1_000_000)) -> None:
    """No file may grow beyond so many bytes, where nothing can be mounted the next best thing."""
    study = bench.folder / "short"
    for limit in limits:
        life = bench.live(study, "serial", 1, partial(_limit_files, limit))
        bench.end(life, study, 1, saying="isoclone: ")
        bench.verdict.blows["limits on a file's size"] += 1
    bench.end(bench.live(study, "serial", 1), study, 0)
    bench.complete(study)


def _limit_files(limit: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def torn_states(bench: Bench) -> None:
    """Every other training state is cut short after it was written: a crash of the machine."""
    study = bench.folder / "torn"
    fault = partial(_tear, random.Random(bench.rng.random()))
    bench.end(bench.live(study, "serial", 1, fault), study, 0)
    bench.verdict.blows["torn training states"] += len(list(study.glob("runs/*/restarted.json")))
    bench.complete(study)


def _tear(rng: random.Random) -> None:
    put = os.replace

    def replace(source: str, target: str) -> None:
        put(source, target)
        if Path(target).name == "state.safetensors" and rng.random() < 0.5:
            os.truncate(target, rng.randrange(os.path.getsize(target)))

    os.replace = replace  # type: ignore[assignment]


def torn_when_finished(bench: Bench, times: int = 3) -> None:
    """Files of a finished study are cut short or deleted, and it is repaired."""
    study = bench.folder / "repaired"
    for _ in range(times):
        shutil.copytree(bench.whole, study)
        given = ("demos", "study.json", "seconds", ".driver.lock")
        files = [p for p in sorted(study.rglob("*")) if p.is_file()]
        files = [p for p in files if not set(given) & set(p.relative_to(study).parts)]
        for path in bench.rng.sample(files, 8):
            if bench.rng.random() < 0.5:
                path.unlink()
            else:
                os.truncate(path, bench.rng.randrange(max(1, path.stat().st_size)))
            bench.verdict.blows["files torn in finished studies"] += 1
        life = bench.live(study, "serial", 1, partial(_repair, bench.file, study))
        bench.end(life, study, 0)
        bench.complete(study)


def bit_rot(bench: Bench, times: int) -> None:
    """One byte of any file of a finished study is changed: it is seen, mended, or changes nothing.

    `run` must say which file it was and leave the study as it was; what it does not see may only be
    in files that hold no number, or a spare byte of a table that reads as before.
    """
    study = bench.folder / "rotten"
    shutil.copytree(bench.whole, study)
    files = [p for p in sorted(study.rglob("*")) if p.is_file() and p.stat().st_size]
    files = [p for p in files if p.name not in NOTES]
    before = {path: path.read_bytes() for path in files}
    for _ in range(times):
        path = bench.rng.choice(files)
        data = bytearray(before[path])
        data[bench.rng.randrange(len(data))] ^= 1 << bench.rng.randrange(8)
        path.write_bytes(data)
        name = path.relative_to(study).as_posix()
        rows = path.suffix == ".parquet" and path.parent.name != "episodes" and _rows(path)
        unseen = rows and rows == _rows(bench.whole / name)
        life = bench.live(study, "serial", 1)
        code = life.wait()
        said = life.said()
        life.bury()
        cache = "cache" in path.parts
        if code != 0 or "Traceback" in said:
            bench.verdict.trouble.append(f"{name}: ended with {code}: {said[-600:]}")
        if cache and "the cache of frames was damaged" not in said:
            unseen = _codes_of_another_layout(study, path)
        elif not cache and not unseen and name not in said.replace("\n", ""):
            bench.verdict.trouble.append(f"{name}: nobody was told")
        bench.verdict.blows["bytes changed, of no account" if unseen else "bytes changed"] += 1
        for name in FINAL:
            if contents(study / name) != contents(bench.whole / name):
                bench.verdict.changed.append(f"rotten/{name} after {path.relative_to(study)}")
        now = finished(study)
        bench.verdict.changed += [n for n, d in bench.files.items() if now.get(n) != d]
        for other in files:
            if contents(other) != before[other]:
                other.write_bytes(before[other])
    bench.clear(study)


NOTES = (
    ".driver.lock",
    "study.log",
    "trace.jsonl",
    "progress.json",
    "made_by.json",
    "restarted.json",
)


def _rows(path: Path) -> object:
    import pyarrow.parquet as pq

    with suppress(Exception):
        return pq.read_table(path).to_pylist()
    return None


def _codes_of_another_layout(study: Path, path: Path) -> bool:
    """Whether a cache is of frames as no policy of the study reads them, so that none did."""
    return path.exists() and not (path.parent / "done.json").exists()


def forged_data(bench: Bench, times: int) -> None:
    """Episodes get other contents and every hash of a file and of the table is counted anew."""
    study = bench.folder / "forged"
    for turn in range(times):
        shutil.copytree(bench.whole, study)
        demos = open_demos(study / "demos")
        index = bench.rng.randrange(len(demos.episodes))
        path, episode = demos.episode_path(index), demos.read(index)
        field = ("actions", "rewards", "frames")[turn % 3]
        other = np.ascontiguousarray(np.roll(getattr(episode, field), 1 + turn, axis=0))
        forged = dataclasses.replace(episode, **{field: other + other.dtype.type(turn % 2)})
        info = dataclasses.replace(read_info(path), content_sha256=forged.content_sha256())
        write_episode(path, forged, info if turn % 2 else read_info(path))
        table = read_json(demos.path / "demonstrations.json")
        table["file_sha256"][index] = sha256_file(path)
        if turn % 2:
            table["episodes"][index]["content_sha256"] = info.content_sha256
        write_json(
            demos.path / "demonstrations.json", {**table, "table_digest": table_digest(table)}
        )
        life = bench.live(study, "serial", 1)
        bench.end(life, study, 0, saying=" makes it again")
        bench.verdict.blows["forged episodes"] += 1
        sound = finished(study)
        bench.verdict.changed += [
            f"forged/{n}" for n, d in bench.files.items() if sound.get(n) != d
        ]
        bench.clear(study)


def _repair(file: Path, study: Path) -> None:
    runpy.run_path(str(file))
    for each in repair(Study.open(study)):
        print(each.says)


def backward_clock(bench: Bench) -> None:
    """The wall clock runs backwards, in the driver and in its workers, over a kill as well."""
    study = bench.folder / "clock"
    life = bench.live(study, "processes", 1, _turn_back)
    while not list(study.glob("runs/*/points/*.json")) and life.wait(0.05) is None:
        pass
    kill(life.pid)
    bench.end(life, study, -signal.SIGKILL)
    bench.end(bench.live(study, "processes", 1, _turn_back), study, 0)
    bench.verdict.blows["lives with a clock that runs backwards"] += 2
    bench.complete(study)


def _turn_back() -> None:
    os.environ["PYTHONPATH"] = f"{CLOCK}:{os.environ.get('PYTHONPATH', '')}"
    runpy.run_path(str(CLOCK / "sitecustomize.py"))


def two_drivers(bench: Bench) -> None:
    """Two on one fresh study at the same moment: one is refused in a line, one finishes it."""
    study = bench.folder / "two"
    lives = [bench.live(study, "serial", 1) for _ in range(2)]
    while all(life.wait(0.02) is None for life in lives):
        pass
    lives.sort(key=lambda life: life.wait(0) is None)
    bench.end(lives[0], study, 1, saying="another isoclone process is at work")
    bench.end(lives[1], study, 0)
    bench.verdict.blows["second drivers"] += 1
    bench.complete(study)


def hopeless_run(bench: Bench, how: str) -> None:
    """Width 4 kills its worker, or raises, each time: given up with a reason; the rest goes on."""
    study = bench.folder / "hopeless"
    fault = partial(os.environ.__setitem__, "ISOCLONE_FAULT", how)
    bench.end(bench.live(study, "processes", 2, fault), study, 0, 1)
    rows = [json.loads(data) for data in finished(study).values() if data.startswith(b"{")]
    reason = {"die": "its worker died 3 times", "raise": "no room for width 4 (tried 3 times)"}
    given_up = [row for row in rows if row["status"] == "failed"]
    wrong = [row for row in given_up if row["width"] != 4 or reason[how] not in row["reason"]]
    if wrong or not given_up:
        bench.verdict.trouble.append(f"given up were {given_up}")
    if len({row["width"] for row in rows} - {4}) < 2:
        bench.verdict.trouble.append(f"the rest did not go on: {rows}")
    bench.verdict.blows[f"points given up ({how})"] += len(given_up)
    bench.end(bench.live(study, "serial", 1), study, 0)
    healed = (study / "points.csv").read_text().splitlines()
    whole = (bench.whole / "points.csv").read_text().splitlines()
    bench.verdict.lost += [row for row in whole if ",sweep," in row and row not in healed]
    bench.clear(study)


def mixed_versions(bench: Bench) -> None:
    """Half a study, then another version: refused in a line before it writes, or allowed and told.

    What it then measures is the same, but for who made it.
    """
    study = bench.folder / "mixed"
    life = bench.live(study, "serial", 1)
    while not list(study.glob("runs/*/points/*.json")) and life.wait(0.02) is None:
        pass
    kill(life.pid)
    bench.end(life, study, -signal.SIGKILL)
    before = finished(study)
    bench.end(bench.live(study, "serial", 1, _another_version), study, 2, saying="this is 99.0")
    if finished(study) != before:
        bench.verdict.changed.append("another version wrote, though it was refused")
    allowed = bench.live(study, "serial", 1, _another_version, "--allow-other-version")
    allowed.wait()
    told = [allowed.said(), (study / "study.log").read_text(), (study / "report.html").read_text()]
    if not all("99.0" in text for text in told):
        bench.verdict.trouble.append("points of two versions were mixed without a word")
    made = {json.loads(p.read_text())["isoclone_version"] for p in study.glob(WHOLE[0])}
    if len(made) != 2:
        bench.verdict.trouble.append(f"points do not say what made them: {made}")
    for name, data in finished(study).items():
        if _but_for_version(name, data) != _but_for_version(name, bench.files.get(name)):
            bench.verdict.changed.append(f"mixed/{name}")
    allowed.bury()
    bench.verdict.blows["other versions"] += 2
    bench.clear(study)


def _but_for_version(name: str, data: bytes | None) -> object:
    """What a file holds, of a point all but its version and the seal over it."""
    if data is None or not name.endswith(".json"):
        return data
    return {k: v for k, v in json.loads(data).items() if k not in ("seal", "isoclone_version")}


def _another_version() -> None:
    isoclone.base.provenance.VERSION = "99.0"


def stopped_workers(bench: Bench) -> None:
    """A worker is stopped in the middle of its work: it is named, ended and replaced."""
    study = bench.folder / "stopped"
    flags = ("--executor-options", "stalled_after=4")
    life = bench.live(study, "processes", 2, lambda: None, *flags)
    stopped = 0
    while not stopped and life.wait(0.05) is None:
        if list(study.glob("runs/*/progress.json")) and (workers := find(life, "worker")):
            stopped = bench.rng.choice(workers)
            os.kill(stopped, signal.SIGSTOP)
    busy = f"process {stopped} had not moved"
    bench.end(life, study, 0)
    log = (study / "study.log").read_text()
    if busy not in log and stat(stopped):  # it may have been idle: then it is not missed
        bench.verdict.trouble.append(f"a stopped worker was not named: {log[-500:]}")
    bench.verdict.blows["stopped workers"] += 1
    bench.verdict.blows["stopped workers named and replaced"] += busy in log
    bench.complete(study)


# ---------------------------------------------------------------------- all of them


def faults(
    kill_count: int, disk_count: int, nethack_count: int, rot_count: int
) -> dict[str, Callable[[Bench], None]]:
    """Every fault by name."""
    return {
        "kills": partial(kills, times=kill_count),
        "nethack": partial(nethack_kills, times=nethack_count),
        "play": partial(play_kills, times=nethack_count),
        "disk": partial(full_disk, times=disk_count),
        "files": short_files,
        "torn": torn_states,
        "repair": torn_when_finished,
        "rot": partial(bit_rot, times=rot_count),
        "forged": partial(forged_data, times=min(rot_count, 12)),
        "clock": backward_clock,
        "drivers": two_drivers,
        "versions": mixed_versions,
        "stopped": stopped_workers,
        "die": partial(hopeless_run, how="die"),
        "raise": partial(hopeless_run, how="raise"),
        "store": partial(object_store_faults, times=min(kill_count, 24)),
    }


def table(verdict: Verdict) -> str:
    """The verdict for people."""
    rows = [*sorted(verdict.blows.items()), *sorted(verdict.phases.items())]
    rows += [("lives", verdict.lives), ("studies finished and compared", verdict.compared)]
    rows += [("finished points or files lost", len(verdict.lost))]
    rows += [("changed", len(verdict.changed)), ("other trouble", len(verdict.trouble))]
    return "\n".join(f"{name:42} {value:5d}" for name, value in rows)


def run() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--disks", type=int, default=12)
    parser.add_argument("--nethack-kills", type=int, default=8)
    parser.add_argument("--rot", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=list(faults(0, 0, 0, 0)))
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    isoclone.study.estimate.MEASURE_SECONDS = 0.02
    folder = Path(tempfile.mkdtemp(prefix="isoclone-faults-"))  # not one that children clean up
    try:
        bench = Bench(folder, asked.seed, TOY, Verdict())
        deals = faults(asked.kills, asked.disks, asked.nethack_kills, asked.rot)
        for name, fault in deals.items():
            if not asked.only or name in asked.only:
                begun, lives = time.monotonic(), bench.verdict.lives
                fault(bench)
                spent = f"{bench.verdict.lives - lives} lives, {time.monotonic() - begun:.0f} s"
                print(f"{name}: {spent}", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder)
    verdict = bench.verdict
    print(json.dumps(vars(verdict)) if asked.json else table(verdict))
    for line in (*verdict.lost, *verdict.changed, *verdict.trouble):
        print(line, file=sys.stderr)
    return 0 if verdict.clean else 1


if __name__ == "__main__":
    sys.exit(run())
