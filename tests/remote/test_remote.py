"""Studies in an object store: a real S3 client and a server on this machine."""

from __future__ import annotations

import io
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from itertools import count
from pathlib import Path

import pytest
from storage import client, serving
from support import tiny_spec

from isoclone.base import store
from isoclone.base.errors import DataError, SpecError, SpecMismatchError, StoreError
from isoclone.base.store import read_json, write_json
from isoclone.cli import main
from isoclone.demos import open_demos
from isoclone.remote import Remote, address_of, lease, local, objects, remote_of
from isoclone.study import pipeline
from isoclone.study.driving import driven
from isoclone.study.examine import examine
from isoclone.study.repair import repair
from isoclone.study.session import Observer, Session
from isoclone.study.study import Study

NUMBERS = count()


@pytest.fixture
def place(bucket: str, monkeypatch, tmp_path) -> str:
    """An address nobody has used, and a cache of copies of its own."""
    on_machine(monkeypatch, tmp_path / "here")
    return f"{bucket}/some/place-{next(NUMBERS)}"


def on_machine(monkeypatch, cache: Path) -> None:
    """As if on another machine: with other copies."""
    monkeypatch.setenv("ISOCLONE_CACHE", str(cache))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def names_at(address: str) -> set[str]:
    return set(Remote(address)._there(None))


def drivers_at(address: str) -> list[str]:
    return Remote(address)._objects.inside(lease.DRIVERS)


def test_what_is_an_address():
    assert address_of("s3://bucket/a/") == address_of(Path("s3://bucket/a")) == "s3://bucket/a"
    assert address_of("gs://bucket/a?x=y") == "gs://bucket/a?x=y"
    assert address_of("s3/bucket") is address_of(Path("/tmp/s3:x")) is None
    assert local("runs/x") == Path("runs/x")


def test_there_and_back(place, monkeypatch, tmp_path):
    here = Remote(place)
    for name in ("a", "deep/b", "cache/c", ".hidden", "deep/.b.1.tmp"):
        write(here.path / name, name)
    here.push()
    assert names_at(place) == {"a", "deep/b"}
    on_machine(monkeypatch, tmp_path / "there")
    other = local(place)
    assert other != here.path
    assert (other / "deep/b").read_text() == "deep/b"
    write(other / "deep/b", "changed")
    (other / "a").unlink()
    Remote(place).push()
    here.pull()
    assert not (here.path / "a").exists()
    assert (here.path / "deep/b").read_text() == "changed"
    assert (here.path / "cache/c").exists()


def test_what_changed_here_alone_stays_and_what_changed_on_both_sides_is_theirs(place):
    here = Remote(place)
    for name in ("mine", "both", "gone"):
        write(here.path / name, "old")
    here.push()
    for name in ("both", "gone"):
        here._objects.write(name, io.BytesIO(b"theirs, longer"))
    here._objects.delete("gone")
    write(here.path / "mine", "mine, newer")
    write(here.path / "both", "mine, newer")
    write(here.path / "new", "new")
    here.pull()
    there = {path.name: path.read_text() for path in here.path.iterdir()}
    assert there == {"mine": "mine, newer", "both": "theirs, longer", "new": "new"}


def test_only_what_changed_is_sent(place, monkeypatch):
    here, sent = Remote(place), []
    upload, download = Remote._upload, Remote._download
    monkeypatch.setattr(Remote, "_upload", lambda self, n: (sent.append(n), upload(self, n)))
    monkeypatch.setattr(Remote, "_download", lambda self, n: (sent.append(n), download(self, n)))
    write(here.path / "a", "1")
    write(here.path / "b", "1")
    here.push()
    write(here.path / "b", "22")
    here.push()
    Remote(place).push()
    here.pull()
    here.pull(["a", "b.json"])
    assert sorted(sent[:2]) == ["a", "b"]
    assert sent[2:] == ["b"]


