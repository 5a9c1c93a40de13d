"""Measure what uniformly random play scores, and write it to src/isoclone/games/random_scores.py.

    nice -n 19 python benchmarks/random_scores.py              # every game not yet in the table
    python benchmarks/random_scores.py --only Breakout Pong    # these again

The table is the state: a game is measured once, written at once, and skipped the next time.
Episodes are whole, under the preprocessing that demonstrations and rollouts use. Every episode
that is started counts, so short ones are not favoured. Games whose first episodes do not end
within the CPU time allowed are written with the number of episodes that were cut.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from pathlib import Path

import numpy as np

import isoclone.games.random_scores as table
from isoclone.games import Game, game, vector_env
from isoclone.games.atari import rom_names
from isoclone.games.random_scores import RandomScore

SLOTS = 8


def main() -> None:
    args = _arguments()
    scores = dict(table.RANDOM_SCORES)
    names = [f"atari/{n}" for n in args.only] if args.only else _all_names()
    print(f"{'game':<28}{'mean':>12}{'se':>10}{'episodes':>10}{'cut':>5}{'CPU s':>8}")
    for name in names:
        if name in scores and not args.only:
            continue
        start = time.process_time()
        scores[name] = measure(game(name), args)
        _write(scores)
        row, spent = scores[name], time.process_time() - start
        print(
            f"{name:<28}{row.mean:>12.4g}{row.se:>10.3g}{row.episodes:>10}{row.cut:>5}{spent:>8.1f}",
            flush=True,
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", help="names of ROMs, to be measured again")
    parser.add_argument("--most", type=int, default=24, help="episodes of a game, at most")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="CPU time after which no round starts"
    )
    parser.add_argument(
        "--cap", type=float, default=20.0, help="CPU time after which a game is cut"
    )
    parser.add_argument("--toy-episodes", type=int, default=10_000)
    return parser.parse_args()


def _all_names() -> list[str]:
    return ["toy"] + [f"atari/{name}" for name in rom_names()]


def measure(game: Game, args: argparse.Namespace) -> RandomScore:
    """Play rounds of one episode in each slot until there are enough of them, or time is up."""
    env = vector_env(game, SLOTS, seed=0)
    rng = np.random.default_rng(0)
    most = args.toy_episodes if game.name == "toy" else args.most
    start, scores, cut = time.process_time(), np.zeros(0), 0
    while len(scores) < most and cut == 0:
        spent = time.process_time() - start
        if len(scores) and spent > args.seconds and game.name != "toy":
            break
        more, cut = _round(game, env, rng, start + args.cap * (1 if game.name != "toy" else 10))
        if cut and len(scores):  # an earlier round was whole: this one is not started, so to say
            cut = 0
            break
        scores = np.concatenate([scores, more])
    se = scores.std(ddof=1) / np.sqrt(len(scores))
    return RandomScore(float(f"{scores.mean():.5g}"), float(f"{se:.3g}"), len(scores), cut)


def _round(game: Game, env, rng: np.random.Generator, deadline: float) -> tuple[np.ndarray, int]:
    env.reset(np.arange(SLOTS))
    live, scores = np.ones(SLOTS, bool), np.zeros(SLOTS)
    while live.any() and time.process_time() < deadline:
        _, rewards, terminated, truncated = env.step(rng.integers(game.n_actions, size=SLOTS))
        scores += np.where(live, rewards, 0.0)
        live &= ~(terminated | truncated)
    return scores, int(live.sum())


def _write(scores: dict[str, RandomScore]) -> None:
    path = Path(table.__file__)
    order = sorted(scores, key=lambda name: (name != "toy", name))
    rows = "".join(f'    "{name}": RandomScore{tuple(scores[name])},\n' for name in order)
    text = re.sub(
        r"(= \{\n).*?^\}", lambda m: m[1] + rows + "}", path.read_text(), flags=re.S | re.M
    )
    fresh = path.with_suffix(".tmp")
    fresh.write_text(text)
    os.replace(fresh, path)


if __name__ == "__main__":
    main()
