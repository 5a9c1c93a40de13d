"""Opening demonstrations: what is damaged, edited or too new is found and named."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time

import numpy as np
import pytest

from isoclone.base.errors import DataError
from isoclone.base.store import read_json, sha256_file, write_json
from isoclone.cli import main
from isoclone.demos import FrameDemonstrations, RecordRequest, record
from isoclone.demos.demonstrations import choose_dev, table_digest
from isoclone.demos.episode import EpisodeInfo, read_info, write_episode


@pytest.fixture
def demos(toy_demos, tmp_path):
    shutil.copytree(toy_demos.path, tmp_path / "demos")
    return FrameDemonstrations.open(tmp_path / "demos")


def rewrite(demos, **changes):
    path = demos.path / "demonstrations.json"
    write_json(path, {**read_json(path), **changes})


def test_their_repr_is_one_short_line(toy_demos):
    said = repr(toy_demos)
    assert said.startswith("FrameDemonstrations(scripted in toy: ")
    assert toy_demos.fingerprint in said
    assert len(said) < 250


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match="no demonstrations"):
        FrameDemonstrations.open(tmp_path / "nowhere")


@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_a_damaged_episode_is_named(demos, damage):
    path = demos.episode_path(2)
    data = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    with pytest.raises(DataError, match=r"000002\.parquet"):
        FrameDemonstrations.open(demos.path)


@pytest.mark.parametrize("field", ["dev_episodes", "length", "episode_return", "game", "files"])
def test_an_edited_table_is_found(demos, field):
    data = read_json(demos.path / "demonstrations.json")
    if field == "dev_episodes":
        data[field] = [(i + 1) % len(demos.episodes) for i in data[field]]
    elif field == "game":
        data[field] = "atari/Pong"
    elif field == "files":
        data["file_sha256"].pop()
    else:
        data["episodes"][1][field] += 1
    rewrite(demos, **data)
    with pytest.raises(DataError, match=r"demonstrations\.json"):
        FrameDemonstrations.open(demos.path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}'])
def test_a_damaged_table_is_named(demos, text):
    (demos.path / "demonstrations.json").write_text(text)
    with pytest.raises(DataError, match=r"demonstrations\.json"):
        FrameDemonstrations.open(demos.path)


def test_a_newer_format_asks_for_an_update(demos):
    rewrite(demos, format=99)
    with pytest.raises(DataError, match="update isoclone"):
        FrameDemonstrations.open(demos.path)


def test_a_damaged_episode_that_was_not_verified_fails_when_it_is_read(demos):
    path = demos.episode_path(0)
    path.write_bytes(path.read_bytes()[:-100])
    unverified = FrameDemonstrations.open(demos.path, verify=False)
    with pytest.raises(DataError, match=r"000000\.parquet"):
        unverified.read(0)


def rows(count):
    return tuple(EpisodeInfo(i, i, 5, 0.0, "terminated", f"{i:064d}") for i in range(count))


@pytest.mark.parametrize(
    ("episodes", "fraction", "held_out"), [(2, 0.1, 1), (4, 0.1, 2), (100, 0.1, 10), (10, 0.5, 5)]
)
def test_at_least_two_episodes_are_held_out_where_that_leaves_half(episodes, fraction, held_out):
    assert len(choose_dev(rows(episodes), fraction)) == held_out


def test_the_split_does_not_depend_on_the_order_or_on_chance():
    chosen = choose_dev(rows(50), 0.2)
    assert choose_dev(rows(50)[::-1], 0.2) == chosen
    assert chosen != list(range(10))


def test_another_split_of_the_same_episodes_is_other_demonstrations(tmp_path, toy_demos):
    """Runs are known by the fingerprint: training on other rows must not look the same."""
    other = record(RecordRequest("toy", "scripted", 1_000, dev_fraction=0.4), tmp_path / "demos")
    assert [i.content_sha256 for i in other.episodes] == [
        i.content_sha256 for i in toy_demos.episodes
    ]
    assert other.fingerprint != toy_demos.fingerprint


def test_samples_and_score_add_up(toy_demos):
    assert toy_demos.samples == toy_demos.samples_in("train") + toy_demos.samples_in("dev")
    assert toy_demos.samples >= 1_000
    mean, se = toy_demos.score()
    assert 0 < mean <= 8
    assert se > 0


# ---------------------------------------------------------------------- forged


def forge(demos, index, **changes):
    """Write other contents into an episode, and count all hashes of files and tables anew."""
    episode, path = demos.read(index), demos.episode_path(index)
    write_episode(path, dataclasses.replace(episode, **changes), read_info(path))
    data = read_json(demos.path / "demonstrations.json")
    data["file_sha256"][index] = sha256_file(path)
    rewrite_whole(demos, data)


def rewrite_whole(demos, data):
    write_json(demos.path / "demonstrations.json", {**data, "table_digest": table_digest(data)})


@pytest.mark.parametrize("field", ["actions", "rewards", "frames"])
def test_forged_contents_are_found_though_every_hash_of_a_file_fits(demos, field):
    forge(demos, 1, **{field: np.zeros_like(getattr(demos.read(1), field))})
    with pytest.raises(DataError, match=r"000001\.parquet holds another content_sha256.*forged"):
        FrameDemonstrations.open(demos.path)
    assert main(["demos", "show", str(demos.path)]) == 1


@pytest.mark.parametrize("field", ["length", "episode_return", "seed", "end"])
def test_a_forged_row_is_found(demos, field):
    data = read_json(demos.path / "demonstrations.json")
    row = data["episodes"][1]
    row[field] = "truncated" if field == "end" else row[field] + 1
    rewrite_whole(demos, data)
    with pytest.raises(DataError, match=rf"000001\.parquet holds another {field}"):
        FrameDemonstrations.open(demos.path)


@pytest.mark.parametrize("field", ["fingerprint", "dev_episodes", "content_sha256"])
def test_a_fingerprint_that_is_not_of_the_contents_is_found(demos, field):
    """As where the true data's fingerprint is kept for other data, or for another split."""
    data = read_json(demos.path / "demonstrations.json")
    if field == "content_sha256":
        episode = dataclasses.replace(demos.read(1), actions=np.zeros_like(demos.read(1).actions))
        forge(demos, 1, actions=episode.actions)
        data = read_json(demos.path / "demonstrations.json")
        data["episodes"][1][field] = episode.content_sha256()
    else:
        data[field] = "0" * 16 if field == "fingerprint" else [0, 1]
    rewrite_whole(demos, data)
    with pytest.raises(DataError, match=r"has the fingerprint .*edited or forged"):
        FrameDemonstrations.open(demos.path)


def test_a_forgery_made_while_the_process_runs_is_found(demos):
    """What was found sound is not read again; what has changed since is."""
    time.sleep(0.2)
    FrameDemonstrations.open(demos.path)
    path = demos.episode_path(1)
    told = path.stat()
    forge(demos, 1, actions=np.zeros_like(demos.read(1).actions))
    os.utime(path, ns=(told.st_atime_ns, told.st_mtime_ns))
    with pytest.raises(DataError, match="forged"):
        FrameDemonstrations.open(demos.path)


def test_what_was_verified_is_not_decoded_again(demos, monkeypatch):
    time.sleep(0.2)
    FrameDemonstrations.open(demos.path)
    monkeypatch.setattr(FrameDemonstrations, "read", lambda *_: pytest.fail("decoded again"))
    FrameDemonstrations.open(demos.path)
