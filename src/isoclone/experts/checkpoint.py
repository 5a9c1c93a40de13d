"""Experts from stable-baselines3: zip files, directories of `isoclone expert train`, the hub.

A checkpoint holds pickled objects, and a pickle can run any program when it is read. So it is
opened only with `trust=True`, and even then the parts that only training needs (spaces,
schedules, buffers) are not unpickled but replaced.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.base.errors import CheckpointError, MissingExtraError, TrustError
from isoclone.experts.base import View
from isoclone.games import FrameSpec, Game

LOCKSTEP = 8
EXPERT_ZIP, EXPERT_JSON = "expert.zip", "expert.json"
MIN_CNN_SIDE = 36  # the smallest picture SB3's convolutions fit into


@dataclass(frozen=True)
class Sb3Expert:
    """An SB3 model as an expert; plays eight episodes side by side.

    With `deterministic` it takes the likeliest action; otherwise actions are drawn from the policy
    with the episode's own random generator. With `press_fire` it presses FIRE at the start of an
    episode and after each lost life. The hub's models were trained with wrappers that do so, and
    many of them never serve the ball by themselves.
    """

    model: Any = field(repr=False)
    deterministic: bool
    press_fire: bool
    name: str = "sb3"
    lockstep: int = LOCKSTEP

    def act(self, views: Sequence[View]) -> list[int]:
        """Return one action for each view, from one batch through the network."""
        batch = np.stack([as_sb3(view.observation()) for view in views])
        actions = self._choose(batch, views)
        if not self.press_fire:
            return actions
        return [
            1 if _must_serve(view) else action for view, action in zip(views, actions, strict=True)
        ]

    def _choose(self, batch: np.ndarray, views: Sequence[View]) -> list[int]:
        import torch

        policy = self.model.policy
        if self.deterministic or not hasattr(policy, "get_distribution"):
            return policy.predict(batch, deterministic=True)[0].tolist()
        with torch.no_grad():
            tensor, _ = policy.obs_to_tensor(batch)
            chances = policy.get_distribution(tensor).distribution.probs.double().cpu().numpy()
        return [_draw(row, view.rng) for row, view in zip(chances, views, strict=True)]


def _draw(chances: np.ndarray, rng: np.random.Generator) -> int:
    """Return a random index, drawn with the given probabilities, (n,)."""
    ladder = np.cumsum(chances)
    return min(int(np.searchsorted(ladder, rng.random() * ladder[-1])), len(chances) - 1)


def _must_serve(view: View) -> bool:
    """Return whether an Atari game with FIRE has just begun or just lost a life."""
    ale = getattr(view.env, "ale", None)
    if ale is None or len(view.env.actions) < 2 or view.env.actions[1].name != "FIRE":
        return False
    lives = ale.lives()
    before = view.memory.get("lives")
    view.memory["lives"] = lives
    return before is None or lives < before


def as_sb3(observation: np.ndarray) -> np.ndarray:
    """Return a stack as SB3 expects it: images (stack, h, w) unchanged, vectors as (n,)."""
    return observation if observation.ndim == 3 else observation.reshape(-1)


def sb3_spaces(frame: FrameSpec, n_actions: int) -> tuple[Any, Any]:
    """Return the Gymnasium spaces (observation, action) of a game as SB3 sees it."""
    from gymnasium.spaces import Box, Discrete

    if len(frame.shape) == 2:
        box = Box(0, 255, (frame.stack, *frame.shape), np.uint8)
    else:
        box = Box(-np.inf, np.inf, (frame.stack * frame.size,), np.float32)
    return box, Discrete(n_actions)


def load_expert(
    path: str | Path,
    game: Game,
    trust: bool = False,
    deterministic: bool | None = None,
    press_fire: bool | None = None,
    device: str = "auto",
    name: str | None = None,
) -> Sb3Expert:
    """Load an expert from an SB3 zip, or from a directory that `train_expert` filled.

    Args:
        trust: allow pickled data to be read.
        deterministic: by default False for PPO and A2C, whose policies are distributions, and
            True for value methods (DQN, QR-DQN), which are random only while they explore.
        press_fire: by default False for experts trained here, which learn to serve by themselves,
            and True for others.

    Raises:
        TrustError: `trust` is not given.
        MissingExtraError: stable-baselines3 is not installed.
        CheckpointError: no such file, no SB3 zip, or the model does not fit the game.
    """
    path, own = _zip_of(Path(path))
    if not trust:
        raise TrustError(
            f"{path} is an SB3 checkpoint and holds pickled objects, which can run any program; "
            "if you trust its source, pass trust=True (--trust)"
        )
    data = _read_data(path)
    _check_actions(path, data, game)
    model = _load_model(path, data, game, device)
    samples = hasattr(model.policy, "get_distribution")
    return Sb3Expert(
        model,
        not samples if deterministic is None else deterministic,
        not own if press_fire is None else press_fire,
        name=name or f"sb3:{path.parent.name if own else path.stem}",
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
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("data"))
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise CheckpointError(f"{path} is not an SB3 checkpoint, or is damaged: {error}") from error


def _check_actions(path: Path, data: dict[str, Any], game: Game) -> None:
    count = data.get("action_space", {}).get("n")
    if count is not None and int(count) != game.n_actions:
        raise CheckpointError(
            f"{path} chooses among {int(count)} actions, {game.name} has {game.n_actions}; "
            "it was trained on another game, or on another action set"
        )


def algorithm_of(data: dict[str, Any]) -> str:
    """Return the name of a checkpoint's SB3 class, known by settings that only it has."""
    module = str(data.get("policy_class", {}).get("__module__", ""))
    if "sb3_contrib" in module:
        return "QRDQN" if "qrdqn" in module else "unknown"
    if "exploration_rate" in data:
        return "DQN"
    if "clip_range" in data:
        return "PPO"
    return "A2C" if "gae_lambda" in data else "unknown"


