"""`isoclone expert train`: train PPO or A2C with stable-baselines3 on any game, then measure it.

All state is in the directory:

    training.json    the request; a different request is refused
    checkpoint.zip   the training so far, replaced every `save_every` steps
    expert.zip       the finished expert, an ordinary SB3 file
    expert.json      its score and its settings; written last, so it means "done"

The same command run again continues from the checkpoint: weights, optimiser state and the count of
steps are restored (without unpickling anything), and new episodes are started.
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from isoclone.base.errors import (
    CheckpointError,
    DataError,
    MissingExtraError,
    SpecError,
    words_of,
)
from isoclone.base.limits import check_archive
from isoclone.base.records import stable_id
from isoclone.base.store import claim, read_json, replacing, write_json
from isoclone.experts.checkpoint import EXPERT_JSON, EXPERT_ZIP, MIN_CNN_SIDE
from isoclone.experts.sb3 import Sb3Expert
from isoclone.experts.sb3_read import FrameReader
from isoclone.experts.score import score_expert
from isoclone.games import Game, check_seed
from isoclone.games.actions import several

TRAINING_JSON, CHECKPOINT_ZIP = "training.json", "checkpoint.zip"
HELD = "another training", "training"  # words for the error of `store.claim`
FORMAT = 1
SAVE_EVERY = 100_000

# The settings with which RL Zoo trained the hub's Atari models; `slots` games side by side.
ATARI: dict[str, dict[str, Any]] = {
    "ppo": {
        "slots": 8,
        "n_steps": 128,
        "n_epochs": 4,
        "batch_size": 256,
        "learning_rate": ("linear", 2.5e-4),
        "clip_range": ("linear", 0.1),
        "vf_coef": 0.5,
        "ent_coef": 0.01,
    },
    "a2c": {"slots": 16, "n_steps": 5, "ent_coef": 0.01, "vf_coef": 0.25, "learning_rate": 7e-4},
}
# For vectors and small pictures: SB3's defaults with shorter rollouts of more games.
SMALL: dict[str, dict[str, Any]] = {
    "ppo": {"slots": 8, "n_steps": 128, "batch_size": 256, "n_epochs": 10, "learning_rate": 1e-3},
    "a2c": {"slots": 8, "n_steps": 5, "learning_rate": 7e-4},
}

TrainProgress = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class _Request:
    """The request of a training; requests that differ here are different trainings."""

    game: str
    game_options: dict[str, Any]
    algorithm: str
    steps: int
    seed: int
    format: int = FORMAT


def train_expert(
    game: Game,
    path: str | Path,
    algorithm: str = "ppo",
    steps: int = 10_000_000,
    seed: int = 0,
    device: str = "auto",
    episodes: int = 10,
    save_every: int = SAVE_EVERY,
    progress: TrainProgress | None = None,
) -> dict[str, Any]:
    """Train an expert into a directory, or continue there; return the contents of expert.json.

    Args:
        steps: agent steps to train for, of all slots together; training ends with the first
            whole rollout that reaches them, and the steps taken are recorded.
        episodes: whole episodes by which the finished expert is measured.
        save_every: steps between checkpoints.
        progress: called with {"steps", "of", "score", "steps_per_second"} after each rollout;
            "score" is the mean raw score of the latest 100 episodes, None before the first ends.

    Raises:
        SpecError: unknown algorithm, or a number that is not positive.
        SpecMismatchError: the directory belongs to another training.
        MissingExtraError: stable-baselines3 is not installed.
        CheckpointError: the checkpoint in the directory is damaged.
    """
    path = Path(path)
    _check(game, algorithm, steps, episodes, save_every, seed)
    request = _Request(game.name, game.options(), algorithm, steps, seed)
    _check_sb3(device)
    claim(path, TRAINING_JSON, asdict(request), HELD)
    if (path / EXPERT_JSON).exists():
        return read_json(path / EXPERT_JSON)
    model = _model(game, request, device, path / CHECKPOINT_ZIP)
    with closing(model.get_env()):
        _learn(model, steps, path / CHECKPOINT_ZIP, save_every, progress)
    reader = FrameReader(game.frame.stack)
    expert = Sb3Expert(model, False, False, reader, name=f"sb3:{path.name}")
    score = score_expert(expert, game, episodes, seed)
    _save(model, path / EXPERT_ZIP)
    summary = {
        **asdict(request),
        "created_by": "isoclone",
        "steps_taken": model.num_timesteps,
        "score": score,
        "hyperparameters": _settings(game, algorithm),
        "stable_baselines3": version("stable-baselines3"),
    }
    write_json(path / EXPERT_JSON, summary)
    (path / CHECKPOINT_ZIP).unlink(missing_ok=True)
    return read_json(path / EXPERT_JSON)


def _check(
    game: Game, algorithm: str, steps: int, episodes: int, save_every: int, seed: int
) -> None:
    if algorithm not in ATARI:
        raise SpecError(f"algorithm must be {' or '.join(ATARI)}, not '{algorithm}'")
    for name, value in (("steps", steps), ("episodes", episodes), ("save_every", save_every)):
        if value < 1:
            raise SpecError(f"{name} must be at least 1, not {value}")
    check_seed(seed)
    if several(game):
        sizes = "x".join(str(size) for size in several(game))
        raise SpecError(
            f"actions of {game.name} have several factors ({sizes}), which `expert train` does not "
            "learn; train a model with stable-baselines3 itself and give its zip as the expert"
        )


def _check_sb3(device: str) -> None:
    """Raise unless SB3 and the device are here; without it SB3 would silently use the CPU."""
    try:
        import stable_baselines3  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError("training an expert", "sb3") from error
    import torch

    here = {
        "auto": True,
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not here.get(device.partition(":")[0], False):
        raise SpecError(f"device '{device}' is not available; choose auto, cpu, cuda or mps")


def _is_small(game: Game) -> bool:
    """Return whether frames are vectors, or pictures too small for SB3's convolutions."""
    return len(game.frame.shape) != 2 or min(game.frame.shape) < MIN_CNN_SIDE


