"""NetHack: what our environments cost beside NLE through Gymnasium, and how fast the bot plays.

All sides play the same games, which is checked frame by frame: the scripted player's, of as many
seeds as are played side by side, replayed key by key. Rates are agent steps per CPU second. NLE by
itself is two to four times slower when many copies of it take turns than when one plays alone, as
each copy brings 2.2 MB of code of its own into the caches; so a rollout is shown beside both.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import gymnasium
import nle.env  # noqa: F401  registers the environments
import numpy as np
import torch
from common import alternating, show

import isoclone as ic
from isoclone.agents.checkpoint import TrainedPolicy
from isoclone.agents.runners import runner_for
from isoclone.base.records import Run
from isoclone.evaluation.rollout import RECURRENT_SLOTS
from isoclone.experts import View
from isoclone.games.base import SerialVector
from isoclone.nethack.game import NetHackEnv, fix_birthday, pack_tty
from isoclone.nethack.recordings import NldRecordRequest, record_demos
from isoclone.training.loop import Trainer
from isoclone.training.recipes import recipe

SIDE_BY_SIDE = (16, RECURRENT_SLOTS)  # the second is what a rollout does by itself
Work = Callable[[], int]
Reset = Callable[[np.ndarray], None]
Step = Callable[[np.ndarray], np.ndarray]
LENGTH = 2_000  # steps of each game


def scripts() -> list[list[int]]:
    """The scripted player's actions in the games of the seeds from 0 on."""
    game, played = ic.game("nethack"), []
    env, player = game.make_env(), ic.expert("scripted", game)
    for seed in range(max(SIDE_BY_SIDE)):
        env.reset(seed)
        view, actions = View(env, np.random.default_rng(seed), 1), []
        for _ in range(LENGTH):
            actions.append(player.act([view])[0])
            if any(env.step(actions[-1])[2:]):
                break
        played.append(actions)
    return played


class Replayed:
    """An environment of ours that always begins with one seed."""

    def __init__(self, env: NetHackEnv, seed: int):
        self._env, self._seed = env, seed
        self.step = env.step

    def reset(self, seed: int) -> np.ndarray:
        return self._env.reset(self._seed)


def in_turn(games: list[list[int]], reset: Reset, step: Step, rounds: int = 30) -> Work:
    """Replay games side by side; each begins anew when its script is over."""
    at = [0] * len(games)
    every = np.arange(len(games))
    reset(every)

    def steps() -> int:
        for _ in range(rounds):
            over = [slot for slot in every if at[slot] >= len(games[slot])]
            if over:
                reset(np.array(over))
                for slot in over:
                    at[slot] = 0
            ended = step(np.array([games[slot][at[slot]] for slot in every]))
            for slot in every:
                at[slot] = LENGTH if ended[slot] else at[slot] + 1
        return rounds * len(games)

    return steps


def gymnasium_env() -> gymnasium.Env:
    """The challenge as a user would make it, but with games that can be told by their seeds."""
    env = gymnasium.make("NetHackChallenge-v0", character="mon-hum-neu-mal", fix_moon_phase=True)
    for name in ("set_initial_seeds", "set_current_seeds", "get_current_seeds"):
        env.unwrapped.nethack.__dict__.pop(name)
    return env


def begin(env: gymnasium.Env, seed: int) -> None:
    """Start the game that belongs to `seed`, as ours does."""
    nethack = env.unwrapped.nethack
    nethack.set_initial_seeds(seed, seed, False)
    env.reset()
    fix_birthday(nethack, seed)


def check_same(games: list[list[int]]) -> None:
    """All sides see the same frames: a game that has lost its way costs less than one played."""
    reference, env = gymnasium_env(), ic.game("nethack").make_lean_env()
    for seed, actions in enumerate(games):
        begin(reference, seed)
        env.reset(seed)
        for action in actions:
            seen = reference.step(action)[0]
            parts = (seen[name] for name in ("tty_chars", "tty_colors", "tty_cursor"))
            assert np.array_equal(env.step(action)[0], pack_tty(*parts)), f"seed {seed} differs"
    reference.close()
    env.close()