def _algorithm_class(path: Path, data: dict[str, Any]) -> Any:
    name = algorithm_of(data)
    if name == "unknown":
        raise CheckpointError(f"{path}: unknown algorithm; known are PPO, A2C, DQN, QR-DQN")
    try:
        if name == "QRDQN":
            from sb3_contrib import QRDQN

            return QRDQN
        import stable_baselines3
    except ModuleNotFoundError as error:
        if name == "QRDQN" and error.name == "sb3_contrib":
            raise CheckpointError(f"{path} is a QR-DQN model: pip install sb3-contrib") from error
        raise MissingExtraError("an SB3 expert", "sb3") from error
    return getattr(stable_baselines3, name)


def _load_model(path: Path, data: dict[str, Any], game: Game, device: str) -> Any:
    observations, actions = sb3_spaces(game.frame, game.n_actions)
    replaced = {
        "observation_space": observations,
        "action_space": actions,
        "learning_rate": 0.0,
        "lr_schedule": _no_schedule,
        "clip_range": _no_schedule,
        "exploration_schedule": _no_schedule,
        "buffer_size": 1,  # a full replay buffer takes gigabytes
        "optimize_memory_usage": False,
        "ep_info_buffer": None,
        "ep_success_buffer": None,
        "_last_obs": None,
        "_last_episode_starts": None,
        "_last_original_obs": None,
    }
    model_class = _algorithm_class(path, data)
    known = {key: value for key, value in replaced.items() if key in data}
    try:
        return model_class.load(path, device=device, custom_objects=known)
    except Exception as error:  # a foreign pickle may raise anything
        raise CheckpointError(
            f"{path} does not fit {game.name}, whose stacks have shape {observations.shape}: "
            f"{_first_line(error)}"
        ) from error


def _no_schedule(_: float) -> float:
    return 0.0


def from_hub(rest: str, game: Game, trust: bool = False, **options: Any) -> Sb3Expert:
    """Download and load the expert of a hub id such as `sb3/ppo-BreakoutNoFrameskip-v4`.

    `rest` is the part after 'sb3/'.

    Raises:
        TrustError: `trust` is not given.
        MissingExtraError: huggingface_hub is not installed.
        CheckpointError: the hub cannot be reached, has no such model, or it does not fit.
    """
    hub_id = f"sb3/{rest}"
    if not trust:
        raise TrustError(
            f"{hub_id} is a pickled checkpoint from the Hugging Face hub, which can run any "
            "program; if you trust its author, pass trust=True (--trust)"
        )
    path = download(hub_id)
    return load_expert(path, game, trust, name=hub_id, **options)


def download(hub_id: str, endpoint: str | None = None) -> Path:
    """Return the local path of a hub model's zip, downloaded unless the hub's cache has it.

    Raises:
        MissingExtraError: huggingface_hub is not installed.
        CheckpointError: the hub cannot be reached, or has no such model.
    """
    try:
        from huggingface_hub import errors as hub
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    except ModuleNotFoundError as error:
        raise MissingExtraError("an expert from the hub", "sb3") from error
    filename = f"{hub_id.partition('/')[2]}.zip"
    with suppress(hub.LocalEntryNotFoundError, hub.HFValidationError):
        return Path(hf_hub_download(hub_id, filename, local_files_only=True))
    try:
        # Ask once first: without a network the download itself retries for half a minute.
        get_hf_file_metadata(hf_hub_url(hub_id, filename, endpoint=endpoint))
        return Path(hf_hub_download(hub_id, filename, endpoint=endpoint))
    except (hub.RepositoryNotFoundError, hub.RemoteEntryNotFoundError, hub.HFValidationError) as e:
        raise CheckpointError(f"the hub has no {hub_id} with a file {filename}") from e
    except Exception as error:  # no network, or trouble with a proxy, a certificate, a quota
        raise CheckpointError(
            f"{hub_id} is not in the hub's local cache, and the hub cannot be reached "
            f"({_first_line(error)}); go online, or give the path of a downloaded zip"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip()