def _settings(game: Game, algorithm: str) -> dict[str, Any]:
    return (SMALL if _is_small(game) else ATARI)[algorithm]


def _model(game: Game, request: _Request, device: str, checkpoint: Path) -> Any:
    """Return a new SB3 model, restored from the checkpoint if that exists."""
    import stable_baselines3 as sb3

    from isoclone.experts.sb3_env import GameVecEnv

    settings = {k: _schedule(v) for k, v in _settings(game, request.algorithm).items()}
    weights, done = _read_checkpoint(checkpoint) if checkpoint.exists() else (None, 0)
    # A resumed training must not repeat its first episodes.
    fresh_seed = int(stable_id([request.seed, done]), 16) % 2**31
    env = GameVecEnv(game, settings.pop("slots"), fresh_seed)
    make = {"ppo": sb3.PPO, "a2c": sb3.A2C}[request.algorithm]
    network = "MlpPolicy" if _is_small(game) else "CnnPolicy"
    model = make(network, env, seed=fresh_seed, device=device, verbose=0, **settings)
    if weights is not None:
        _restore(model, weights, done, checkpoint)
    return model


def _schedule(value: Any) -> Any:
    if isinstance(value, tuple):
        return lambda remaining: remaining * value[1]
    return value


def _read_checkpoint(path: Path) -> tuple[dict[str, Any], int]:
    """Read the weights by name and the steps done, from tensors and plain JSON only."""
    import torch

    try:
        with zipfile.ZipFile(path) as archive:
            check_archive(path, archive)
            done = int(json.loads(archive.read("data"))["num_timesteps"])
            names = {"policy": "policy.pth", "policy.optimizer": "policy.optimizer.pth"}
            weights = {
                key: torch.load(io.BytesIO(archive.read(file)), "cpu", weights_only=True)
                for key, file in names.items()
            }
    except DataError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{path} is damaged ({error}); delete it to train from the start"
        ) from error
    return weights, done


def _restore(model: Any, weights: dict[str, Any], done: int, path: Path) -> None:
    try:
        model.set_parameters(weights, device=model.device)
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path} does not fit the network: {words_of(error)}") from error
    model.num_timesteps = done


def _learn(
    model: Any, steps: int, checkpoint: Path, save_every: int, progress: TrainProgress | None
) -> None:
    """Train up to `steps`, with a checkpoint every `save_every` steps."""
    left = steps - model.num_timesteps
    if left > 0:
        watch = _watch(checkpoint, save_every, steps, progress)
        model.learn(left, callback=watch, reset_num_timesteps=False)
        _save(model, checkpoint)


def _watch(checkpoint: Path, save_every: int, steps: int, progress: TrainProgress | None) -> Any:
    """Return the SB3 callback that saves and reports between rollouts."""
    from stable_baselines3.common.callbacks import BaseCallback

    class Watch(BaseCallback):
        def _on_training_start(self) -> None:
            self.began, self.first = time.perf_counter(), self.num_timesteps
            self.saved = self.num_timesteps

        def _on_rollout_start(self) -> None:
            if self.num_timesteps - self.saved >= save_every:
                _save(self.model, checkpoint)
                self.saved = self.num_timesteps
            if progress and self.num_timesteps > self.first:
                progress(self._report())

        def _on_step(self) -> bool:
            return True

        def _report(self) -> dict[str, Any]:
            recent = [episode["r"] for episode in self.model.ep_info_buffer or ()]
            spent = time.perf_counter() - self.began
            return {
                "steps": self.num_timesteps,
                "of": steps,
                "score": sum(recent) / len(recent) if recent else None,
                "steps_per_second": (self.num_timesteps - self.first) / spent,
            }

    return Watch()


def _save(model: Any, path: Path) -> None:
    """Write the model, whole or not at all."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        model.save(file)
