"""Train an expert by PPO, of any policy and size, from nothing or from a clone; then measure it.

All state is in the directory:

    training.json        the request; a different request is refused
    state.safetensors    the training so far
    expert.safetensors   the finished expert, an agent as any other
    expert.json          its score and its settings; written last, so it means "done"

The same command run again goes on from the state, to the same numbers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from isoclone.agents.checkpoint import TrainedPolicy, check_fits, load_checkpoint
from isoclone.agents.expert import load_agent_expert
from isoclone.base.errors import CheckpointError, SpecError
from isoclone.base.records import Run
from isoclone.base.store import claim, read_json, sha256_file, write_json
from isoclone.experts import AGENT_FILE, score_expert
from isoclone.games import Game, check_seed
from isoclone.training.recipes import suited_to_play
from isoclone.training.reinforcement.loop import PpoTrainer
from isoclone.training.reinforcement.recipe import PpoRecipe

TRAINING_JSON, EXPERT_JSON = "training.json", "expert.json"
HELD = ("another training", "training")
LATEST = 100  # episodes whose mean return is told on the way
WIDTH = 32

Told = Callable[[dict[str, Any]], None]


def train_agent(
    game: Game,
    path: Path,
    steps: int,
    policy: str = "",
    width: int = WIDTH,
    clone: Path | None = None,
    recipe: PpoRecipe | None = None,
    seed: int = 0,
    device: str = "cpu",
    episodes: int = 10,
    progress: Told | None = None,
) -> dict[str, Any]:
    """Train an agent into a directory, or go on there; return the contents of expert.json.

    Args:
        steps: environment steps to train for, of all slots together; whole rollouts.
        policy, width: what to train; those of the clone where one is given.
        clone: a checkpoint to start from, which also teaches, by a term that fades.
        recipe: the one that suits the game unless given.
        episodes: whole episodes by which the finished expert is measured.
        progress: told {"steps", "of", "score", "steps_per_second"} after each rollout; "score" is
            the mean return of the latest 100 episodes, None before the first ends.

    Raises:
        SpecError: a number that is not positive, or a policy that cannot play the game.
        SpecMismatchError: the directory belongs to another training.
        CheckpointError: the clone does not fit the game, or a file is damaged.
        Diverged: an advantage or a loss stopped being finite.
    """
    for name, value in (("steps", steps), ("episodes", episodes), ("width", width)):
        if value < 1:
            raise SpecError(f"{name} must be at least 1, not {value}")
    check_seed(seed)
    begins = load_checkpoint(clone, device) if clone else None
    if begins is not None:
        check_fits(begins, game)
    recipe = recipe or suited_to_play(game, taught=clone is not None)
    run = _run(game, policy, width, begins, sha256_file(clone)[:16] if clone else "", recipe, seed)
    trainer = PpoTrainer(run, game, path, device, begins)  # what cannot be trained takes no folder
    claim(path, TRAINING_JSON, {"run": run.to_json(), "steps": steps}, HELD)
    if _is_done(path):
        return read_json(path / EXPERT_JSON)
    with closing(trainer.resume()):
        _learn(trainer, steps, progress)
        trainer.save_checkpoint(path / AGENT_FILE)
        taken, flops = trainer.progress.samples, trainer.flops
    expert = load_agent_expert(path / AGENT_FILE, game, device=device)
    score = score_expert(expert, game, episodes, seed)
    summary = {
        "run": run.to_json(),
        "steps": steps,
        "created_by": "isoclone",
        "steps_taken": taken,
        "flops": flops,
        "score": score,
    }
    write_json(path / EXPERT_JSON, summary)
    return read_json(path / EXPERT_JSON)


def _is_done(path: Path) -> bool:
    """Return whether the expert is there and sound; one that was lost is made again."""
    with suppress(CheckpointError):
        return (path / EXPERT_JSON).exists() and bool(load_checkpoint(path / AGENT_FILE))
    return False


def _run(
    game: Game,
    policy: str,
    width: int,
    clone: TrainedPolicy | None,
    fingerprint: str,
    recipe: PpoRecipe,
    seed: int,
) -> Run:
    """Return the run to train; the fingerprint is that of the clone's file."""
    options: dict[str, Any] = {}
    if clone is not None:
        policy, width, options = clone.run.policy, clone.run.width, clone.run.policy_options
    kind = policy or ("cnn" if game.frame.picture else "mlp")
    return Run(
        game.name, fingerprint, kind, width, options, recipe.to_json(), seed,
        game_options=game.options(),
    )  # fmt: skip


def _learn(trainer: PpoTrainer, steps: int, progress: Told | None) -> None:
    """Train until so many steps are taken; the state is saved now and then, and at the end."""
    begun, first = time.monotonic(), trainer.progress.samples
    latest: list[float] = []

    def told(returns: list[float]) -> None:
        nonlocal latest
        latest = (latest + returns)[-LATEST:]
        if progress:
            taken = trainer.progress.samples
            progress(
                {
                    "steps": taken,
                    "of": steps,
                    "score": sum(latest) / len(latest) if latest else None,
                    "steps_per_second": (taken - first) / (time.monotonic() - begun),
                }
            )

    trainer.train_while(lambda: trainer.progress.samples < steps, told)
    trainer.save()