def test_a_point_is_pushed_after_its_checkpoint_whenever_the_power_goes(place, monkeypatch):
    """Whichever upload is the last one, the store holds no point without its checkpoint."""
    upload, written = (
        Remote._upload,
        ("runs/1/points/p.json", "runs/1/checkpoints/p", "forecast.json", "study.json"),
    )
    for allowed in range(5):
        here, left = Remote(f"{place}-{allowed}"), iter(range(allowed))
        for name in written:
            write(here.path / name, name)

        def until_the_power_goes(self, name, left=left):
            next(left)
            upload(self, name)

        monkeypatch.setattr(Remote, "_upload", until_the_power_goes)
        monkeypatch.setattr(objects, "CHANNELS", 1)
        if allowed < 4:
            with pytest.raises(RuntimeError, match="StopIteration"):
                here.push()
        else:
            here.push()
        there = names_at(here.address)
        assert there == {written[i] for i in (3, 1, 0, 2)[:allowed]}


def test_demonstrations_are_complete_here_only_when_all_is_here(place, monkeypatch, tmp_path):
    """Whichever download is the last one."""
    marked = ("demos/demonstrations.json", "demos/episodes/1", "demos/zz")
    here, download = Remote(place), Remote._download
    for name in marked:
        write(here.path / name, name)
    here.push()
    monkeypatch.setattr(objects, "CHANNELS", 1)
    for allowed in range(3):
        on_machine(monkeypatch, tmp_path / str(allowed))
        there, left = Remote(place), iter(range(allowed))

        def until_the_power_goes(self, name, left=left):
            next(left)
            return download(self, name)

        monkeypatch.setattr(Remote, "_download", until_the_power_goes)
        with pytest.raises(RuntimeError, match="StopIteration"):
            there.pull()
        assert not (there.path / marked[0]).exists()
        monkeypatch.setattr(Remote, "_download", download)
        there.pull()
        assert all((there.path / name).exists() for name in marked)


def test_what_a_point_speaks_of_is_never_deleted_there(place):
    """A cleaner of old files may take it away here; a point that goes, goes first."""
    here = Remote(place)
    names = ("runs/1/points/p.json", "runs/1/checkpoints/p.safetensors", "demos/1", "old")
    for name in (*names, "demos/demonstrations.json"):
        write(here.path / name, name)
    here.push()
    for name in names[1:]:
        (here.path / name).unlink()
    here.push()
    assert names_at(place) == {*names[:3], "demos/demonstrations.json"}
    here.pull()
    (here.path / names[0]).unlink()
    here.push()
    assert names_at(place) == {*names[1:3], "demos/demonstrations.json"}


def test_bytes_stay_what_they_are(place, monkeypatch, tmp_path):
    """Arrow packs and unpacks files that are called so, unless told not to."""
    here, data = Remote(place), {f"games/x.{end}": end.encode() * 9 for end in ("bz2", "gz", "zst")}
    for name, text in data.items():
        write(here.path / name, text.decode())
    here.push()
    assert {n: size for n, (size, _) in here._there(None).items()} == {
        name: len(text) for name, text in data.items()
    }
    on_machine(monkeypatch, tmp_path / "there")
    there = local(place)
    assert {name: (there / name).read_bytes() for name in data} == data


class Stops(Observer):
    """Ends the driver, as Ctrl-C would, when so many points are there."""

    def __init__(self, points: int):
        self.left = points

    def point(self, point, study="") -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_a_study_goes_on_on_another_machine(place, finished_study, monkeypatch, tmp_path):
    study = Study.create(place, tiny_spec())
    assert study.place == place
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(study, Session(observer=Stops(4)))
    assert len(study.points()) == 4
    on_machine(monkeypatch, tmp_path / "there")
    other = Study.open(place)
    assert len(other.points()) == 4
    assert not (other.path / "demos").exists()  # heavy, and not needed to look
    kept = {path: path.stat().st_mtime_ns for path in other.path.rglob("points/*.json")}
    pipeline.run(other)
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())
    wanted = (finished_study / "points.csv").read_bytes()
    assert (other.path / "points.csv").read_bytes() == wanted
    on_machine(monkeypatch, tmp_path / "third")
    assert (Study.open(place).path / "points.csv").read_bytes() == wanted
    assert {"report.html", "video.mp4", "study.json", "laws.json"} <= names_at(place)
    assert not any(name.startswith(".") or "cache" in name for name in names_at(place))


