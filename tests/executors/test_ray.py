"""Ray: a real cluster of two nodes, one of which is killed; and a Ray started here for itself."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from light_tasks import copy_up, die_once, double, full_disk, where
from support import tiny_spec

from isoclone.base.errors import ExecutionError, SpecError, StoreError
from isoclone.executors import Files, Task, executor
from isoclone.study import pipeline
from isoclone.study.session import Observer, Session
from isoclone.study.spec import StudySpec
from isoclone.study.study import Study
from isoclone.training.recipes import recipe

# Read when ray is imported: the cluster asks everybody for this token.
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
pytest.importorskip("ray", reason="Ray is not installed: pip install 'isoclone[ray]'")
psutil = pytest.importorskip("psutil")

RAY = Path(sys.executable).parent / "ray"
CACHES = tempfile.mkdtemp(prefix="isoclone-nodes")
FIRST, SECOND = "127.0.0.2", "127.0.0.3"  # two addresses of this machine, as if two machines
LEAN = ("--num-cpus=1", "--object-store-memory=80000000", "--include-log-monitor=false", "--block")


def node(said: Path, *words: str) -> subprocess.Popen[bytes]:
    """A node of the cluster, which keeps copies of object stores of its own."""
    command = ["nice", "-n", "5", RAY, "start", *words, *LEAN]
    paths = [
        str(Path(__file__).parents[1]),
        os.environ.get("PYTHONPATH", ""),
    ]  # of light_tasks, ours
    there = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    there["ISOCLONE_CACHE"] = tempfile.mkdtemp(prefix="node", dir=CACHES)
    with open(said, "w") as out:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=there
        )


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Everything a node has started, as when the power goes."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    for one in [*family, process]:
        try:
            os.kill(one.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait(30)


@dataclass
class Cluster:
    address: str
    folder: Path
    nodes: list[subprocess.Popen[bytes]]

    def join(self) -> None:
        """Have a second node."""
        words = (f"--address={self.address}", f"--node-ip-address={SECOND}")
        self.nodes.append(node(self.folder / "second", *words))

    def lose(self) -> None:
        """Kill the second node and all its workers."""
        kill_tree(self.nodes.pop())


@pytest.fixture(scope="module")
def cluster(bucket: str) -> Iterator[Cluster]:
    """Two nodes of one CPU each, on loopback addresses, that know where the object store is."""
    with head_node() as found:
        found.join()
        try:
            yield found
        finally:
            shutil.rmtree(CACHES, ignore_errors=True)


@contextmanager
def head_node() -> Iterator[Cluster]:
    """A cluster of one node, at a port of its own choice."""
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as name:
        folder = Path(name)
        words = f"--head --port=0 --node-ip-address={FIRST} --include-dashboard=false"
        first = node(folder / "first", *words.split(), f"--temp-dir={folder}")
        found = Cluster("", folder, [first])
        try:
            wait_until(lambda: address_in(folder / "first", first))
            found.address = address_in(folder / "first", first)
            yield found
        finally:
            for one in found.nodes[::-1]:
                kill_tree(one)


def address_in(said: Path, head: subprocess.Popen[bytes]) -> str:
    """Where a head says that others can join it; '' if it has not yet."""
    text = said.read_text()
    assert head.poll() is None, text
    found = re.search(r"ray start --address='([^']+)'", text)
    return found[1] if found else ""


def wait_until(true: Callable[[], object], seconds: float = 120.0) -> None:
    """Nodes are niced: on a machine that is busy they take their time."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def ray(cluster):
    """An executor that stays connected for the whole module, once both nodes are there."""
    with executor("ray", address=cluster.address) as workers:
        wait_until(lambda: workers.workers == 2)
        yield workers


def test_each_task_has_one_outcome_and_one_whose_worker_dies_is_begun_anew(ray, tmp_path):
    tasks = [Task(double, (i,), key=i) for i in range(6)]
    tasks[2:2] = [Task(die_once, (tmp_path / "died",), key="once")]
    outcomes = {o.task.key: o for o in ray.run(tasks)}
    assert outcomes.pop("once").result == "survived"
    assert {key: o.result for key, o in outcomes.items()} == {i: 2 * i for i in range(6)}


def test_what_cannot_be_done_is_said(ray, tmp_path):
    with pytest.raises(StoreError, match="no space left"):
        list(ray.run([Task(full_disk, ())]))
    with pytest.raises(SpecError, match="asks for 1 GPU and the cluster has 0"):
        list(ray.run([Task(double, (1,), accelerated=True)]))
    missing = Files(tmp_path / "elsewhere")
    (outcome,) = ray.run([Task(where, (missing.home,), files=missing)])
    assert "elsewhere is not there on" in outcome.error
    with pytest.raises(SpecError, match="unexpected keyword argument 'colour'"):
        executor("ray", 1, colour="blue")
    with pytest.raises(SpecError, match="'shared' or 'sent'"):
        executor("ray", 1, files="lost")


def test_files_go_out_and_come_back_where_no_disk_is_shared(cluster, ray, tmp_path):
    (tmp_path / "in").write_text("abc")
    files = Files(tmp_path, {"in": tmp_path / "in"}, ("out",))
    with executor("ray", address=cluster.address, files="sent") as workers:
        for text in ("abc", "changed"):
            (tmp_path / "in").write_text(text)
            (outcome,) = workers.run([Task(copy_up, (tmp_path,), files=files)])
            assert outcome.result != str(tmp_path)  # it was done in a copy
            assert (tmp_path / "out" / "copy").read_text() == text.upper()