def through_gymnasium(games: list[list[int]]) -> Work:
    """Environments of Gymnasium, stepped in turn."""
    envs = [gymnasium_env() for _ in games]

    def reset(slots: np.ndarray) -> None:
        for slot in slots:
            begin(envs[slot], int(slot))

    def step(actions: np.ndarray) -> np.ndarray:
        return np.array([any(e.step(int(a))[2:4]) for e, a in zip(envs, actions, strict=True)])

    return in_turn(games, reset, step)


def ours(games: list[list[int]], policy: TrainedPolicy | None = None) -> Work:
    """Our vector of environments; with a policy, one forward pass for all of them."""
    game, seeds = ic.game("nethack"), iter(range(len(games)))

    def make() -> Replayed:
        return Replayed(game.make_lean_env(), next(seeds))

    env, every = SerialVector(make, np.arange(len(games)), game.frame), np.arange(len(games))
    shown = runner_for(policy, len(games)) if policy else None

    def reset(slots: np.ndarray) -> None:
        frames = env.reset(slots)
        if shown:
            shown.start(slots, frames)

    def step(actions: np.ndarray) -> np.ndarray:
        if shown:
            shown.logits(every)
            shown.chose(every, actions)
        frames, _, terminated, truncated = env.step(actions)
        if shown:
            shown.push(every, frames)
        return terminated | truncated

    return in_turn(games, reset, step)


def tiny_policy(folder: Path) -> TrainedPolicy:
    """The smallest LSTM policy, untrained."""
    request = NldRecordRequest(games=2, game_options={"max_steps": 100})
    _, demos = record_demos(request, folder / "nld", folder / "demos")
    fields = recipe("nethack", batch_size=48).to_json()
    options = {"core": "lstm", "unroll": 12}
    run = Run(demos.game_name, demos.fingerprint, "nethack", 8, options, fields, 0)
    return Trainer(run, demos.source("unit", "raw"), demos.n_actions, folder).trained()


def bot() -> None:
    """Whole games of the scripted player, to the end or 20,000 steps."""
    game = ic.game("nethack", max_steps=20_000)
    begun = time.process_time()
    played = ic.score_expert(ic.expert("scripted", game), game, episodes=100, seed=0)
    speed = played.steps / (time.process_time() - begun)
    chance = ic.score_expert(ic.expert("random", game), game, episodes=20, seed=0)
    print("\nscripted player, Human Monk, whole games (at most 20,000 steps)")
    print(f"score {played.mean:,.0f} ± {played.se:,.0f} over {played.episodes} games, "
          f"{played.truncated} cut off; {played.steps / played.episodes:,.0f} steps a game, "
          f"{speed:,.0f} steps per CPU second")  # fmt: skip
    print(f"random play: {chance.mean:,.1f} ± {chance.se:,.1f} over {chance.episodes} games")


def main() -> None:
    torch.set_num_threads(1)
    games, wanted = scripts(), ">= .60"
    check_same(games)
    alone = through_gymnasium(games[:1])
    rows = [("one environment", *alternating(alone, ours(games[:1])), wanted)]
    with tempfile.TemporaryDirectory() as folder:
        tiny = tiny_policy(Path(folder))
    for n in SIDE_BY_SIDE:
        many, bare, played = through_gymnasium(games[:n]), ours(games[:n]), ours(games[:n], tiny)
        rows += [
            (f"{n} in turn", *alternating(many, bare), wanted),
            (f"{n} and the smallest LSTM, beside {n}", *alternating(many, played), wanted),
            (f"{n} and the smallest LSTM, beside 1", *alternating(alone, played), ""),
        ]
    show("steps per CPU second, NLE through Gymnasium against ours", rows)
    bot()


if __name__ == "__main__":
    main()
