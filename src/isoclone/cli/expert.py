"""Verbs about experts: train one, measure one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import Positional

from isoclone.base.errors import SpecError, nothing_kept
from isoclone.base.formatting import plural
from isoclone.cli.flags import parse_options, typed_expert, with_frames

OUT = Path("experts-out")


def train(
    game: Positional[str],
    *,
    out: Path | None = None,
    algorithm: str = "ppo",
    policy: str | None = None,
    width: int | None = None,
    start_from: Annotated[Path | None, tyro.conf.arg(name="from")] = None,
    steps: int = 10_000_000,
    seed: int = 0,
    episodes: int = 10,
    save_every: int = 100_000,
    max_steps: int | None = None,
    game_options: tuple[str, ...] = (),
    device: str = "auto",
    json: bool = False,
) -> None:
    """Train an expert with PPO or A2C, and measure it; run it again to go on.

    With --policy, --width or --from it is isoclone's own PPO that trains, of any policy and size;
    else stable-baselines3, with the settings of RL Zoo.

    For example:

        isoclone expert train atari/Pong --steps 10000000
        isoclone expert train gym/CartPole-v1 --policy mlp-lstm --width 16 --steps 200000
        isoclone expert train atari/Breakout --from studies-out/breakout --steps 1000000

    Args:
        game: a game's name; `isoclone games` lists them.
        out: directory for the expert; experts-out/<game>-<algorithm> unless said.
        algorithm: ppo or a2c.
        policy: a policy by name, to be trained by isoclone's own PPO.
        width: its size.
        start_from: a checkpoint, or a study, whose best agent is meant: training begins with its
            weights, and it teaches, by a term that fades.
        steps: agent steps to train for, of all slots together.
        seed: seed of the whole training.
        episodes: whole episodes by which the finished expert is measured.
        save_every: (stable-baselines3) steps between checkpoints.
        max_steps: truncate an episode after so many agent steps.
        game_options: settings of the game, as name=value.
        device: auto, cpu, cuda or mps.
        json: print one JSON document.
    """
    from isoclone.cli.console import STDOUT, plus_minus
    from isoclone.cli.output import print_json
    from isoclone.experts import train_expert
    from isoclone.games import game as find_game
    from isoclone.study.clones import best_agent, settings_of
    from isoclone.training.device import found_device
    from isoclone.training.reinforcement.expert import WIDTH, train_agent

    own = policy is not None or width is not None or start_from is not None
    if own and algorithm != "ppo":
        raise SpecError(
            f"--algorithm {algorithm} is stable-baselines3's: leave it out with --from, --policy "
            "and --width"
        )
    if start_from is not None and (policy is not None or width is not None):
        raise SpecError("--from gives policy and size: leave out --policy and --width")
    clone = None if start_from is None else best_agent(start_from)
    options = {} if clone is None else settings_of(clone, game)
    options |= parse_options(game_options, "--game-options")
    if max_steps is not None:
        options["max_steps"] = max_steps
    the_game = find_game(game, **options)
    path = out or OUT / f"{the_game.name.replace('/', '-')}-{'from-clone' if clone else algorithm}"
    with _Bar(f"{algorithm} learns {game}", steps, "steps") as bar:

        def told(now: dict[str, Any]) -> None:
            bar.show(now["steps"], _training_words(now))

        if own:
            done = train_agent(
                the_game,
                path,
                steps,
                policy or "",
                WIDTH if width is None else width,
                clone,
                seed=seed,
                device=found_device(device),
                episodes=episodes,
                progress=told,
            )
        else:
            done = train_expert(
                the_game, path, algorithm, steps, seed, device, episodes, save_every, told
            )
    summary = {"path": path.resolve().as_posix(), **done}
    if json:
        print_json(summary)
        return
    score = done["score"]
    STDOUT.print(
        f"{algorithm} in {game} after {done['steps_taken']:,} steps: "
        f"{plus_minus(score['mean'], score['se'], 1)} over {plural(score['episodes'], 'episode')}"
    )
    STDOUT.print(f"play it with: --expert {path}{'' if own else ' --trust'}")


def _training_words(now: dict[str, Any]) -> str:
    score = "-" if now["score"] is None else f"{now['score']:.1f}"
    return f"score {score}, {now['steps_per_second']:.0f} steps/s"


def score(
    expert: Positional[str],
    game: Positional[str],
    *,
    episodes: int = 10,
    seed: int = 0,
    options: tuple[str, ...] = (),
    game_options: tuple[str, ...] = (),
    frames: str | None = None,
    max_steps: int | None = None,
    trust: bool = False,
    entropy: bool = False,
    json: bool = False,
) -> None:
    """Measure an expert: its mean score with standard error over whole episodes.

    The mean so far is shown on the way; a scoring that is stopped says what it had.

    For example:

        isoclone expert score scripted atari/Breakout --episodes 20
        isoclone expert score ppo.zip gym/CartPole-v1 --trust

    Args:
        expert: an expert's name (`isoclone games` lists them), sb3/<hub id>, an SB3 zip, a
            network (.onnx, .pt, .pt2), the directory of a trained expert, or FILE.py:Name.
        game: a game's name; `isoclone games` lists them.
        episodes: whole episodes to play; every one that is started counts.
        seed: seed of all episodes.
        options: settings of the expert, as name=value.
        game_options: settings of the game, as name=value; see docs/games.md for those of
            Gymnasium's.
        frames: how a Gymnasium game's pictures are shown: auto, grey, rgb, raw or onehot.
        max_steps: truncate an episode after so many agent steps.
        trust: load a pickled checkpoint: it can run any code, so trust its author.
        entropy: measure the entropy of its actions too, the loss that no imitator can go below.
        json: print one JSON document.
    """
    from isoclone.cli.console import STDOUT, plus_minus
    from isoclone.cli.output import print_json
    from isoclone.experts import expert as find_expert
    from isoclone.experts import manner_of, score_expert
    from isoclone.experts.score import random_score
    from isoclone.games import game as find_game

    limits = {} if max_steps is None else {"max_steps": max_steps}
    typed = parse_options(with_frames(game_options, frames), "--game-options")
    the_game = find_game(game, **typed | limits)
    settings = parse_options(options) | ({"trust": True} if trust else {})
    player = find_expert(typed_expert(expert), the_game, **settings)
    with nothing_kept():
        with _Bar(f"{expert} plays {game}", episodes, "episodes") as bar, _SoFar(bar) as so_far:
            result = score_expert(player, the_game, episodes, seed, so_far.tell)
        chance, chance_se = random_score(the_game, seed=seed)
        uncertain = _entropy(player, the_game, episodes, seed) if entropy else None
    if json:
        body = {**result.to_json(), "random_score": chance, "random_se": chance_se}
        print_json(body | ({"entropy": uncertain.to_json()} if uncertain else {}))
        return
    manner = manner_of(result)
    how = f", {manner}" if manner else ""
    STDOUT.print(f"{result.expert} in {game}: {plus_minus(result.mean, result.se, 1)}{how}")
    STDOUT.print(
        f"{plural(result.episodes, 'episode')}, {result.steps:,} steps "
        f"({result.truncated} truncated), {result.steps_per_second:.0f} steps/s; "
        f"random play: {plus_minus(chance, chance_se, 1)}"
    )
    if uncertain:
        STDOUT.print(
            f"entropy of its actions: {plus_minus(uncertain.nats, uncertain.se, 4)} nats an action "
            f"({uncertain.states} states, asked {uncertain.asks} times each); no imitator's dev "
            "loss can be lower"
        )
    for note in result.notes:
        STDOUT.print(f"- {note}", markup=False, highlight=False)


def _entropy(player: Any, the_game: Any, episodes: int, seed: int) -> Any:
    """Measure the entropy of an expert's actions, with a line of progress."""
    from isoclone.experts.entropy import action_entropy

    with _Bar("asks again", episodes, "episodes") as bar:
        return action_entropy(
            player, the_game, episodes, seed=seed, progress=lambda done, _: bar.show(done, "")
        )