def test_workers_share_an_object_store(ray, bucket, monkeypatch, tmp_path):
    """Three machines, as far as files go: the driver's and the nodes' copies are three."""
    monkeypatch.setenv("ISOCLONE_CACHE", str(tmp_path / "cache"))
    fields = {"widths": (2, 3, 4), "budgets_flops": (3e6, 1e7), "samples": 1_000, "episodes": 2}
    spec = tiny_spec(**fields, extend=0, adaptive=False, forecast_flops=1.5e7)
    here = pipeline.run(Study.create(tmp_path / "here", spec))
    study = pipeline.run(Study.create(f"{bucket}/by-ray", spec), Session(ray))
    points = {p.relative_to(study.path) for p in study.path.glob("runs/*/points/*.json")}
    elsewhere = [p for p in Path(CACHES).rglob("*.json") if p.parent.name == "points"]
    assert {Path(*p.parts[-4:]) for p in elsewhere} == points
    assert len(points) == 7
    assert (study.path / "points.csv").read_bytes() == (here.path / "points.csv").read_bytes()
    assert (study.path / "video.mp4").exists()


def test_runs_that_play_and_their_clones_go_where_no_disk_is_shared(cluster, ray, tmp_path):
    """A study of reinforcement from clones, sent to the workers: the same points as here."""
    fields = {"widths": (2, 3, 4), "samples": 1_000, "episodes": 2, "extend": 0}
    clones = pipeline.run(
        Study.create(tmp_path / "clones", tiny_spec(**fields, budgets_flops=(3e6, 1e7)))
    )
    learns = recipe(
        "ppo", slots=2, rollout_steps=16, batch_size=16, epochs=1, teacher_coef=1.0,
        teacher_samples=500,
    )  # fmt: skip
    spec = StudySpec(
        name="play", game="toy", expert="nobody", policy="mlp", recipe=learns.to_json(),
        budgets_flops=(1e6, 2e6), clones=str(clones.path), forecast_episodes=4, **fields,
    )  # fmt: skip
    here = pipeline.run(Study.create(tmp_path / "here", spec))
    with executor("ray", address=cluster.address, files="sent") as workers:
        there = pipeline.run(Study.create(tmp_path / "there", spec), Session(workers))
    assert (there.path / "points.csv").read_bytes() == (here.path / "points.csv").read_bytes()


class LosesANode(Observer):
    """Kills the second node when the first points of a sweep are there."""

    def __init__(self, cluster: Cluster):
        self.cluster, self.points = cluster, 0

    def point(self, point, study="") -> None:
        self.points += 1
        if self.points == 2:
            threading.Thread(target=self.cluster.lose).start()


def test_a_node_is_killed_in_mid_sweep(cluster, ray, finished_study, tmp_path):
    path = tmp_path / "tiny"
    observer = LosesANode(cluster)
    with executor("ray", address=cluster.address, files="sent") as workers:
        pipeline.run(Study.create(path, tiny_spec()), Session(workers, observer))
    assert len(cluster.nodes) == 1
    assert observer.points == len(Study.open(finished_study).points(None))
    assert (path / "points.csv").read_bytes() == (finished_study / "points.csv").read_bytes()
    assert (path / "video.mp4").exists()


def test_a_cluster_that_does_not_answer():
    code = (
        "from isoclone.executors import executor\n"
        "try: executor('ray', 1, address='127.0.0.1:1').workers\n"
        "except Exception as e: print(type(e).__name__, e)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert said.stdout.startswith(
        f"{ExecutionError.__name__} no Ray cluster answers at '127.0.0.1:1': ConnectionRefusedError"
    )


ALONE = """
from isoclone.executors import Task, executor
with executor("ray", 1) as workers:
    (outcome,) = workers.run([Task(max, (3, 4))])
    assert outcome.result == 4, outcome
    import psutil  # comes with ray
    family = psutil.Process().children(recursive=True)
    for one in [psutil.Process(), *family]:
        for socket in one.net_connections():
            if socket.status == "LISTEN":
                print(socket.laddr.ip)
"""


def test_a_ray_started_here_listens_on_the_loopback_address_alone():
    said = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    addresses = {line.removeprefix("::ffff:") for line in said.stdout.split()}
    assert addresses == {"127.0.0.1"}


LOSES_ITS_HEAD = """
import sys
from pathlib import Path
from light_tasks import wait_for_preemption
from isoclone.executors import Task, executor, ray
ray.HEAD_SECONDS = 1.0
with executor("ray", 1, address=sys.argv[1]) as workers:
    list(workers.run([Task(wait_for_preemption, (Path(sys.argv[2]),))]))
"""


def test_a_cluster_that_loses_its_head_is_said_before_ray_ends_the_process(tmp_path):
    with head_node() as head:
        command = [sys.executable, "-c", LOSES_ITS_HEAD, head.address, str(tmp_path)]
        driver = subprocess.Popen(
            command, cwd=Path(__file__).parents[1], stderr=subprocess.PIPE, text=True
        )
        wait_until(lambda: list(tmp_path.iterdir()))
        for one in psutil.Process(head.nodes[0].pid).children(recursive=True):
            if one.name().startswith("gcs_server"):
                one.kill()
        said = driver.communicate(timeout=120)[1]
    assert driver.returncode == 1
    assert f"ExecutionError: the Ray cluster's head at {head.address} is gone" in said
