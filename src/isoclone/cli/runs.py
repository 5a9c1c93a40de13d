"""Verbs about one run: train it, evaluate its checkpoints, film it at play."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from isoclone.base.errors import ExecutionError, SpecError
from isoclone.base.formatting import plural
from isoclone.cli.flags import parse_options

if TYPE_CHECKING:
    from isoclone.evaluation.rollout import Returns
    from isoclone.games.accounts import EpisodeAccount


def train(
    study: Positional[Path],
    *,
    width: int | None = None,
    run_id: Annotated[str | None, arg(aliases=("--run",))] = None,
    flops: float | None = None,
    seed: int = 0,
    device: str = "cpu",
    allow_other_version: bool = False,
    track: tuple[str, ...] = (),
    json: bool = False,
) -> None:
    """Train one size of a study, or one of its runs, to a budget, and evaluate it.

    Under torchrun, K processes (GPUs) train it together, each on its share of every batch; the
    numbers are those of one process but for rounding, and it can be resumed with another K.

    For example:

        isoclone train studies-out/toy --width 8 --flops 1e9
        isoclone train studies-out/toy --run-id 7482a432cf44
        torchrun --nproc-per-node K -m isoclone train studies-out/toy --run-id 7482a432cf44

    Args:
        study: a study directory with demonstrations.
        width: the policy's width, for a run outside the sweep.
        run_id: a run's id, instead of a width: one of the sweep's, or the forecast's. (Not --run
            under torchrun, which takes that for its own.)
        flops: the budget, in FLOPs; a run's next one unless said.
        seed: training seed of a width.
        device: cpu, cuda or mps.
        allow_other_version: go on where another version of isoclone or torch, or another kind of
            device, made points; each point says what made it.
        track: show curve and point in tensorboard or wandb, or both.
        json: print one JSON document.
    """
    from isoclone.base import distributed
    from isoclone.cli.console import STDOUT, point_line
    from isoclone.cli.output import print_json
    from isoclone.study import pipeline
    from isoclone.study.session import Session
    from isoclone.study.study import Study
    from isoclone.study.track import tracking
    from isoclone.training.device import check_device

    with distributed.joined(check_device(device)) as mine:
        the_study = Study.open(study)
        names = track if distributed.leads() else ()
        with tracking(names, the_study.folder, the_study.spec.name) as tracker:
            session = Session(device=mine, allow_other_version=allow_other_version, tracker=tracker)
            if run_id is not None and width is None:
                point = pipeline.train_run(the_study, run_id, flops, session)
            elif run_id is None and width is not None and flops is not None:
                point = pipeline.train_size(the_study, width, flops, seed, session)
            else:
                raise SpecError("give either --width and --flops, or --run-id")
        if distributed.leads():
            print_json(point) if json else STDOUT.say(point_line(point))
        if point.status == "failed":
            raise ExecutionError(f"run {point.run_id} failed: {point.reason}")


def evaluate(
    checkpoint: Positional[Path],
    *,
    episodes: int = 32,
    seed: int = 0,
    sampling: str = "sample",
    demos: Path | None = None,
    dev_samples: int = 20_000,
    game_options: tuple[str, ...] = (),
    max_steps: int | None = None,
    keep: Path | None = None,
    device: str = "cpu",
    json: bool = False,
) -> None:
    """Evaluate a checkpoint: mean return over whole episodes, and dev loss if demos are given.

    Where the game tells more of an episode (what ended it, how far it went), that is shown, too.

    For example:

        isoclone evaluate studies-out/toy --episodes 100 --demos demos/toy

    Args:
        checkpoint: a .safetensors file; a run's folder, for its largest budget; or a study, for its
            forecast agent.
        episodes: episodes to play.
        seed: seed of the episodes and of the policy's sampling.
        sampling: 'sample' from the policy, take its 'argmax', or settings such as
            temperature=0.7,top_p=0.9,top_k=5.
        demos: demonstrations whose dev episodes the loss is measured on.
        dev_samples: about how many dev samples to use.
        game_options: settings of the game, as name=value; the study's unless said.
        max_steps: cut an episode off after so many agent steps; as in the study unless said.
        keep: a folder for recordings of the episodes, where the game can record.
        device: cpu, cuda or mps.
        json: print one JSON document.
    """
    from isoclone.agents.checkpoint import load_checkpoint
    from isoclone.cli.console import (
        STDOUT,
        ConsoleObserver,
        plus_minus,
        print_plain,
        show_account,
        show_episodes,
    )
    from isoclone.cli.output import print_json
    from isoclone.evaluation.dev_loss import dev_loss
    from isoclone.evaluation.rollout import rollout
    from isoclone.evaluation.summary import summary
    from isoclone.games import is_playable
    from isoclone.study.checkpoints import checkpoint_in
    from isoclone.training.device import check_device

    file = checkpoint_in(checkpoint)
    policy = load_checkpoint(file, check_device(device))
    judged_on = _source_for(policy, demos) if demos is not None else None
    the_game = _game_of(policy, game_options, max_steps)
    played: Returns | None = None
    account: EpisodeAccount | None = None
    if is_playable(the_game):
        with ConsoleObserver() as observer:
            observer.phase("play", f"{plural(episodes, 'episode')} of {the_game.name}")
            played = rollout(
                policy,
                the_game,
                episodes,
                seed,
                sampling,
                progress=lambda finished: observer.progress("episodes", finished, episodes),
                keep=keep,
            )
    elif judged_on is None:
        raise SpecError(
            f"{the_game.name} has no environment to play in: give --demos, for the dev loss"
        )
    figures: dict[str, Any] = {
        "run_id": policy.run.id,
        "checkpoint": file.as_posix(),
        **_figures_of(played),
    }
    if judged_on is not None:
        figures |= dev_loss(policy, judged_on, dev_samples).columns()
    if played and played.facts:
        figures |= {
            "summary": summary(played.facts, getattr(the_game, "episode_summary", None)),
            "facts": played.facts,
        }
        tell = getattr(the_game, "account_of", None)
        account = tell(played.facts) if tell else None
        figures |= {"account": account.figures} if account else {}
    if json:
        print_json(figures)
        return
    print_plain(f"{policy.run.label}, {file}")
    if played:
        many = plural(episodes, "episode")
        STDOUT.say(f"return {plus_minus(played.mean, played.se, 2)} over {many}")
    if played and played.facts:
        show_episodes(figures["summary"])
    if account:
        show_account(account)
    if judged_on is not None:
        loss_text = plus_minus(figures["dev_loss"], figures["dev_loss_se"])
        STDOUT.say(f"dev loss {loss_text} nats, accuracy {figures['dev_accuracy']:.3f}")
        if figures["dev_loss_parts"] is not None:
            STDOUT.say(f"  by part: {figures['dev_loss_parts']}")


def _figures_of(played: Returns | None) -> dict[str, Any]:
    """Return what is told of episodes; None where there is no environment to play them in."""
    if played is None:
        return dict.fromkeys(("return_mean", "return_se", "return_median")) | {"episodes": 0}
    return {
        "return_mean": played.mean,
        "return_se": played.se,
        "return_median": played.median,
        "episodes": len(played.returns),
        "truncated": int(played.truncated.sum()),
        "length_mean": float(played.lengths.mean()),
        "returns": played.returns,
    }


def _game_of(policy: Any, options: tuple[str, ...] = (), max_steps: int | None = None) -> Any:
    """Return the game a policy was trained and measured on, but for what is given."""
    from isoclone.games import game

    limits = {} if max_steps is None else {"max_steps": max_steps}
    given = parse_options(options, "--game-options") | limits
    return game(policy.run.game, **policy.run.game_options | given)


def _source_for(policy: Any, demos: Path) -> Any:
    """Return the demonstrations as the policy reads them."""
    from isoclone.demos import demos_in, open_demos

    found = open_demos(demos_in(demos))
    if found.fingerprint != policy.run.demos:
        raise SpecError(
            f"{demos} has fingerprint {found.fingerprint}; the policy was trained on "
            f"{policy.run.demos}, so its dev episodes may be others"
        )
    return found.source(policy.encoder.kind, policy.encoder.layout)


def play(
    source: Positional[Path],
    *,
    out: Path | None = None,
    seed: int = 0,
    sampling: str = "sample",
    at: int = 0,
    frames: int | None = None,
    json: bool = False,
) -> None:
    """Film a checkpoint at play; games that are text are watched in the terminal instead.

    In the terminal, space pauses, arrows step, + and - change the speed, q ends.

    For example:

        isoclone play policy.safetensors --out play.mp4

    Args:
        source: a checkpoint (.safetensors), a run's folder, a study, or a file that an installed
            viewer shows.
        out: the video to write, an .mp4 or a .gif; play.mp4 unless said, and none of a game that
            is watched in the terminal.
        seed: which episodes.
        sampling: 'sample' from the policy or take its 'argmax'.
        at: the frame to begin at, for games watched in the terminal; below 0 it counts from the
            end.
        frames: print so many frames plainly instead of playing them, for games watched in the
            terminal; one where standard output is no terminal.
        json: print one JSON document.
    """
    from isoclone.agents.checkpoint import load_checkpoint
    from isoclone.cli.console import STDOUT
    from isoclone.cli.output import note, print_json
    from isoclone.evaluation.video import write_video
    from isoclone.study.checkpoints import checkpoint_in

    if frames is not None and frames < 1:
        raise SpecError(f"--frames must be at least 1, not {frames}")
    flags: dict[str, Any] = {"out": out, "seed": seed, "sampling": sampling, "at": at}
    flags |= {"frames": frames, "json": json}
    if viewer := _viewer_of(source, None):
        viewer.show(source, policy=None, **flags)
        return
    policy = load_checkpoint(checkpoint_in(source))
    if out is None and (viewer := _viewer_of(source, policy.run.game)):
        viewer.show(source, policy=policy, **flags)
        return
    out = out or Path("play.mp4")
    said: list[str] = []
    score = write_video(policy, _game_of(policy), out, seed, sampling, said.append)
    for each in said:
        note(each)
    result = {"video": out.resolve().as_posix(), "return": score}
    print_json(result) if json else STDOUT.say(f"{out}: an episode that returned {score:g}")


def _viewer_of(source: Path, game_name: str | None) -> Any:
    """Return the first registered viewer that shows the source; None if there is none."""
    from isoclone.base.tables import VIEWERS

    viewers = (VIEWERS.make(name) for name in VIEWERS.names())
    return next((viewer for viewer in viewers if viewer.accepts(source, game_name)), None)


VERBS: dict[str, Callable[..., Any]] = {
    "train": train,
    "evaluate": evaluate,
    "play": play,
}
