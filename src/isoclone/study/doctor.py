"""Examine this machine: what is installed, how fast it is, and whether a study fits it."""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from isoclone.base.errors import ExecutionError
from isoclone.base.formatting import duration
from isoclone.base.records import Record
from isoclone.base.registry import BROKEN_PLUGINS, load_plugins
from isoclone.executors import check_workers
from isoclone.study.study import Plan, Study

OK, NOTE, PROBLEM = "ok", "note", "problem"
GEMM_SIZE = {"cpu": 512, "cuda": 4096, "mps": 2048}
GEMM_SECONDS = 0.25
LEAST_DISK_BYTES = 2 * 2**30
DISK_SPARE = 1.1  # leave a tenth more than is needed
DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class Finding(Record):
    """One result of the examination, with what to do about it if there is a problem."""

    level: str  # 'ok', 'note' or 'problem'
    what: str
    found: str
    remedy: str = ""


def examine(study: Study | None = None, workers: int | None = None) -> Iterator[Finding]:
    """Look at this machine, and at whether a study's plan fits it. Takes a few seconds.

    Args:
        study: the study; only the machine is looked at if None. Nothing is written to it.
        workers: how many are to work at once; one a core unless said.
    """
    count, place = check_workers(workers), study.path if study else Path.cwd()
    yield from _software()
    yield from _extras()
    yield from _plugins()
    yield from _devices()
    yield _memory()
    yield from _disk(place)
    if study:
        yield from _study(study, count)


# ---------------------------------------------------------------------- what is installed


def _software() -> Iterator[Finding]:
    yield Finding(
        OK, "isoclone", f"{metadata.version('isoclone')}, Python {sys.version.split()[0]}"
    )
    for name, wanted, have in _requirements():
        if name is None and have is None:
            yield Finding(PROBLEM, wanted, "not installed", "pip install isoclone")
        elif have is not None and not _fits(wanted, have):
            remedy = f"pip install '{_bare(wanted)}'"
            yield Finding(PROBLEM, wanted, f"{have} is installed", remedy)


def _extras() -> Iterator[Finding]:
    """Yield for each extra what is installed of it, and how to install the rest."""
    extras: dict[str, list[tuple[str, str | None]]] = {}
    for name, wanted, have in _requirements():
        if name is not None:
            extras.setdefault(name, []).append((wanted, have))
    for name, parts in extras.items():
        missing = [_package(wanted) for wanted, have in parts if have is None]
        if missing:
            remedy = f"if you want it: pip install 'isoclone[{name}]'"
            yield Finding(NOTE, f"extra {name}", f"no {', '.join(missing)}", remedy)
        else:
            found = ", ".join(f"{_package(wanted)} {have}" for wanted, have in parts)
            yield Finding(OK, f"extra {name}", found)


def _plugins() -> Iterator[Finding]:
    """Yield the installed packages that add to isoclone but could not be loaded."""
    load_plugins()
    for name, reason in BROKEN_PLUGINS.items():
        remedy = "nothing of it can be used: repair or uninstall the package"
        yield Finding(PROBLEM, f"plugin {name}", f"not loaded: {reason}", remedy)


def _requirements() -> Iterator[tuple[str | None, str, str | None]]:
    """Yield (extra or None, requirement, installed version or None) of all that isoclone names.

    What is installed but cannot be found by Python's import counts as not installed.
    """
    modules = _modules()
    for text in metadata.requires("isoclone") or ():
        wanted, _, marker = text.partition(";")
        extra = re.search(r"extra == [\"']([^\"']+)", marker)
        package = _package(wanted)
        try:
            have: str | None = metadata.version(package)
        except metadata.PackageNotFoundError:
            have = None
        brought = modules.get(_canonical(package), [])
        if brought and not any(find_spec(module) for module in brought):
            have = None
        yield (extra.group(1) if extra else None), wanted.strip(), have


def _modules() -> dict[str, list[str]]:
    """Return the top-level modules that each installed package brings."""
    brought: dict[str, list[str]] = {}
    for module, packages in metadata.packages_distributions().items():
        for package in packages if module.isidentifier() else ():
            brought.setdefault(_canonical(package), []).append(module)
    return brought


