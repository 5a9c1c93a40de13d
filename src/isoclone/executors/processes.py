"""Processes on this machine, one thread each.

One process a core with one thread beats one process with many threads for networks this small.
Each worker is a pool of its own, so that a worker that dies (killed, out of memory) takes nobody
with it: its task alone is tried again in a new worker, `TRIES` times in all.
"""

from __future__ import annotations

import concurrent.futures as futures
import multiprocessing
import os
import runpy
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from isoclone.executors.base import TRIES, Outcome, Task
from isoclone.executors.serial import call

STUDY_FILE_VARIABLE = "ISOCLONE_STUDY_FILE"  # a user's Python file that each worker runs first


@dataclass
class _Try:
    """A task under way: in which worker, and how many workers it has had."""

    task: Task
    worker: futures.ProcessPoolExecutor
    count: int = 1


def _prepare_worker() -> None:
    """One thread for each worker; Ctrl-C is the driver's business; none outlives its driver."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_driver, daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = "1"
    import cv2

    cv2.setNumThreads(1)
    if os.environ.get(STUDY_FILE_VARIABLE):  # what it registers must be known here too
        runpy.run_path(os.environ[STUDY_FILE_VARIABLE])


def _leave_with_driver() -> None:
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)


class ProcessExecutor:
    """`workers` processes, each started when first needed and kept until the end."""

    def __init__(self, workers: int):
        self.workers = workers
        self._all: list[futures.ProcessPoolExecutor] = []
        self._idle: list[futures.ProcessPoolExecutor] = []

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        queue = iter(tasks)
        running: dict[futures.Future[Outcome], _Try] = {}
        while True:
            while len(running) < self.workers and (task := next(queue, None)) is not None:
                self._begin(task, 1, running)
            if not running:
                return
            done, _ = futures.wait(running, return_when=futures.FIRST_COMPLETED)
            for future in done:
                attempt = running.pop(future)
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    self._forget(attempt.worker)
                    if attempt.count < TRIES:
                        self._begin(attempt.task, attempt.count + 1, running)
                    else:
                        yield Outcome(attempt.task, error=f"its worker died {TRIES} times")
                else:
                    self._idle.append(attempt.worker)
                    yield outcome

    def _begin(self, task: Task, count: int, running: dict[futures.Future[Outcome], _Try]) -> None:
        """Give a task to an idle worker, or to a new one; one that died idle does not count."""
        while True:
            worker = self._idle.pop() if self._idle else self._start()
            try:
                running[worker.submit(call, task)] = _Try(task, worker, count)
                return
            except BrokenProcessPool:
                self._forget(worker)

    def _start(self) -> futures.ProcessPoolExecutor:
        spawn = multiprocessing.get_context("spawn")
        self._all.append(futures.ProcessPoolExecutor(1, spawn, _prepare_worker))
        return self._all[-1]

    def _forget(self, worker: futures.ProcessPoolExecutor) -> None:
        self._all.remove(worker)
        worker.shutdown(wait=False)

    def __enter__(self) -> ProcessExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        workers, self._all, self._idle = self._all, [], []
        for worker in workers:
            if exception and exception[0] is not None:  # nobody waits for what is under way
                for process in list((worker._processes or {}).values()):
                    process.terminate()
            worker.shutdown(wait=False, cancel_futures=True)
