"""Opening demonstrations: what is damaged, edited or too new is found and named."""

from __future__ import annotations

import json
import shutil

import pytest

from isoclone.base.errors import DataError
from isoclone.demos import FrameDemonstrations, RecordRequest, record
from isoclone.demos.demonstrations import choose_dev
from isoclone.demos.episode import EpisodeInfo


@pytest.fixture
def demos(toy_demos, tmp_path):
    shutil.copytree(toy_demos.path, tmp_path / "demos")
    return FrameDemonstrations.open(tmp_path / "demos")


def rewrite(demos, **changes):
    path = demos.path / "demonstrations.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


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
    data = json.loads((demos.path / "demonstrations.json").read_text())
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
