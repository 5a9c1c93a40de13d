"""The files that finish demonstrations: the table of episodes, and what says "complete"."""

from __future__ import annotations

from collections.abc import Container, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from isoclone.base.errors import StoreError
from isoclone.base.store import read_json, sha256_file, write_json, write_rows
from isoclone.demos.demonstrations import (
    DONE,
    FORMAT,
    REQUEST,
    choose_dev,
    fingerprint,
    table_digest,
)
from isoclone.demos.episode import EpisodeInfo, read_info


def episode_path(path: Path, index: int) -> Path:
    """Return the file of an episode in a directory of demonstrations."""
    return path / "episodes" / f"{index:06d}.parquet"


def write_manifest(path: Path, facts: dict[str, Any], count: int, dev_fraction: float) -> None:
    """Write the episode table, and last of all the file that says it is complete.

    Args:
        facts: game, game_options, expert, frame, n_actions, and whatever else is to be kept.
        count: how many episodes there are, each in its file.
        dev_fraction: share of the episodes that is held out.

    Raises:
        DataError: fewer than two episodes, so nothing can be held out.
    """
    episodes = tuple(read_info(episode_path(path, index)) for index in range(count))
    dev = choose_dev(episodes, dev_fraction)
    told = (facts["game"], facts["game_options"], episodes, dev, facts["frame"], facts["n_actions"])
    write_done(path, facts, episodes, dev, fingerprint(*told))


def write_done(
    path: Path, facts: dict[str, Any], episodes: Sequence[EpisodeInfo], dev: list[int], counted: str
) -> None:
    """Write the episode table, and last of all the file that says it is complete.

    Args:
        facts: as of `write_manifest`.
        episodes: each in its file.
        dev: numbers of those held out, ascending.
        counted: the fingerprint.
    """
    write_episode_table(path, episodes, dev)
    table = {
        **facts,
        "format": FORMAT,
        "episodes": episodes,
        "file_sha256": [sha256_file(episode_path(path, info.index)) for info in episodes],
        "dev_episodes": dev,
        "fingerprint": counted,
    }
    write_json(path / DONE, {**table, "table_digest": table_digest(table)})


def restore_request(path: Path) -> bool:
    """Write a request that is missing or damaged again, if finished demonstrations tell of it.

    Returns:
        Whether it is there now.
    """
    with suppress(StoreError):
        read_json(path / REQUEST)
        return True
    with suppress(StoreError, AttributeError):
        found = read_json(path / DONE).get("request")
        if isinstance(found, dict):
            write_json(path / REQUEST, found)
            return True
    return False


def write_episode_table(path: Path, episodes: Sequence[EpisodeInfo], dev: Container[int]) -> None:
    """Write the table of episodes, for people."""
    rows = episode_rows(episodes, dev)
    kinds: dict[str, type] = {"episode_return": float, "seed": int, "length": int, "index": int}
    kinds["action_error"] = float
    write_rows(path / "episodes", rows, {name: kinds.get(name, str) for name in rows[0]})


def episode_rows(episodes: Sequence[EpisodeInfo], dev: Container[int]) -> list[dict[str, Any]]:
    """Return the rows of the table of episodes; `dev` are the numbers of those held out."""
    rows = [{**asdict(info), "split": "dev" if info.index in dev else "train"} for info in episodes]
    if all(info.action_error is None for info in episodes):
        return [{k: v for k, v in row.items() if k != "action_error"} for row in rows]
    return rows
