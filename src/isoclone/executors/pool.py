"""The common part of pools of workers: tasks are taken lazily, lost ones started again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from isoclone.base.registry import trusted_modules
from isoclone.executors.base import TRIES, Outcome, Task


class WorkerLost(Exception):
    """The worker died while it ran the task: killed, out of memory, or its machine is gone."""


@dataclass
class _Attempt:
    task: Task
    count: int = 0


class Pool(ABC):
    """An executor with workers of its own; a task whose worker dies is started up to `TRIES` times.

    A subclass says how many workers there are, how tasks are started, and how they end.
    """

    tell: Callable[[str], None] = staticmethod(lambda message: None)  # of workers that are lost
    seen: Callable[[Outcome], None] = staticmethod(lambda outcome: None)

    @property
    @abstractmethod
    def workers(self) -> int:
        """The number of tasks that may run at once."""

    @abstractmethod
    def begin(self, tasks: Sequence[Task]) -> Sequence[Hashable]:
        """Start tasks; return a handle for each, in the same order."""

    @abstractmethod
    def wait(self, handles: Sequence[Hashable]) -> Iterable[Hashable]:
        """Wait for a while, or until a task ends; return the handles of tasks that have ended."""

    @abstractmethod
    def outcome(self, handle: Hashable, task: Task) -> Outcome:
        """Return the outcome of a task that has ended.

        Raises:
            WorkerLost: its worker died; the message says how, as far as known.
            StoreError: the study directory cannot be written.
        """

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Call every task; yield outcomes in the order they end (see `Executor.run`)."""
        queue = iter(tasks)
        again: list[_Attempt] = []
        under_way: dict[Hashable, _Attempt] = {}
        while True:
            free = max(0, self.workers - len(under_way))
            fresh = islice(queue, max(0, free - len(again)))
            again += [_Attempt(replace(task, modules=trusted_modules())) for task in fresh]
            now, again = again[:free], again[free:]
            handles = self.begin([attempt.task for attempt in now]) if now else []
            under_way.update(zip(handles, now, strict=True))
            if not under_way and not again:
                return
            for handle in self.wait(list(under_way)):
                attempt = under_way.pop(handle)
                attempt.count += 1
                try:
                    outcome = self.outcome(handle, attempt.task)
                except WorkerLost as lost:
                    why = f" ({lost})" if str(lost) else ""
                    if attempt.count < TRIES:
                        name = attempt.task.name or "a task"
                        self.tell(f"{name}: its worker died{why}; another one begins it again")
                        again.append(attempt)
                        continue
                    outcome = Outcome(attempt.task, error=f"its worker died {TRIES} times{why}")
                self.seen(outcome)
                yield outcome