def test_what_is_torn_in_the_store_is_made_again_there(
    place, finished_study, monkeypatch, tmp_path
):
    remote = Remote(place)
    shutil.copytree(finished_study, remote.path)
    remote.push()
    torn = ("references.json", "video.mp4", "runs/*/points/*.json", "runs/*/seconds/*.json")
    names = [sorted(remote.path.glob(n))[0].relative_to(remote.path).as_posix() for n in torn]
    for name in names:
        client().put_object(Bucket=place.split("/")[2], Key=f"{key_of(place)}/{name}", Body=b"")
    on_machine(monkeypatch, tmp_path / "there")
    study = Study.open(place)
    assert {harm.path for harm in examine(study.path)} == {study.path / name for name in names}
    assert [one.made for one in repair(study) if one.harm.path.parent.name != "seconds"] == [
        True
    ] * 3
    on_machine(monkeypatch, tmp_path / "elsewhere")
    other = Study.open(place).path
    assert examine(other) == []
    for name in names[:3]:
        assert (other / name).read_bytes() == (finished_study / name).read_bytes()


def key_of(place: str) -> str:
    return "/".join(place.split("/")[3:])


def test_every_verb_takes_an_address(place, finished_study, capsys):
    shutil.copytree(finished_study, Remote(place).path)
    Remote(place).push()
    agent = Study.open(finished_study).points("forecast")[0].checkpoint
    for words in (
        ["status", place],
        ["report", place],
        ["demos", "show", f"{place}/demos"],
        ["demos", "show", place],
        ["evaluate", place, "--episodes", "2", "--demos", f"{place}/demos"],
        ["evaluate", f"{place}/{agent}", "--episodes", "2", "--demos", place],
        ["plan", "toy", "--demos", place],
        ["run", place, "--executor", "serial"],
        ["doctor", place],
    ):
        assert main(words) == 0, words
    assert f"{place}/report.html" in capsys.readouterr().out


def test_demonstrations_in_an_object_store(place, finished_study, tmp_path, monkeypatch):
    demos = Remote(f"{place}/demos")
    shutil.copytree(finished_study / "demos", demos.path)
    demos.push()
    on_machine(monkeypatch, tmp_path / "there")
    study = Study.create(tmp_path / "study", tiny_spec(demos=demos.address))
    assert study.demos().fingerprint == open_demos(finished_study / "demos").fingerprint
    pipeline.train_size(study, 4, 3e6)
    assert {run.id for run in study.runs()} < {run.id for run in Study.open(finished_study).runs()}


# ---------------------------------------------------------------------- drivers


def test_a_second_driver_is_refused_wherever_it_is(place, monkeypatch, tmp_path):
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.2)
    first = Study.create(place, tiny_spec())
    with driven(first):
        on_machine(monkeypatch, tmp_path / "there")
        with pytest.raises(StoreError, match=r"another isoclone process .* at work on s3://"):
            pipeline.run(Study.create(place, tiny_spec()))
    with driven(Study.open(place)):
        pass


