"""Processes on this machine, one thread each.

For networks this small, one process for each core is faster than one process with many threads.
Each worker is a process pool of its own: when one dies (killed, out of memory), the others go on,
and only its task is tried again in a new worker.
"""

from __future__ import annotations

import concurrent.futures as futures
import multiprocessing
import os
import signal
import threading
from collections.abc import Hashable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from typing import cast

from isoclone.base.errors import SpecError
from isoclone.base.formatting import duration
from isoclone.executors.base import Outcome, Task
from isoclone.executors.pool import Pool, WorkerLost
from isoclone.executors.serial import call
from isoclone.executors.setup import run_study_file, use_one_thread
from isoclone.executors.watch import STALLED_SECONDS, Watch, end_all


def _prepare_worker(devices: str | None) -> None:
    """Set up a worker: one thread, Ctrl-C left to the driver, and an end when the driver ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_driver, daemon=True).start()
    if devices is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices
    use_one_thread()
    run_study_file()


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Have a process that is started meanwhile never hear Ctrl-C, which is the driver's to obey."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave_with_driver() -> None:
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)


class ProcessExecutor(Pool):
    """`workers` processes, each started when first needed and kept until the end.

    Args:
        workers: how many.
        gpus: share of a GPU that each worker may count on, or how many; workers are dealt out
            over this machine's GPUs accordingly (ten of .1 share one). 0 deals out nothing: every
            worker sees every GPU.

        stalled_after: seconds after which a worker that does not move, as it was stopped or hangs,
            is ended and replaced: neither it nor a process that it started used the CPU (Linux).

    Raises:
        SpecError: there are too few GPUs for that, or no time after which a worker is replaced.
    """

    def __init__(self, workers: int, gpus: float = 0.0, stalled_after: float = STALLED_SECONDS):
        if stalled_after <= 0:
            raise SpecError(f"stalled_after must be above 0 seconds, not {stalled_after:g}")
        self._workers = workers
        self._watch = Watch(stalled_after)
        self._ended: dict[futures.ProcessPoolExecutor, str] = {}  # by us, and why
        self._devices = _dealt_out(workers, gpus, _gpus_here()) if gpus else [None] * workers
        self._slots: dict[futures.ProcessPoolExecutor, int] = {}
        self._idle: list[futures.ProcessPoolExecutor] = []
        self._busy: dict[Hashable, futures.ProcessPoolExecutor] = {}

    @property
    def workers(self) -> int:
        return self._workers

    def begin(self, tasks: Sequence[Task]) -> list[Hashable]:
        return [self._begin(task) for task in tasks]

    def _begin(self, task: Task) -> Hashable:
        """Give a task to an idle worker or a new one; a worker that died while idle is dropped."""
        while True:
            worker = self._idle.pop() if self._idle else self._start()
            try:
                with _without_ctrl_c():
                    future = worker.submit(call, task)
            except BrokenProcessPool:
                self._forget(worker)
            else:
                self._busy[future] = worker
                return future

    def wait(self, handles: Sequence[Hashable]) -> Iterable[Hashable]:
        under_way = cast(Sequence["futures.Future[Outcome]"], handles)
        pause = self._watch.seconds_between
        ended = futures.wait(under_way, pause, return_when=futures.FIRST_COMPLETED).done
        self._end_stalled()
        return ended

    def _end_stalled(self) -> None:
        """End the workers that have not moved for too long; their tasks are begun again."""
        at_work = {
            pid: worker for worker in self._busy.values() for pid in (worker._processes or {})
        }
        for pid, seconds in self._watch.stalled(at_work):
            said = f"process {pid} had not moved for {duration(seconds)}: it was stopped, or hung"
            self._ended[at_work[pid]] = said
            end_all(pid)

    def outcome(self, handle: Hashable, task: Task) -> Outcome:
        worker = self._busy.pop(handle)
        try:
            outcome = cast("futures.Future[Outcome]", handle).result()
        except BrokenProcessPool as broken:
            self._forget(worker)
            raise WorkerLost(self._ended.pop(worker, "")) from broken
        self._idle.append(worker)
        return outcome

    def _start(self) -> futures.ProcessPoolExecutor:
        slot = min(set(range(self.workers)) - set(self._slots.values()))
        spawn = multiprocessing.get_context("spawn")
        worker = futures.ProcessPoolExecutor(1, spawn, _prepare_worker, (self._devices[slot],))
        self._slots[worker] = slot
        return worker

    def _forget(self, worker: futures.ProcessPoolExecutor) -> None:
        del self._slots[worker]
        worker.shutdown(wait=False)

    def __enter__(self) -> ProcessExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        workers, self._slots, self._idle, self._busy = list(self._slots), {}, [], {}
        for worker in workers:
            if exception and exception[0] is not None:  # the tasks that still run are not needed
                for process in list((worker._processes or {}).values()):
                    process.terminate()
            worker.shutdown(wait=False, cancel_futures=True)
            for pid in list(worker._processes or {}):
                with suppress(OSError):
                    os.kill(pid, signal.SIGCONT)  # one that was stopped while idle could not end


def _gpus_here() -> list[str]:
    """Return the GPUs this process may use, by the names CUDA gives them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name]
    import torch

    return [str(i) for i in range(torch.cuda.device_count())]


def _dealt_out(workers: int, gpus: float, here: Sequence[str]) -> list[str | None]:
    """Return CUDA_VISIBLE_DEVICES of each worker; a GPU is filled before the next one is used."""
    if gpus <= 0 or (gpus > 1 and gpus != int(gpus)):
        raise SpecError(f"gpus must be a share of one GPU or a whole number, not {gpus:g}")
    sharing = int(1 / gpus + 1e-9) if gpus < 1 else 1
    each = max(1, int(gpus))
    needed = -(-workers // sharing) * each
    if needed > len(here):
        raise SpecError(
            f"{workers} workers of {gpus:g} GPU each need {needed} GPUs and {len(here)} are here; "
            "ask for fewer workers or a smaller share"
        )
    first = [worker // sharing * each for worker in range(workers)]
    return [",".join(here[i : i + each]) for i in first]
