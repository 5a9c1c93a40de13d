"""Recording: who plays, how many at once and how often it is interrupted make no difference."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from isoclone.base.errors import DataError, ExecutionError, SpecError, SpecMismatchError
from isoclone.demos import FrameDemonstrations, RecordRequest, record
from isoclone.demos.episode import Episode, EpisodeInfo, read_info, write_episode
from isoclone.executors import executor
from isoclone.experts import CallableExpert
from isoclone.games import game

TOY = RecordRequest("toy", "scripted", 1_000)


def files(path: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((path / "episodes").glob("*"))}


def test_two_workers_record_what_one_does(tmp_path, toy_demos):
    with executor("processes", 2) as workers:
        two = record(TOY, tmp_path / "two", workers)
    assert two.fingerprint == toy_demos.fingerprint
    assert files(two.path) == files(toy_demos.path)
    table = "episodes.csv"
    assert (two.path / table).read_bytes() == (toy_demos.path / table).read_bytes()


def test_progress_is_told_while_an_episode_is_being_played(tmp_path, monkeypatch):
    """An episode can take minutes; a worker in another process tells how far it is."""
    monkeypatch.setattr(sys.modules["isoclone.demos.record"], "PROGRESS_SECONDS", 0.02)

    def slow(observation: np.ndarray) -> int:
        time.sleep(0.004)
        return 0

    told: list[float] = []
    request = replace(TOY, expert=CallableExpert(slow), samples=100)
    demos = record(request, tmp_path / "d", progress=lambda what, done, total: told.append(done))
    ends = np.cumsum([info.length for info in demos.episodes])
    assert set(told) - set(ends) - {100}  # somewhere between the ends of episodes
    assert told[-1] == 100
    assert not (demos.path / "playing").exists()


def test_recording_goes_on_with_what_is_there(tmp_path, toy_demos):
    path = tmp_path / "demos"
    shutil.copytree(toy_demos.path, path)
    (path / "demonstrations.json").unlink()
    shutil.rmtree(path / "cache", ignore_errors=True)
    kept = path / "episodes" / "000003.parquet"
    stamp = kept.stat().st_mtime_ns
    (path / "episodes" / "000005.parquet").unlink()
    (path / "episodes" / "000006.parquet").write_bytes(b"torn")
    with pytest.raises(DataError, match="unfinished: run the same record command again"):
        FrameDemonstrations.open(path)
    assert record(TOY, path).fingerprint == toy_demos.fingerprint
    assert kept.stat().st_mtime_ns == stamp
    assert files(path) == files(toy_demos.path)


def test_episodes_beyond_the_last_one_needed_are_not_kept(tmp_path, toy_demos):
    """A killed recording may have played further than this one has to."""
    path = tmp_path / "demos"
    shutil.copytree(toy_demos.path, path)
    (path / "demonstrations.json").unlink()
    for beyond in (40, 41):
        shutil.copy(
            path / "episodes" / "000000.parquet", path / "episodes" / f"0000{beyond}.parquet"
        )
    record(TOY, path)
    assert files(path) == files(toy_demos.path)


def test_killed_and_started_again_records_the_same(tmp_path):
    """kill -9 of the whole group at several moments, then the same command."""
    words = ["demos", "record", "toy", "--samples", "30000", "--workers", "2", "--json", "--out"]
    command = [sys.executable, "-m", "isoclone", *words]
    whole = json.loads(subprocess.check_output([*command, str(tmp_path / "whole")]))
    path = tmp_path / "killed"
    for seconds in (0.05, 0.4):
        process = subprocess.Popen(
            [*command, str(path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 60
        while not list(path.glob("episodes/*.parquet")) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    resumed = json.loads(subprocess.check_output([*command, str(path)]))
    assert resumed["fingerprint"] == whole["fingerprint"]
    assert resumed["episodes"] == whole["episodes"]
    assert not list(path.rglob(".*.tmp"))


def test_a_kill_before_the_request_is_written_leaves_a_directory_that_can_be_used(tmp_path):
    (tmp_path / ".request.json.999999.tmp").write_bytes(b"{")
    assert record(TOY, tmp_path).samples >= 1_000


def test_ends_are_told_apart(tmp_path):
    ends = {info.end for info in record(replace(TOY, samples=200), tmp_path / "a").episodes}
    assert ends == {"terminated"}
    cut = replace(TOY, samples=200, game_options={"max_steps": 50})
    demos = record(cut, tmp_path / "b")
    assert {(info.end, info.length) for info in demos.episodes} == {("truncated", 50)}


def test_the_episode_table_is_for_people_and_agrees_with_the_files(breakout_demos):
    rows = pq.read_table(breakout_demos.path / "episodes.parquet").to_pylist()
    assert [row["index"] for row in rows] == list(range(len(breakout_demos.episodes)))
    assert len({row["seed"] for row in rows}) == len(rows)
    for row in rows:
        episode = breakout_demos.read(row["index"])
        assert len(episode.frames) == len(episode.actions) == row["length"]
        assert episode.rewards.sum() == row["episode_return"]
        assert episode.content_sha256() == row["content_sha256"]
        assert row["end"] in ("terminated", "truncated")
        assert row["split"] in ("train", "dev")
    assert {row["split"] for row in rows} == {"train", "dev"}


def test_a_recorded_episode_replays_from_its_seed(breakout_demos):
    """The intended action is recorded; sticking is the game's part, drawn from the seed."""
    info = breakout_demos.episodes[1]
    episode = breakout_demos.read(1)
    env = breakout_demos.game().make_env()
    frames, rewards = [env.reset(info.seed)], []
    for action in episode.actions:
        frame, reward, *_ = env.step(int(action))
        frames.append(frame)
        rewards.append(reward)
    assert (np.stack(frames[:-1]) == episode.frames).all()
    assert (np.array(rewards) == episode.rewards).all()


