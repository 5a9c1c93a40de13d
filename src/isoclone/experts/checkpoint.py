"""Experts from stable-baselines3 and sb3-contrib: zips, directories of `isoclone expert train`.

A checkpoint holds pickled objects, and a pickle can run any program when it is read. So it is
opened only with `trust=True`, and even then the parts that only training needs (spaces,
schedules, buffers) are not unpickled but replaced.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from isoclone.base.errors import CheckpointError, SpecError, TrustError, foreign_fails
from isoclone.base.limits import check_archive
from isoclone.experts.algorithms import OFF_POLICY, algorithm_of, load_model, part
from isoclone.experts.beside import Beside, look_beside, wanted_statistics
from isoclone.experts.normalize import Statistics, read_statistics
from isoclone.experts.sb3 import Reader, Sb3Expert, is_maskable, samples
from isoclone.experts.sb3_read import (
    FrameReader,
    RawReader,
    gymnasium_spaces,
    sb3_spaces,
    stacked_space,
)
from isoclone.experts.trained_on import settings_notes
from isoclone.games import EnvAction, Game
from isoclone.games.action_spaces import action_reader

EXPERT_ZIP, EXPERT_JSON = "expert.zip", "expert.json"
MIN_CNN_SIDE = 36  # the smallest picture SB3's convolutions fit into


def load_expert(
    path: str | Path,
    game: Game,
    trust: bool = False,
    deterministic: bool | None = None,
    press_fire: bool | None = None,
    normalize: str | bool | None = None,
    device: str = "auto",
    name: str | None = None,
) -> Sb3Expert:
    """Load an expert from an SB3 zip, or from a directory that `train_expert` filled.

    Args:
        trust: allow pickled data to be read.
        deterministic: take the likeliest action. By default False for policies that are
            distributions, but True for those that RL Zoo published for other games than Atari's,
            as it measures them; always True for value methods (DQN, QR-DQN), which are random only
            while they explore.
        press_fire: by default False for experts trained here, which learn to serve by themselves,
            and True for others, unless their settings beside the zip say otherwise.
        normalize: VecNormalize's statistics, a path; False if observations were not normalised in
            training. By default they are looked for beside the zip.

    Raises:
        TrustError: `trust` is not given.
        MissingExtraError: stable-baselines3 is not installed.
        CheckpointError: no such file, no SB3 zip, the model does not fit the game, or it was
            trained with statistics that are not there.
    """
    path, own = _zip_of(Path(path))
    if not trust:
        raise TrustError(
            f"{path} is an SB3 checkpoint and holds pickled objects, which can run any program; "
            "if you trust its source, pass trust=True (--trust)"
        )
    data = _read_data(path)
    beside = Beside() if own else look_beside(path)
    told, fires = settings_notes(path, beside, game, own)
    statistics, said = _statistics(path, data, beside, normalize)
    spaces, reader, to_index = _fitted(path, data, beside, game, statistics, own)
    model = load_model(path, data, game, spaces, device)
    zoo = beside.by_zoo or (name or "").startswith("sb3/")
    greedy, why = _greedy(model.policy, deterministic, zoo and not hasattr(game, "rom"))
    unmasked = _unmasked(model.policy, game)
    return Sb3Expert(
        model,
        greedy,
        fires if press_fire is None else press_fire,
        reader,
        to_index,
        name=name or f"sb3:{path.parent.name if own else path.stem}",
        notes=(*why, *said, *told, *unmasked),
    )


def _zip_of(path: Path) -> tuple[Path, bool]:
    """Return the zip to read, and whether isoclone trained it."""
    if path.is_dir():
        path = path / EXPERT_ZIP
    if not path.is_file():
        raise CheckpointError(f"no expert at {path}; give an SB3 zip, or a trained directory")
    return path, path.name == EXPERT_ZIP and (path.parent / EXPERT_JSON).is_file()


def _read_data(path: Path) -> dict[str, Any]:
    """Read the JSON half of a checkpoint, without unpickling anything."""
    with (
        foreign_fails(CheckpointError, f"{path} is not an SB3 checkpoint, or is damaged"),
        zipfile.ZipFile(path) as archive,
    ):
        check_archive(path, archive)
        data = json.loads(archive.read("data"))
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} is not an SB3 checkpoint: its data is no object")
    return data


def _statistics(
    path: Path, data: dict[str, Any], beside: Beside, asked: str | bool | None
) -> tuple[Statistics | None, tuple[str, ...]]:
    """Return the statistics that observations are normalised by, if any, and what to say of it.

    Raises:
        CheckpointError: the zip wants some, and there are none; or they cannot be read.
    """
    if asked is False:
        return None, ()
    if asked is True:
        raise SpecError("normalize= wants the path of VecNormalize's file, or false")
    if asked is not None:
        if not Path(asked).is_file():
            raise CheckpointError(f"normalize={asked}: no such file")
        return _read(Path(asked))
    kept = data.get("_last_original_obs") is not None
    wants: bool | None = beside.normalizes
    if wants is None:  # algorithms that learn from a buffer keep the observation in any case
        unknown = kept and algorithm_of(data) in OFF_POLICY
        wants = (False if beside.by_zoo else None) if unknown else kept
    if wants is False:
        return None, ()
    if beside.statistics:
        return _read(beside.statistics)
    if wants is None:
        return None, ("assumed: observations were not normalised (else normalize=PATH)",)
    places = " or ".join(wanted_statistics(path))
    raise CheckpointError(
        f"{path} was trained on observations normalised by VecNormalize and needs its statistics: "
        f"{places} is not there; give --options normalize=PATH (normalize=false if only rewards "
        "were normalised)"
    )


def _read(path: Path) -> tuple[Statistics | None, tuple[str, ...]]:
    found = read_statistics(path)
    return found, (f"observations normalised by {path}",) if found else ()


def _fitted(
    path: Path,
    data: dict[str, Any],
    beside: Beside,
    game: Game,
    statistics: Statistics | None,
    own: bool,
) -> tuple[tuple[Any, Any], Reader, Any]:
    """Return the spaces for a model, what it is shown, and how its actions become the game's.

    Raises:
        CheckpointError: the model was made for other observations or actions.
    """
    space = part(data, "observation_space")
    said = space.get("_shape", space.get("shape"))
    saved = tuple(said) if isinstance(said, list) and ("spaces" not in space) else None
    spaces = None if own else gymnasium_spaces(game)
    if spaces:
        observations = stacked_space(spaces[0], beside.frame_stack or 1)
        if saved in (None, observations.shape):
            of_stack = _of_stack(statistics, spaces[0], observations)
            _check_count(path, data, game)
            return (
                (observations, spaces[1]),
                RawReader(beside.frame_stack or 1, statistics, of_stack),
                _indexer(spaces[1], game),
            )
    _check_count(path, data, game)
    stack = _stack_of(saved, game, beside.frame_stack)
    spaces = sb3_spaces(game.frame, game.n_actions, stack)
    of_stack = _of_stack(statistics, game.frame, spaces[0])
    return spaces, FrameReader(stack, not own, statistics, of_stack), int


def _of_stack(statistics: Statistics | None, single: Any, stacked: Any) -> bool:
    """Return whether statistics are of a stack of observations, and not of single ones.

    Raises:
        CheckpointError: they fit neither.
    """
    if statistics is None or statistics.fits(_shapes(single)):
        return False
    if len(stacked.shape or ()) != 1 or not statistics.fits(_shapes(stacked)):
        statistics.check(_shapes(single))
    return True


def _shapes(space: Any) -> dict[str, tuple[int, ...]]:
    inner = getattr(space, "spaces", None)
    if isinstance(inner, dict):
        return {key: one.shape for key, one in inner.items()}
    return {"": space.shape}


def _stack_of(saved: tuple[int, ...] | None, game: Game, said: int | None) -> int:
    """Return how many frames the model reads; the game's own number if they are not its frames."""
    frame = game.frame
    if saved and len(frame.shape) == 2 and saved[1:] == frame.shape:
        return saved[0]
    if saved and len(saved) == 1 and len(frame.shape) == 1 and saved[0] % frame.size == 0:
        return saved[0] // frame.size or frame.stack
    return said or frame.stack