DRIVER = """
import os, signal, sys
from isoclone.remote import Remote
with Remote(sys.argv[1]).driven():
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_driver_that_was_killed_here_is_seen_off_at_once(place, monkeypatch):
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 1e9)
    subprocess.run([sys.executable, "-c", DRIVER, place])
    there = Remote(place)
    assert len(drivers_at(place)) == 1
    with there.driven():
        assert len(drivers_at(place)) == 1
    assert drivers_at(place) == []


@pytest.mark.parametrize(
    "said", [b'{"host": "HOST", "pid": 999999, "beat": 7}', b"torn", b'{"lock": null}']
)
def test_one_that_keeps_silent_elsewhere_is_seen_off_after_a_while(place, said, monkeypatch):
    """Though it be called like this machine, where no such process is: names are not unique.

    And though both be on machines that have no names for locks.
    """
    if b"null" in said:
        monkeypatch.setattr(store, "_name_of", lambda lock: None)
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 1.0)
    there, waits = Remote(place), []
    said = said.replace(b"HOST", socket.gethostname().encode())
    there._objects.write(".drivers/other.json", io.BytesIO(said))
    begun = time.monotonic()
    with there.driven(waits.append):
        assert len(drivers_at(place)) == 1
    assert time.monotonic() - begun >= 1.0
    assert [wait.startswith("for a sign of life of process") for wait in waits] == [True]
    assert drivers_at(place) == []


@pytest.mark.parametrize("how", [signal.default_int_handler, signal.SIG_IGN])
def test_a_driver_that_was_taken_for_dead_stops_and_pushes_nothing(place, how, monkeypatch):
    """As after a suspension: it is interrupted, whatever it waits for, and told.

    Also where a script has put it into the background, and Ctrl-C means nothing to it.
    """
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.2)
    there = Remote(place)

    def goes_on() -> None:
        with there.driven(), there.kept():
            write(there.path / "late", "late")
            (ours,) = drivers_at(place)
            buried = json.dumps({"buried": [ours], "beat": 1}).encode()
            there._objects.write(".drivers/other.json", io.BytesIO(buried))
            there._objects.delete(ours)  # and perhaps just now it is written anew
            time.sleep(60)

    begun, before = time.monotonic(), signal.signal(signal.SIGINT, how)
    try:
        with pytest.raises(StoreError, match="was taken over by another"):
            goes_on()
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - begun < 30
    assert names_at(place) == set()


def test_a_server_for_tests_that_does_not_start_is_a_failure():
    with pytest.raises(AssertionError, match="not today"), serving("-c", "exit('not today')"):
        pass


def test_one_called_dead_just_when_it_wrote_its_sign_knows_it_too(place, monkeypatch, tmp_path):
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 0.5)
    first = Remote(place)
    write(first.path / "late", "late")

    def goes_on() -> None:
        with first.driven():
            on_machine(monkeypatch, tmp_path / "there")
            with Remote(place).driven():
                first._lease._show()
                assert len(drivers_at(place)) == 2
                first.push()

    with pytest.raises(StoreError, match="was taken over by another"):
        goes_on()
    assert names_at(place) == set()


# ---------------------------------------------------------------------- what goes wrong


def test_what_cannot_be_is_one_line(place, bucket, monkeypatch, capsys):
    for address, said in (
        ("s3://only-a-bucket", "must name a folder of the bucket"),
        ("s3://key:secret@bucket/study", "must not hold credentials"),
        ("s3://bucket/study?nonsense=1", "cannot be used"),
    ):
        with pytest.raises(SpecError, match=said):
            Study.open(address)
    with pytest.raises(SpecError, match=f"^{place} holds no study"):
        Study.open(place)
    with pytest.raises(DataError):
        open_demos(place)
    assert main(["run", "toy", "--out", "s3://no-such-bucket/study"]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert "s3://no-such-bucket/study" in told
    assert "NO_SUCH_BUCKET" in told


def test_a_store_that_was_emptied_empties_no_copy(place):
    """Also for a driver, who finds its own sign there; how to start afresh is said."""
    here = Remote(place)
    write(here.path / "a", "a")
    write(here.path / "deep/b", "b")
    here.push()
    for name in names_at(place):
        here._objects.delete(name)
    said = rf"^{place} lacks 2 of the 2 files that were there.*delete {here.path.parent}$"
    with here.driven(), pytest.raises(StoreError, match=said):
        here.pull()
    with pytest.raises(StoreError, match=said):
        local(place, but=["deep"])
    assert (here.path / "a").read_text() == "a"
    assert (here.path / "deep/b").read_text() == "b"
    here._objects.write("deep/b", io.BytesIO(b"b"))  # one that is there: it was not emptied
    here.pull()
    assert not (here.path / "a").exists()
    here._objects.delete("deep/b")
    shutil.rmtree(here.path.parent)
    assert not any(local(place).iterdir())


def test_a_study_that_lost_its_specification_there_loses_no_more_here(place):
    """As when a bucket was emptied and a driver pushed what has changed since."""
    here = Remote(place)
    for name in ("study.json", "runs/1/points/p.json"):
        write(here.path / name, "{}")
    here.push()
    for name in names_at(place):
        here._objects.delete(name)
    write(here.path / "points.csv", "new")
    here.push()
    with pytest.raises(StoreError, match="lacks 2 of the 3 files that were there"):
        here.pull()
    assert (here.path / "runs/1/points/p.json").exists()


def test_an_upload_that_fails_is_no_upload(place, monkeypatch):
    here = Remote(place)
    write(here.path / "a", "a")
    here._objects._root = "no-such-bucket/place"
    with pytest.raises(StoreError, match=r"s3://.*run the same command again"):
        here.push()
    here = Remote(place)
    here.push()
    assert names_at(place) == {"a"}


def test_a_file_that_cannot_be_read_here_is_not_laid_to_the_store(place, monkeypatch):
    here = Remote(place)
    write(here.path / "a", "a")

    def deny(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr("isoclone.remote.copy.open", deny, raising=False)
        patched.setattr(here, "_equal", lambda: nullcontext({}))
        with pytest.raises(StoreError, match="/a cannot be read: Permission denied"):
            here.push(patience=60)  # the store is not asked again
    here.push()
    assert names_at(place) == {"a"}


@pytest.mark.parametrize("odd", ["../x", "a//x", "a/./x", "line\u2028", "tab\t", "a/b"])
def test_names_that_cannot_be_files_here_are_refused(place, odd, tmp_path, monkeypatch):
    bucket, _, prefix = place.partition("://")[2].partition("/")
    for name in ("a", odd):  # Arrow itself writes no such names
        client().put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=b"x")
    with pytest.raises(StoreError, match="delete it there") as refusal:
        Remote(place).pull()
    assert str(refusal.value).isprintable()
    with pytest.raises(StoreError, match="has no valid file name"):  # moto has none of these
        Remote(place)._objects._refuse_odd("new\nline", ())
    assert not list(tmp_path.rglob("x"))
    client().delete_object(Bucket=bucket, Key=f"{prefix}/{odd}")
    here = Remote(place)
    here.pull()
    assert (here.path / "a").exists()


def test_links_in_the_copy_are_neither_followed_nor_sent(place, tmp_path):
    here = Remote(place)
    write(tmp_path / "outside/private", "private")
    write(here.path / "a", "a")
    (here.path / "link").symlink_to(tmp_path / "outside/private")
    (here.path / "folder").symlink_to(tmp_path / "outside")
    here.push()
    assert names_at(place) == {"a"}
    here._objects.write("folder/new", io.BytesIO(b"new"))
    with pytest.raises(StoreError, match="behind a link that leaves the copy"):
        here.pull()
    assert sorted(p.name for p in (tmp_path / "outside").iterdir()) == ["private"]


SECRETS = ("s3://Zq1:Xw/Vj8@b/x", "s3://Zq1:Vj8@b/x", "s3://Zq1@b/x", "gs://b/x?Token=Vj8")


@pytest.mark.parametrize("address", [*SECRETS, "s3://b/x?access_key=Zq1&secret_key=Vj8"])
def test_credentials_in_an_address_are_refused_and_not_repeated(
    address, tmp_path, monkeypatch, capsys
):
    on_machine(monkeypatch, tmp_path / "here")
    for words in (
        ["run", "toy", "--out", address],
        ["status", address],
        ["demos", "show", address],
    ):
        assert main(words) == 2
        told = capsys.readouterr().err
        assert "must not hold credentials" in told
        assert not any(part in told for part in ("Zq1", "Xw", "Vj8"))
    assert not list(tmp_path.rglob("*"))


def test_an_upload_is_asked_again_while_the_store_is_away(place, monkeypatch):
    monkeypatch.setattr(objects, "AGAIN_SECONDS", 0.1)
    here, failures = Remote(place), iter([OSError("away"), OSError("away")])
    upload = Remote._upload

    def fails_twice(self, name):
        for failure in failures:
            raise failure
        upload(self, name)

    monkeypatch.setattr(Remote, "_upload", fails_twice)
    with here.kept():
        write(here.path / "a", "a")
    assert names_at(place) == {"a"}


def test_another_study_begun_there_meanwhile_is_refused(place, monkeypatch, tmp_path):
    ours = Study.create(place, tiny_spec())
    on_machine(monkeypatch, tmp_path / "there")
    theirs = Study.create(place, tiny_spec(samples=5_000))
    with driven(theirs):
        pass
    on_machine(monkeypatch, tmp_path / "here")
    with pytest.raises(SpecMismatchError, match="samples"):
        pipeline.run(ours)


def test_a_server_that_does_not_answer(place, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StoreError, match=r"s3://.*run the same command again"):
        Study.open(place)


def test_a_damaged_note_is_said(place):
    here = Remote(place)
    write(here.path / "a", "a")
    here.push()
    write_json(here._home / "remote.json", [1])
    with pytest.raises(StoreError, match=r"remote.json is damaged; delete it"):
        here.pull()
    (here._home / "remote.json").unlink()
    here.pull()
    assert read_json(here._home / "remote.json")["equal"].keys() == {"a"}
    found = remote_of(here.path)
    assert found is not None
    assert found.address == place
    assert remote_of(Path("/tmp")) is None