def test_the_intended_action_is_recorded_under_sticky_actions(tmp_path):
    """An expert that alternates is recorded as alternating, whatever the console did."""
    asked = []

    def alternate(observation):
        asked.append(2 + len(asked) % 2)
        return asked[-1]

    request = RecordRequest(
        "atari/Breakout", CallableExpert(alternate), 100, game_options={"max_steps": 60}
    )
    demos = record(request, tmp_path / "demos")
    recorded = np.concatenate([episode.actions for episode in demos])
    assert recorded.tolist() == asked
    assert len(asked) == 120


def test_an_expert_sees_the_stack_that_is_recorded(tmp_path):
    seen = []

    def watch(observation):
        seen.append(observation.copy())
        return 1

    request = RecordRequest("toy", CallableExpert(watch), 150)
    demos = record(request, tmp_path / "demos")
    at = 0
    for episode in demos:
        for t in range(len(episode.frames)):
            assert (seen[at][1] == episode.frames[t]).all()
            assert (seen[at][0] == episode.frames[max(t - 1, 0)]).all()
            at += 1
    assert at == len(seen)


def test_another_request_is_refused_with_the_difference(toy_demos):
    with pytest.raises(SpecMismatchError, match="samples: 1000 there, 2000 asked"):
        record(replace(TOY, samples=2_000), toy_demos.path)


def test_a_foreign_directory_is_refused(tmp_path):
    (tmp_path / "letters.txt").write_text("dear diary")
    with pytest.raises(SpecError, match="holds no demonstrations"):
        record(TOY, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["letters.txt"]


def test_what_cannot_be_recorded_is_refused(tmp_path):
    for wrong, name in (({"samples": 0}, "samples"), ({"dev_fraction": 0.9}, "dev_fraction")):
        with pytest.raises(SpecError, match=name):
            record(replace(TOY, **wrong), tmp_path / "demos")
    assert not (tmp_path / "demos").exists()


def test_a_failing_expert_is_reported_in_one_line(tmp_path):
    def broken(observation):
        raise RuntimeError("I forgot\nhow to play")

    with pytest.raises(ExecutionError, match=r"recording toy failed: .*I forgot how to play"):
        record(RecordRequest("toy", CallableExpert(broken), 100), tmp_path / "demos")


def test_one_long_episode_cannot_be_split(tmp_path):
    with pytest.raises(DataError, match="record more samples"):
        record(replace(TOY, samples=10), tmp_path / "demos")


def test_a_finished_recording_is_not_played_again(tmp_path, toy_demos):
    def must_not_play(*_):
        raise AssertionError

    before = files(toy_demos.path)
    record(TOY, toy_demos.path, progress=must_not_play)
    assert files(toy_demos.path) == before
    assert game("toy").name == toy_demos.game().name


def test_an_episode_survives_its_file(tmp_path):
    rng = np.random.default_rng(0)
    frames = rng.standard_normal((7, 4)).astype(np.float32)
    episode = Episode(frames, np.arange(7, dtype=np.int16), np.ones(7, np.float32))
    info = EpisodeInfo(3, 11, 7, 7.0, "truncated", episode.content_sha256())
    write_episode(tmp_path / "e.parquet", episode, info)
    assert read_info(tmp_path / "e.parquet") == info
