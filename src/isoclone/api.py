"""The public functions whose signature is kinder than that of the room they call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isoclone import policies
from isoclone.demos import Demonstrations, RecordRequest, record_demonstrations
from isoclone.evaluation.dev_loss import DevLoss, dev_loss
from isoclone.evaluation.rollout import Returns
from isoclone.evaluation.rollout import rollout as play_out
from isoclone.executors import Executor, SerialExecutor
from isoclone.experts import Expert
from isoclone.games import Game
from isoclone.games import game as make_game
from isoclone.training.checkpoint import TrainedPolicy, load_checkpoint


def _game(game: str | Game) -> Game:
    return make_game(game) if isinstance(game, str) else game


def record(
    expert: str | Expert,
    game: str | Game,
    *,
    samples: int,
    path: str | Path,
    seed: int = 0,
    dev_fraction: float = 0.1,
    executor: Executor | None = None,
    **expert_options: Any,
) -> Demonstrations:
    """Record an expert's demonstrations into a directory, or go on with what is there.

    Args:
        expert: a name, or an object from `isoclone.expert` (picklable, if other processes play).
        game: a name, or a game.
        samples: at least so many; the last episode is finished.
        path: the directory.
        executor: who plays; this process alone unless said.

    Raises:
        SpecMismatchError: the directory holds demonstrations of another request.
    """
    the_game = _game(game)
    request = RecordRequest(
        game=the_game.name,
        expert=expert,
        samples=samples,
        seed=seed,
        dev_fraction=dev_fraction,
        game_options=the_game.options(),
        expert_options=expert_options,
    )
    with executor or SerialExecutor() as workers:
        return record_demonstrations(request, path, workers)


def load(checkpoint: str | Path, device: str = "cpu") -> TrainedPolicy:
    """A trained policy from a checkpoint (safetensors).

    Raises:
        CheckpointError: the file is damaged, or does not hold what it says.
    """
    return load_checkpoint(checkpoint, device)


def evaluate(policy: TrainedPolicy, demos: Demonstrations, samples: int = 20_000) -> DevLoss:
    """Teacher-forced dev loss of a policy on the held-out episodes of demonstrations."""
    source = demos.source(policy.encoder.kind, policy.encoder.layout)
    return dev_loss(policy, source, samples)


def rollout(
    policy: TrainedPolicy,
    game: str | Game,
    episodes: int = 32,
    seed: int = 0,
    sampling: str = "sample",
) -> Returns:
    """Returns of whole episodes played by a policy.

    `sampling` is 'sample', 'argmax', or settings: 'temperature=0.7,top_p=0.9,top_k=5'.
    """
    return play_out(policy, _game(game), episodes, seed, sampling)


def policy_params(policy: str, width: int, game: str | Game, **options: Any) -> int:
    """Trainable parameters of a policy of a width for a game."""
    the_game = _game(game)
    return policies.policy_params(policy, width, the_game.frame, the_game.n_actions, **options)


def policy_flops(
    policy: str, width: int, game: str | Game, convention: str = "exact", **options: Any
) -> float:
    """FLOPs to train a policy on one sample (see `isoclone.policies.flops` for the conventions)."""
    the_game = _game(game)
    return policies.policy_flops(
        policy, width, the_game.frame, the_game.n_actions, convention, **options
    )


def width_for(params: float, policy: str, game: str | Game, **options: Any) -> int:
    """The width whose parameter count is nearest to `params`."""
    the_game = _game(game)
    return policies.width_for(params, policy, the_game.frame, the_game.n_actions, **options)
