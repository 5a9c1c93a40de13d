"""Minari datasets: read them, and write demonstrations as one."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isoclone.base.errors import DataError, IsocloneError, MissingExtraError, SpecError
from isoclone.demos.foreign.base import Foreign, Given, Unfit

if TYPE_CHECKING:
    from isoclone.demos.demonstrations import FrameDemonstrations

REMOTE = "MINARI_REMOTE"  # the variable that says where Minari fetches from
AT_ONCE = 16  # episodes handed to Minari together


def _minari() -> Any:
    try:
        import minari
    except ImportError as error:
        raise MissingExtraError("Minari datasets", "minari") from error
    return minari


def read_minari(source: str, download: bool = False) -> Foreign:
    """Read a Minari dataset by its id, its folder, or an address such as hf://farama-minari/ID.

    An address is downloaded into Minari's own place for datasets, once.

    Args:
        download: fetch an id that is not here from Minari's server.

    Raises:
        DataError: there is none, or it is damaged.
        MissingExtraError: Minari is not installed.
    """
    minari = _minari()
    with _quietly(f"Minari dataset {source}"):
        found = _opened(minari, source, download)
        spaces = found.observation_space, found.action_space
        env, total = found.env_spec, int(found.total_episodes)
        metadata = dict(found.storage.metadata)

    def episodes() -> Iterator[Given | Unfit]:
        left = found.episode_indices.tolist()
        stream = iter(found.iterate_episodes(list(left)))
        while left:
            number = left.pop(0)
            try:
                with _quietly(""):
                    episode = next(stream, None)
                    assert episode is not None, "it is missing"
                    given = _given(episode)
                yield given
            except DataError as error:
                yield Unfit(f"episode {number}", str(error).removeprefix(": "))
                stream = iter(found.iterate_episodes(list(left)))  # a stream that failed has ended

    said = metadata.get("algorithm_name")
    return Foreign(
        episodes,
        f"Minari dataset {metadata.get('dataset_id', Path(source).name)}",
        *spaces,
        expert=said if isinstance(said, str) and said else None,
        recorded_in=env.id if env is not None else None,
        total=total,
    )


def _given(episode: Any) -> Given:
    steps = len(episode.rewards)
    ends = [np.asarray(flags)[:steps] for flags in (episode.terminations, episode.truncations)]
    return Given(episode.observations, episode.actions, episode.rewards, *ends)


def _opened(minari: Any, source: str, download: bool) -> Any:
    if "://" in source:
        kind, _, rest = source.partition("://")
        owner, _, name = rest.partition("/")
        with _remote(f"{kind}://{owner}"):
            return minari.load_dataset(name, download=True)
    for folder in (Path(source), Path(source) / "data"):
        if (folder / "metadata.json").exists():
            return minari.MinariDataset(folder)
    return minari.load_dataset(source, download=download)


@contextlib.contextmanager
def _remote(address: str) -> Iterator[None]:
    """Have Minari fetch from an address; of one in an id it fetches a part from its own place."""
    before = os.environ.get(REMOTE)
    os.environ[REMOTE] = address
    try:
        yield
    finally:
        del os.environ[REMOTE]
        if before is not None:
            os.environ[REMOTE] = before


@contextlib.contextmanager
def _quietly(what: str) -> Iterator[None]:
    """Keep the library's prints and warnings back; turn what it raises into one line."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    except (IsocloneError, GeneratorExit):
        raise
    except Exception as error:  # h5py, Arrow, Minari, the hub: each has errors of its own
        said = " ".join(str(error).split())[:200]
        raise DataError(f"{what}: {type(error).__name__}: {said}") from error


def export_minari(
    demos: FrameDemonstrations,
    dataset: str,
    *,
    progress: Callable[[str, float, float], None] | None = None,
) -> Path:
    """Write demonstrations as a Minari dataset, in Minari's own place for datasets.

    Observations are the frames as they are kept (single ones, not stacks), actions their numbers.
    Minari wants the observation after the last action, which demonstrations do not have: the last
    frame stands there again, and the description says so.

    Args:
        dataset: the id, as in 'cartpole/expert-v0'.

    Returns:
        The dataset's folder.

    Raises:
        SpecError: the id cannot be one, or is taken.
        DataError: an episode is damaged, or has no rewards.
        MissingExtraError: Minari is not installed.
    """
    minari = _minari()
    from minari.storage.datasets_root_dir import get_dataset_path

    with _naming(dataset):
        path = Path(get_dataset_path(dataset))
        minari.dataset.minari_dataset.parse_dataset_id(dataset)
    if path.exists():
        raise SpecError(f"the Minari dataset {dataset} exists ({path}); give another id")
    if any(info.episode_return is None for info in demos.episodes):
        raise DataError(f"{demos.path} has no rewards, and Minari wants them")
    buffers = (_buffer(demos, info) for info in demos.episodes)
    kept: Any = None
    for first in range(0, len(demos.episodes), AT_ONCE):
        group = [b for _, b in zip(range(AT_ONCE), buffers, strict=False)]
        with _quietly(f"writing {dataset}"):
            if kept is None:
                kept = minari.create_dataset_from_buffers(dataset, group, **_facts(demos))
            else:
                kept.update_dataset_from_buffer(group)
        if progress:
            progress("export", min(first + AT_ONCE, len(demos.episodes)), len(demos.episodes))
    return path


@contextlib.contextmanager
def _naming(dataset: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError) as error:
        raise SpecError(
            f"'{dataset}' cannot be a Minari id; give one as cartpole/expert-v0"
        ) from error


def _facts(demos: FrameDemonstrations) -> dict[str, Any]:
    from gymnasium import spaces

    frame = demos.frame
    low, high = (0, 255) if frame.dtype == "uint8" else (-np.inf, np.inf)
    kind: Any = np.dtype(frame.dtype).type
    sizes = tuple(getattr(demos, "action_sizes", ())) or (demos.n_actions,)
    actions = spaces.Discrete(sizes[0]) if len(sizes) == 1 else spaces.MultiDiscrete(list(sizes))
    return {
        "observation_space": spaces.Box(low, high, frame.shape, kind),
        "action_space": actions,
        "algorithm_name": demos.expert_name,
        "data_format": "hdf5",
        "jpeg_encoding": False,
        "description": (
            f"{demos.expert_name} in {demos.game_name}, isoclone demonstrations of fingerprint "
            f"{demos.fingerprint}. The observation after the last action was not kept: the last "
            "one stands in its place."
        ),
    }


def _buffer(demos: FrameDemonstrations, info: Any) -> Any:
    from minari.data_collector import EpisodeBuffer

    episode, steps = demos.read(info.index), int(info.length)
    ends = np.zeros((2, steps), bool)
    ends[0 if info.end == "terminated" else 1, -1] = True
    return EpisodeBuffer(
        id=info.index,
        observations=np.concatenate([episode.frames, episode.frames[-1:]]),
        actions=np.asarray(episode.actions, np.int64),
        rewards=np.asarray(episode.rewards),
        terminations=ends[0],
        truncations=ends[1],
    )
