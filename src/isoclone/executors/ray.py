"""Ray: the workers of a cluster, or of a Ray started here for this study alone.

Ray places tasks by what they ask for (CPUs, GPUs or a share of one), and notices when workers or
machines die; their tasks are started again elsewhere, as in any other pool.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from isoclone.base.errors import ExecutionError, MissingExtraError, SpecError, StoreError
from isoclone.base.userfile import packed
from isoclone.executors import ray_worker
from isoclone.executors.base import Outcome, Task
from isoclone.executors.parcel import Parcel, pack, stamp, unpack
from isoclone.executors.pool import Pool, WorkerLost
from isoclone.executors.serial import one_line
from isoclone.executors.setup import STUDY_FILE_VARIABLE
from isoclone.remote import CLAIMS, PATIENCE_SECONDS, Remote, remote_of

OBJECT_STORE_BYTES = 256 * 2**20  # of a Ray started here: frames are read from disk, not from it
WAIT_SECONDS = 5.0  # between two looks at the size of the cluster
KNOCK_SECONDS = 10.0
HEAD_SECONDS = 30.0  # of waiting for the head; after 60 s without one Ray ends this process
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # "0" binds Ray to the loopback address alone


class RayExecutor(Pool):
    """Ray tasks, as many at once as the cluster has room for.

    Args:
        workers: tasks that run at once; as many as the cluster has room for if None.
        address: a running cluster ('auto', 'host:port', 'ray://host:port'). None starts Ray here,
            reachable from this machine alone, and stops it at the end.
        cpus: CPUs, or share of one, that each task asks for.
        gpus: GPUs, or share of one, that each task on an accelerator asks for (ten of .1 share
            one GPU).
        files: 'shared' if the study's directory is the same on every machine, or in an object
            store; 'sent' if there is neither: what a task reads goes out with it, and what it wrote
            comes back.

    Raises:
        SpecError: an option has a value it cannot have.
    """

    def __init__(
        self,
        workers: int | None = None,
        address: str | None = None,
        cpus: float = 1.0,
        gpus: float = 1.0,
        files: str = "shared",
    ):
        if files not in ("shared", "sent"):
            raise SpecError(f"files must be 'shared' or 'sent', not '{files}'")
        if cpus <= 0 or gpus <= 0:
            raise SpecError("cpus and gpus, what each task asks for, must be above 0")
        self._asked, self._address = workers, address
        self._cpus, self._gpus, self._sends = cpus, gpus, files == "sent"
        self._ray: Any = None
        self._ours, self._head = False, ""
        self._under_way: set[Any] = set()
        self._parcels: dict[Path, tuple[str, Any]] = {}  # place -> (stamp, reference)

    @property
    def workers(self) -> int:
        room = max(1, int(self._has("CPU") / self._cpus + 1e-9))
        return room if self._asked is None else min(self._asked, room)

    def sees(self, place: Path) -> bool:
        """Return whether workers see a directory of this machine as it is here."""
        return not self._sends and remote_of(place) is None

    def _has(self, resource: str) -> float:
        """Return how much of a resource the cluster has at present."""
        ray = self._connected()
        self._await_head()
        return float(ray.cluster_resources().get(resource, 0.0))

    def _await_head(self) -> None:
        """Raise ExecutionError if the cluster's head is gone."""
        until = time.monotonic() + HEAD_SECONDS
        while True:
            try:
                return _knock(self._head)
            except OSError as error:
                if time.monotonic() > until:
                    raise ExecutionError(
                        f"the Ray cluster's head at {self._head} is gone; start the cluster again, "
                        "and the same command goes on from here"
                    ) from error
            time.sleep(1.0)

    def _connected(self) -> Any:
        """Return the module ray; start Ray or join the cluster at the first call."""
        if self._ray is None:
            ray = _import_ray(alone=self._address is None)
            self._ours = not ray.is_initialized()
            if self._ours:
                self._start(ray)
            self._ray, self._head = ray, self._address or ""
            if not self._head.startswith("ray://"):
                self._head = ray.get_runtime_context().gcs_address
            # The pool does the retries: Ray's own never end when memory runs out.
            self._call = ray.remote(max_retries=0)(ray_worker.call_in_worker)
            self._study_file = ray.put(_study_file())
        return self._ray

    def _start(self, ray: Any) -> None:
        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self._address is None:
            cpus = math.ceil((self._asked or os.cpu_count() or 1) * self._cpus)
            settings |= {"address": "local", "num_cpus": cpus, "include_dashboard": False}
            settings |= {"object_store_memory": OBJECT_STORE_BYTES}
        else:
            settings |= {"address": self._address}
        try:
            _knock(self._address)
            with _own_signals():
                ray.init(**settings)
        except (OSError, RuntimeError, ValueError) as error:
            raise ExecutionError(f"{self._no_ray()}: {one_line(error)[:300]}") from error
        # Ray would print lost workers on stdout, where results go; the outcomes say it already.
        ray._private.worker._worker_logs_enabled = False
        if self._address is None:
            _check_loopback(ray)

    def _no_ray(self) -> str:
        if self._address is None:
            return "Ray did not start"
        token = "" if "RAY_AUTH_MODE" in os.environ else " (if it asks for a token: RAY_AUTH_MODE)"
        return f"no Ray cluster answers at '{self._address}'{token}"

    def begin(self, tasks: Sequence[Task]) -> list[Hashable]:
        return [self._begin(task) for task in tasks]

    def _begin(self, task: Task) -> Hashable:
        wants = {"num_cpus": self._cpus}
        if task.accelerated:
            self._check_gpus()
            wants["num_gpus"] = self._gpus
        sent = self._send(task) if self._sends else None
        stored = self._stored(task)
        if task.files is not None and stored is not None:
            names = stored.names((*CLAIMS, *task.files.reads))
            Remote(stored.address).push(names, PATIENCE_SECONDS)
        setting = ray_worker.Setting(os.getcwd(), [self._study_file], sent, stored)
        handle: Hashable = self._call.options(**wants).remote(task, setting)
        self._under_way.add(handle)
        return handle

    def _check_gpus(self) -> None:
        """Raise SpecError if the cluster lacks the GPUs: Ray would wait for them for ever."""
        have = self._has("GPU")
        if have < self._gpus:
            raise SpecError(f"each run asks for {self._gpus:g} GPU and the cluster has {have:g}")

    def _send(self, task: Task) -> ray_worker.Sent:
        """Return what the task reads; it is put into Ray when it is new or has changed."""
        sent: ray_worker.Sent = {}
        for name, place in task.files.reads.items() if task.files else ():
            mark = stamp(place)
            if self._parcels.get(place, ("", None))[0] != mark:
                self._parcels[place] = mark, self._ray.put(pack(place, name))
            sent[name] = mark, [self._parcels[place][1]]
        return sent

    def _stored(self, task: Task) -> ray_worker.Stored | None:
        """Return where in an object store the task's files are; None if they are in none."""
        if task.files is None or self._sends:
            return None
        remote = remote_of(task.files.home)
        if remote is None:
            return None
        inside = task.files.home.relative_to(remote.path).as_posix()
        return ray_worker.Stored(remote.address, inside)

    def _bring_home(self, task: Task, parcel: Parcel) -> None:
        """Bring here what a task wrote on another machine."""
        if task.files is None:
            return
        unpack(parcel, task.files.home, task.files.writes)
        stored = self._stored(task)
        if stored is not None:
            names = stored.names(task.files.writes)
            Remote(stored.address).pull(names, patience=PATIENCE_SECONDS)

    def wait(self, handles: Sequence[Hashable]) -> Iterable[Hashable]:
        done, _ = self._ray.wait(list(handles), timeout=WAIT_SECONDS, fetch_local=False)
        return list(done)

    def outcome(self, handle: Hashable, task: Task) -> Outcome:
        self._under_way.discard(handle)
        exceptions = self._ray.exceptions
        try:
            outcome, parcel = self._ray.get(handle)
        except exceptions.RayTaskError as error:
            if isinstance(error.cause, StoreError):
                raise error.cause from error
            return Outcome(task, error=one_line(error.cause))
        except exceptions.RayError as error:
            raise WorkerLost(one_line(error)[:200]) from error
        self._bring_home(task, parcel)
        return replace(outcome, task=task)

    def __enter__(self) -> RayExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        ray, self._ray = self._ray, None
        if ray is None:
            return
        under_way, self._under_way = self._under_way, set()
        for handle in under_way:  # their results are not needed
            ray.cancel(handle, force=True)
        self._parcels.clear()
        if self._ours:
            ray.shutdown()


def _import_ray(alone: bool) -> Any:
    if alone:  # read when ray is imported
        os.environ.setdefault(LOOPBACK, "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise MissingExtraError("the executor 'ray'", "ray") from error
    return ray


def _knock(address: str | None) -> None:
    """Raise OSError if nothing listens at 'host:port': Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_SECONDS).close()


def _check_loopback(ray: Any) -> None:
    """Stop Ray if other machines could reach it, unless that was asked for."""
    if os.environ.get(LOOPBACK) == "0" and ray.util.get_node_ip_address() != "127.0.0.1":
        ray.shutdown()
        raise ExecutionError(
            f"Ray would be open to the network, as ray was imported too early: set {LOOPBACK}=0 "
            "(or 1, if that is wanted) before it is"
        )


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep our handler of SIGTERM, which Ray replaces by its own."""
    ours = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, ours)


def _study_file() -> tuple[str, dict[str, str]] | None:
    """Return the user's Python file and its neighbours: other machines may not have them."""
    path = os.environ.get(STUDY_FILE_VARIABLE)
    return (path, packed(path)) if path else None
