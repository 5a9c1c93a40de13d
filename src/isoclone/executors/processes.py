"""A pool of processes on this machine, one thread each.

One process a core with one thread beats one process with many threads for networks this small.
A worker that dies (killed, out of memory) takes the pool with it; the pool is built anew and the
tasks that were under way are tried again, `TRIES` times in all.
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

from isoclone.executors.base import Outcome, Task
from isoclone.executors.serial import call

TRIES = 3
STUDY_FILE_VARIABLE = "ISOCLONE_STUDY_FILE"  # a user's Python file that each worker runs first


@dataclass
class _Try:
    """A task under way: how often it was begun, and in which pool."""

    task: Task
    count: int = 0
    pool: futures.ProcessPoolExecutor | None = None


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
    """`workers` processes, started when first needed and kept until the end."""

    def __init__(self, workers: int):
        self.workers = workers
        self._pool: futures.ProcessPoolExecutor | None = None

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        queue = iter(tasks)
        waiting: list[_Try] = []
        running: dict[futures.Future[Outcome], _Try] = {}
        while True:
            while len(running) < self.workers:
                task = None if waiting else next(queue, None)
                if task is None and not waiting:
                    break
                attempt = waiting.pop() if task is None else _Try(task)
                running[self._submit(attempt)] = attempt
            if not running:
                return
            done, _ = futures.wait(running, return_when=futures.FIRST_COMPLETED)
            for future in done:
                attempt = running.pop(future)
                try:
                    yield future.result()
                except (BrokenProcessPool, futures.CancelledError):
                    self._abandon(attempt.pool)
                    if attempt.count < TRIES:
                        waiting.append(attempt)
                    else:
                        yield Outcome(attempt.task, error=f"its worker died {TRIES} times")

    def _submit(self, attempt: _Try) -> futures.Future[Outcome]:
        attempt.count += 1
        attempt.pool = self._open()
        try:
            return attempt.pool.submit(call, attempt.task)
        except BrokenProcessPool:
            self._abandon(attempt.pool)
            attempt.pool = self._open()
            return attempt.pool.submit(call, attempt.task)

    def _open(self) -> futures.ProcessPoolExecutor:
        if self._pool is None:
            self._pool = futures.ProcessPoolExecutor(
                self.workers, multiprocessing.get_context("spawn"), _prepare_worker
            )
        return self._pool

    def _abandon(self, pool: futures.ProcessPoolExecutor | None) -> None:
        """Let go of a pool that broke; a newer one, if there is one already, stays."""
        if pool is not None and pool is self._pool:
            self._pool = None
            pool.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> ProcessExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        pool, self._pool = self._pool, None
        if pool is None:
            return
        if exception and exception[0] is not None:  # nobody waits for what is under way
            for process in list((pool._processes or {}).values()):
                process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
