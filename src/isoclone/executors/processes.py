"""A pool of processes on this machine, one thread each.

One process a core with one thread beats one process with many threads for networks this small.
A worker that dies (killed, out of memory) takes the pool with it; the pool is built anew and the
tasks that were under way are tried again, `TRIES` times in all.
"""

from __future__ import annotations

import concurrent.futures as futures
import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool

from isoclone.executors.base import Outcome, Task
from isoclone.executors.serial import call

TRIES = 3


def _prepare_worker() -> None:
    """One thread for each worker; Ctrl-C is the driver's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"
    import cv2

    cv2.setNumThreads(1)


class ProcessExecutor:
    """`workers` processes, started when first needed and kept until the end."""

    def __init__(self, workers: int):
        self.workers = workers
        self._pool: futures.ProcessPoolExecutor | None = None

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        queue, waiting, tries = iter(tasks), [], {}
        running: dict[futures.Future[Outcome], Task] = {}
        while True:
            while len(running) < self.workers:
                task = waiting.pop() if waiting else next(queue, None)
                if task is None:
                    break
                tries[id(task)] = tries.get(id(task), 0) + 1
                running[self._submit(task)] = task
            if not running:
                return
            done, _ = futures.wait(running, return_when=futures.FIRST_COMPLETED)
            for future in done:
                task = running.pop(future)
                try:
                    yield future.result()
                except BrokenProcessPool:
                    self._close()
                    if tries[id(task)] < TRIES:
                        waiting.append(task)
                    else:
                        yield Outcome(task, error=f"its worker died {TRIES} times")

    def _submit(self, task: Task) -> futures.Future[Outcome]:
        try:
            return self._open().submit(call, task)
        except BrokenProcessPool:
            self._close()
            return self._open().submit(call, task)

    def _open(self) -> futures.ProcessPoolExecutor:
        if self._pool is None:
            self._pool = futures.ProcessPoolExecutor(
                self.workers, multiprocessing.get_context("spawn"), _prepare_worker
            )
        return self._pool

    def _close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> ProcessExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()