def _canonical(package: str) -> str:
    """Return a package's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", package).lower()


def _package(wanted: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", wanted.strip())
    return found.group() if found else wanted


def _bare(wanted: str) -> str:
    return wanted.replace(" ", "")


def _fits(wanted: str, have: str) -> bool:
    from packaging.requirements import Requirement

    return Requirement(wanted).specifier.contains(have, prereleases=True)


# ---------------------------------------------------------------------- what the machine can do


def _devices() -> Iterator[Finding]:
    import torch

    model = platform.processor() or platform.machine()
    rate = _rates("cpu")
    found = f"{check_workers(None)} cores ({model}), on one: {rate}"
    yield Finding(OK, "cpu", found)
    yield _compiler()
    for i in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(i)
        name = torch.cuda.get_device_name(i)
        memory = f"{_gib(free)} of {_gib(total)} free"
        yield Finding(OK, f"cuda:{i}", f"{name}, {memory}, {_rates(f'cuda:{i}')}")
    if torch.backends.mps.is_available():
        yield Finding(OK, "mps", _rates("mps"))
    if not torch.cuda.is_available() and shutil.which("nvidia-smi"):
        built = torch.version.cuda or "no CUDA"
        remedy = "install a PyTorch built for this machine's driver"
        yield Finding(PROBLEM, "cuda", f"a GPU, but PyTorch (built for {built})", remedy)
    elif not torch.cuda.is_available():
        yield Finding(NOTE, "cuda", "no GPU here", "runs use --device cpu")


def _compiler() -> Finding:
    """Return whether kernels of narrow networks can be compiled here, and for which products."""
    from isoclone.policies.kernels import compiler, multiplies_bfloat16

    found = compiler()
    if found is None:
        remedy = "if you want narrow convolutions two to three times as fast: install g++ or clang"
        return Finding(NOTE, "kernels", "no C++ compiler", remedy)
    try:
        precisions = "float32" + " and bfloat16" * multiplies_bfloat16()
    except ExecutionError as error:
        return Finding(NOTE, "kernels", str(error), "runs use torch's convolutions")
    return Finding(OK, "kernels", f"{' '.join(found)} compiles them, in {precisions}")


def _rates(device: str) -> str:
    """Measure the speed of a large matrix product in each precision of training; return text."""
    import torch

    found = []
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        found.append(f"{matmul_flops(device, dtype):.2g} FLOP/s {name}")
    return ", ".join(found)


def matmul_flops(device: str, dtype: object, seconds: float = GEMM_SECONDS) -> float:
    """Measure the FLOP/s of a square matrix product on one thread; a multiply-add counts two."""
    import torch

    size, threads = GEMM_SIZE[device.partition(":")[0]], torch.get_num_threads()
    a = torch.ones((size, size), dtype=dtype, device=device)  # type: ignore[call-overload]
    wait = _synchroniser(device)
    # Processor time of this process, so that other work on the machine does not count.
    clock = time.process_time if device == "cpu" else time.perf_counter
    torch.set_num_threads(1)
    try:
        torch.mm(a, a)
        wait()
        begun, count = clock(), 0
        while clock() - begun < seconds:
            torch.mm(a, a)
            wait()
            count += 1
        return 2 * size**3 * count / (clock() - begun)
    finally:
        torch.set_num_threads(threads)


def _synchroniser(device: str) -> Callable[[], object]:
    import torch

    kind = device.partition(":")[0]
    if kind == "cpu":
        return lambda: None
    return torch.cuda.synchronize if kind == "cuda" else torch.mps.synchronize


def _memory() -> Finding:
    free = available_bytes()
    return Finding(OK, "memory", f"{_gib(free)} available")


def available_bytes() -> float:
    """Return the bytes of memory still free: the machine's, or the container's if that is less."""
    bounds = [float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))]
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        rows = dict(line.split(":", 1) for line in meminfo.read_text(encoding="utf-8").splitlines())
        bounds = [float(rows["MemAvailable"].split()[0]) * 1024]
    limit, used = (Path("/sys/fs/cgroup") / f"memory.{name}" for name in ("max", "current"))
    if limit.exists() and limit.read_text().strip() != "max":
        bounds.append(float(limit.read_text()) - float(used.read_text()))
    return min(bounds)


def _disk(place: Path) -> Iterator[Finding]:
    there = _existing(place)
    free = shutil.disk_usage(there).free
    level = OK if free > LEAST_DISK_BYTES else PROBLEM
    remedy = "" if level == OK else "free some, or put the study elsewhere with --out"
    yield Finding(level, "disk", f"{_gib(free)} free at {there}", remedy)
    blocking = [p for p in (place, *place.parents) if p.exists() and not p.is_dir()]
    trouble = f"{blocking[0]} is a file, no directory" if blocking else _writing_fails(there)
    if trouble:
        yield Finding(PROBLEM, "disk", trouble, "choose another place with --out")


def _existing(place: Path) -> Path:
    return next(p for p in (place.resolve(), *place.resolve().parents) if p.is_dir())


def _writing_fails(folder: Path) -> str | None:
    """Return why files cannot be written, renamed and locked in a folder; None if they can."""
    try:
        with tempfile.TemporaryDirectory(prefix=".isoclone-", dir=folder) as inner:
            first, second = Path(inner) / "a", Path(inner) / "b"
            first.write_text("a")
            os.replace(first, second)
            with open(second, encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return f"{folder}: {error.strerror or error}"
    return None


# ---------------------------------------------------------------------- whether a study fits


def _study(study: Study, workers: int) -> Iterator[Finding]:
    plan = study.plan(workers)
    yield from (Finding(OK, "chosen", said) for said in study.chosen())
    yield _time(plan)
    yield _space(study, plan)
    yield from _room(study, plan, workers)
    failed = [p for p in study.points(None) if p.status == "failed"]
    if failed:
        remedy = "the same run command tries them again"
        yield Finding(NOTE, "points", f"{len(failed)} failed: {failed[0].reason}", remedy)


def _time(plan: Plan) -> Finding:
    if plan.speed is None:
        return Finding(OK, "time", "the study is finished")
    cost, largest = plan.estimate, plan.sizes[-1]["flops_per_sample"]
    found = (
        f"{plan.sweep_flops + plan.forecast_flops:.2g} FLOPs, about {duration(cost.total_s)} on "
        f"{cost.workers} workers; training reaches "
        f"{largest / plan.speed.train_seconds(1, largest):.2g} FLOP/s a core at the largest size"
    )
    if cost.total_s < DAY_SECONDS:
        return Finding(OK, "time", found)
    return Finding(NOTE, "time", found, "fewer sizes or budgets, or more machines: --executor ray")


def _frames_bytes(study: Study, plan: Plan) -> int:
    frame = study.spec.make_game().frame
    return plan.samples * frame.size * np.dtype(frame.dtype).itemsize


def _runs_bytes(study: Study, plan: Plan) -> int:
    """Return the bytes of all checkpoints and states (weights, their average, two moments)."""
    params = sum(size["params"] for size in plan.sizes) * len(plan.seeds)
    return params * 4 * (len(plan.budgets_flops) + 4)


def _space(study: Study, plan: Plan) -> Finding:
    frames, runs = _frames_bytes(study, plan), _runs_bytes(study, plan)
    there = _existing(study.path)
    have = sum(p.stat().st_size for p in study.path.rglob("*") if p.is_file())
    free = shutil.disk_usage(there).free
    needed = max(0, frames + runs - have) * DISK_SPARE
    found = f"{_gib(needed)} more, {_gib(frames)} of it frames; {_gib(free)} free"
    if needed < free:
        return Finding(OK, "study's disk", found)
    remedy = "fewer --samples, or --out on a larger disk"
    return Finding(PROBLEM, "study's disk", found, remedy)


def _room(study: Study, plan: Plan, workers: int) -> Iterator[Finding]:
    """Yield whether the workers' memory suffices.

    This process stands for a worker: it has just trained for a moment.
    """
    import resource

    each = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )
    free, frames = available_bytes(), _frames_bytes(study, plan)
    found = f"{workers} workers of about {_gib(each)}; {_gib(free)} available"
    if workers * each > free:
        fitting = max(1, int(free / each))
        yield Finding(PROBLEM, "study's memory", found, f"--workers {fitting}")
    elif workers * each + frames > free:
        remedy = "training waits for the disk: fewer --samples, or a machine with more memory"
        yield Finding(NOTE, "study's memory", f"{found}, and {_gib(frames)} of frames", remedy)
    else:
        yield Finding(OK, "study's memory", found)
    yield from _gpu_room(frames)


def _gpu_room(frames: int) -> Iterator[Finding]:
    import torch

    for i in range(torch.cuda.device_count()):
        free, _ = torch.cuda.mem_get_info(i)
        fits = frames < 0.6 * free
        found = f"frames {_gib(frames)}, {_gib(free)} free"
        remedy = "" if fits else "frames stay in main memory: slower; use fewer --samples"
        yield Finding(OK if fits else NOTE, f"frames on cuda:{i}", found, remedy)


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