class _SoFar:
    """The score so far, beside the bar; what there is of it if it is stopped.

    Use as a context manager around the scoring.
    """

    def __init__(self, bar: _Bar):
        self._bar, self._last = bar, ""

    def tell(self, score: Any, episodes: int) -> None:
        """Take the score of the episodes that are finished."""
        from isoclone.cli.console import plus_minus

        words = plus_minus(score.mean, score.se, 1)
        self._last = f"{score.episodes} of {plural(episodes, 'episode')}: {words}"
        self._bar.show(score.episodes, words)

    def __enter__(self) -> _SoFar:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        from isoclone.cli.screen import STDERR

        if kind is not None and self._last:
            STDERR.say(f"stopped after {self._last}; those under way do not count")


class _Bar:
    """Shows one line of progress on stderr; a line now and then where it is no terminal."""

    def __init__(self, title: str, total: int, unit: str):
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining

        from isoclone.cli.screen import STDERR, Pace

        words = TextColumn("{task.fields[words]}", markup=False)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            Remaining(),
            words,
            console=STDERR,
            disable=not STDERR.is_terminal,
        )
        self._task = self._progress.add_task(title, total=total, words="")
        self._title, self._of, self._pace = title, f"of {total:,} {unit}", Pace(STDERR)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, done: int, words: str) -> None:
        """Bring the line up to date."""
        from isoclone.cli.screen import STDERR

        self._progress.update(self._task, completed=done, words=words)
        if self._pace.due():
            told = f": {words}" if words else ""
            STDERR.say(f"  {self._title}: {done:,} {self._of}{told}")


VERBS: dict[str, Callable[..., Any]] = {"expert train": train, "expert score": score}