def _indexer(space: Any, game: Game) -> Any:
    """Return the function from an action of SB3's to one that experts may give."""
    if hasattr(space, "n") and not space.shape:
        return int
    return EnvAction if hasattr(game, "index_of") else action_reader(space).to_index


def _check_count(path: Path, data: dict[str, Any], game: Game) -> None:
    space = part(data, "action_space")
    count = None if space.get("_shape", space.get("shape")) else space.get("n")
    if isinstance(count, int | str) and str(count).isdigit() and int(count) != game.n_actions:
        raise CheckpointError(
            f"{path} chooses among {int(count)} actions, {game.name} has {game.n_actions}; "
            "it was trained on another game, or on another action set"
        )


def _greedy(policy: Any, asked: bool | None, published: bool) -> tuple[bool, tuple[str, ...]]:
    """Return whether the best action is taken, and why where it is not the user's word."""
    if not samples(policy):
        return True, ()
    if asked is not None:
        return asked, ()
    return published, ("greedy, as RL Zoo measures it",) if published else ()


def _unmasked(policy: Any, game: Game) -> tuple[str, ...]:
    if not is_maskable(policy) or game_masks(game):
        return ()
    return ("MaskablePPO without masks: the game has no `action_masks()`",)


def game_masks(game: Game) -> bool:
    """Return whether the game tells which actions are allowed."""
    from isoclone.experts.sb3 import masks_of
    from isoclone.games import close, make_env

    env = make_env(game)
    try:
        env.reset(0)
        return masks_of(env) is not None
    finally:
        close(env)
