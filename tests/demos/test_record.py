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
from isoclone.games import GAMES, FrameSpec, game
from isoclone.study.facts import gather
from isoclone.study.pipeline import train_size
from isoclone.study.study import Study

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
    said = "unfinished: run the same record, import or mix command again"
    with pytest.raises(DataError, match=said):
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
    with pytest.raises(SpecMismatchError, match="seed: 0 there, 5 asked"):
        record(replace(TOY, seed=5), toy_demos.path)


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


def test_a_second_episode_is_played_so_that_one_can_be_held_out(tmp_path):
    demos = record(replace(TOY, samples=10), tmp_path / "demos")
    assert (len(demos.episodes), len(demos.dev_episodes)) == (2, 1)


def test_more_samples_go_on_and_fewer_are_answered_by_what_is_there(tmp_path, toy_demos):
    """What was asked for in two goes is what one go would have given."""
    path = tmp_path / "demos"
    few = record(replace(TOY, samples=50), path)
    first = few.episode_path(0).stat().st_mtime_ns
    more = record(TOY, path)
    assert more.fingerprint == toy_demos.fingerprint != few.fingerprint
    assert files(path) == files(toy_demos.path)
    assert more.episode_path(0).stat().st_mtime_ns == first
    assert record(replace(TOY, samples=200), path).fingerprint == more.fingerprint
    by_number = record(replace(TOY, samples=1, episodes=len(more.episodes) + 3), path)
    assert len(by_number.episodes) == len(more.episodes) + 3


def test_more_samples_that_were_interrupted_leave_what_was_there_usable(tmp_path):
    path = tmp_path / "demos"
    few = record(replace(TOY, samples=50), path)

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(replace(TOY, samples=5_000), path, progress=stop)
    assert FrameDemonstrations.open(path).fingerprint == few.fingerprint
    assert record(TOY, path).samples >= 1_000


def test_a_stopped_recording_is_finished_by_asking_for_less(tmp_path, toy_demos):
    """All whole episodes up to the first gap are kept, and later more can be had again."""
    path = tmp_path / "demos"
    shutil.copytree(toy_demos.path, path)
    (path / "demonstrations.json").unlink()
    assert record(replace(TOY, samples=50), path).fingerprint == toy_demos.fingerprint
    (path / "demonstrations.json").unlink()
    last = len(toy_demos.episodes) - 1
    (path / "episodes" / f"{last - 1:06d}.parquet").unlink()
    fewer = record(replace(TOY, samples=50), path)
    assert [e.index for e in fewer.episodes] == list(range(last - 1))
    assert record(TOY, path).fingerprint == toy_demos.fingerprint


def test_more_than_a_stopped_recording_has_is_refused(tmp_path, toy_demos):
    path = tmp_path / "demos"
    shutil.copytree(toy_demos.path, path)
    for gone in ("demonstrations.json", "episodes/000002.parquet"):
        (path / gone).unlink()
    there = sum(info.length for info in toy_demos.episodes[:2])
    told = rf"of more \(samples 1000\), so far {there} samples in 2 whole episodes"
    with pytest.raises(SpecMismatchError, match=told):
        record(replace(TOY, samples=there + 1), path)
    assert json.loads((path / "request.json").read_text())["samples"] == 1_000


# ---------------------------------------------------------------------- copies of an episode


class Again:
    """A game of 5 steps whose episodes differ in `kinds` ways only."""

    name, n_actions, max_steps, frame = "again", 2, 5, FrameSpec((2,), "float32", 1)
    random_score = expert_score = None

    def __init__(self, kinds: int):
        self.kinds = kinds

    def options(self) -> dict[str, int]:
        return {"kinds": self.kinds}

    def make_env(self) -> Again:
        return Again(self.kinds)

    def reset(self, seed: int) -> np.ndarray:
        self.kind, self.steps = seed % self.kinds, 0
        return np.float32([self.kind, 0])

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool]:
        self.steps += 1
        return np.float32([self.kind, self.steps]), 1.0, self.steps == 5, False


@pytest.fixture
def again():
    GAMES.add("again", Again)
    yield lambda kinds: {"game": "again", "game_options": {"kinds": kinds}}
    GAMES.remove("again")


def one(observation: np.ndarray) -> int:
    return 1


def test_copies_are_counted_said_and_never_on_both_sides(tmp_path, again):
    request = RecordRequest(expert=CallableExpert(one), samples=200, **again(3))
    demos = record(request, tmp_path / "demos")
    sides = [{i.content_sha256 for i in demos.in_split(s)} for s in ("train", "dev")]
    assert demos.copies == 37
    assert not sides[0] & sides[1]
    assert all(sides)
    told = demos.summary()
    assert told["copies"] == 37
    assert told["unique_train_samples"] == 5 * len(sides[0])
    assert any("37 of 40 episodes are copies of others" in line for line in demos.lines())


def test_a_point_counts_a_copied_sample_once(tmp_path, again):
    demos = record(
        RecordRequest(expert=CallableExpert(one), samples=200, **again(3)), tmp_path / "demos"
    )
    study = Study.create(
        tmp_path / "study",
        demos=demos,
        policy="mlp",
        widths=[1, 2, 4],
        budgets_flops=[1e5, 2e5],
        episodes=1,
    )
    point = train_size(study, 2, 1e5)
    unique = demos.unique_samples_in("train")
    assert (point.unique_samples, point.epochs) == (unique, round(point.samples / unique, 4))
    assert gather(study).demos.copies == 37


def test_only_copies_end_a_recording_early_and_say_so(tmp_path, again):
    request = RecordRequest(expert=CallableExpert(one), samples=100_000, **again(1))
    demos = record(request, tmp_path / "demos")
    assert (len(demos.episodes), len(demos.dev_episodes)) == (16, 0)
    assert demos.unique_samples_in("train") == 5
    assert "nothing can be held out" in "".join(demos.lines())
    assert record(request, tmp_path / "demos").fingerprint == demos.fingerprint
    with pytest.raises(DataError, match="all 16 episodes are copies of one"):
        Study.create(
            tmp_path / "study",
            demos=demos,
            widths=[1, 2, 4],
            policy="mlp",
            budgets_flops=[1e5, 2e5],
        ).plan()


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
