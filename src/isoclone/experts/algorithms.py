"""The algorithms of stable-baselines3 and sb3-contrib: told apart by a zip's JSON, and loaded."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from isoclone.base.errors import CheckpointError, MissingExtraError, words_of
from isoclone.games import Game

SB3 = ("A2C", "DDPG", "DQN", "PPO", "SAC", "TD3")
CONTRIB = ("ARS", "CrossQ", "MaskablePPO", "QRDQN", "RecurrentPPO", "TQC", "TRPO")
OFF_POLICY = ("DDPG", "DQN", "SAC", "TD3", "CrossQ", "QRDQN", "TQC")
# Where a policy's class is defined tells the algorithm; for the rest, settings that only it has.
MODULES = {
    "sb3_contrib.common.recurrent": "RecurrentPPO",
    "sb3_contrib.common.maskable": "MaskablePPO",
    "sb3_contrib.qrdqn": "QRDQN",
    "sb3_contrib.tqc": "TQC",
    "sb3_contrib.crossq": "CrossQ",
    "sb3_contrib.ars": "ARS",
    "stable_baselines3.sac": "SAC",
    "stable_baselines3.td3": "TD3",  # and DDPG, whose policy is the same
    "stable_baselines3.dqn": "DQN",
}
SETTINGS = {
    "delta_std_schedule": "ARS",
    "cg_max_steps": "TRPO",
    "n_quantiles": "QRDQN",
    "top_quantiles_to_drop_per_net": "TQC",
    "exploration_rate": "DQN",
    "target_entropy": "SAC",
    "policy_delay": "TD3",
    "clip_range": "PPO",
    "gae_lambda": "A2C",
}


def part(data: dict[str, Any], name: str) -> dict[str, Any]:
    """Return an entry of the data that is an object; {} if it is none."""
    found = data.get(name)
    return found if isinstance(found, dict) else {}


def algorithm_of(data: dict[str, Any]) -> str:
    """Return the name of a checkpoint's class; 'unknown' if its settings do not tell."""
    module = str(part(data, "policy_class").get("__module__", ""))
    for start, name in MODULES.items():
        if module.startswith(start):
            return name
    return next((name for key, name in SETTINGS.items() if key in data), "unknown")


def _algorithm_class(path: Path, data: dict[str, Any]) -> Any:
    name = algorithm_of(data)
    if name == "unknown":
        known = ", ".join(sorted(SB3 + CONTRIB))
        raise CheckpointError(f"{path}: unknown algorithm; known are {known}")
    try:
        if name in CONTRIB:
            import sb3_contrib

            return getattr(sb3_contrib, name)
        import stable_baselines3
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{path}, a {name} model,", "sb3") from error
    return getattr(stable_baselines3, name)


def load_model(
    path: Path, data: dict[str, Any], game: Game, spaces: tuple[Any, Any], device: str
) -> Any:
    replaced = {
        "observation_space": spaces[0],
        "action_space": spaces[1],
        "learning_rate": 0.0,
        "lr_schedule": _no_schedule,
        "clip_range": _no_schedule,
        "clip_range_vf": None,
        "exploration_schedule": _no_schedule,
        "delta_std_schedule": _no_schedule,
        "action_noise": None,
        "replay_buffer_class": None,
        "replay_buffer_kwargs": {},
        "buffer_size": 1,  # a full replay buffer takes gigabytes
        "optimize_memory_usage": False,
        "ep_info_buffer": None,
        "ep_success_buffer": None,
        "_last_obs": None,
        "_last_dones": None,
        "_last_episode_starts": None,
        "_last_original_obs": None,
        "_last_lstm_states": None,
    }
    model_class = _algorithm_class(path, data)
    known = {key: value for key, value in replaced.items() if key in data}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about versions; what matters is raised
            return model_class.load(path, device=device, custom_objects=known)
    except Exception as error:  # a foreign pickle may raise anything
        raise CheckpointError(
            f"{path} does not fit {game.name}, whose observations have shape {spaces[0].shape}: "
            f"{words_of(error)}"
        ) from error


def _no_schedule(_: float) -> float:
    return 0.0
