"""Verbs about one run: train it, measure its checkpoints, watch it play."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from isoclone.base.errors import DataError, ExecutionError, SpecError, UnknownNameError
from isoclone.cli.flags import demos_in


def train(
    study: Positional[Path],
    *,
    width: int | None = None,
    run_id: Annotated[str | None, arg(aliases=("--run",))] = None,
    flops: float | None = None,
    seed: int = 0,
    device: str = "cpu",
    json: bool = False,
) -> None:
    """Train and evaluate one size of a study, or one of its runs, to one budget.

    Under torchrun, K processes (GPUs) train it together, each on its share of every batch; the
    numbers are those of one process but for rounding, and it can be resumed with another K:
    torchrun --nproc-per-node K -m isoclone train STUDY --run-id ID

    Args:
        study: a study directory with demonstrations.
        width: the policy's width, for a run outside the sweep.
        run_id: a run's id, instead of a width: one of the sweep's, or the forecast's. (Not --run
            under torchrun, which takes that for its own.)
        flops: the budget, in FLOPs; a run's next one unless said.
        seed: training seed of a width.
        device: cpu, cuda or mps.
        json: print one JSON document.
    """
    from isoclone.base import distributed
    from isoclone.cli.console import STDOUT, point_line, print_json
    from isoclone.study import pipeline
    from isoclone.study.study import Study
    from isoclone.training.device import check_device

    with distributed.joined(check_device(device)) as mine:
        the_study = Study.open(study)
        if run_id is not None and width is None:
            point = pipeline.train_run(the_study, run_id, flops, mine)
        elif run_id is None and width is not None and flops is not None:
            point = pipeline.train_size(the_study, width, flops, seed, mine)
        else:
            raise SpecError("give either --width and --flops, or --run-id")
        if distributed.leads():
            print_json(point) if json else STDOUT.print(point_line(point))
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
    character: str | None = None,
    max_steps: int | None = None,
    keep: Path | None = None,
    device: str = "cpu",
    json: bool = False,
) -> None:
    """Evaluate a checkpoint: mean return over whole episodes, and dev loss if demos are given.

    For NetHack also how deep and how long the games went, and what ended them.

    Args:
        checkpoint: a .safetensors file of a run, a run's folder, or a study.
        episodes: episodes to play.
        seed: seed of the episodes and of the policy's sampling.
        sampling: 'sample' from the policy, take its 'argmax', or settings such as
            temperature=0.7,top_p=0.9,top_k=5.
        demos: demonstrations whose dev episodes the loss is measured on.
        dev_samples: about how many dev samples to use.
        character: (NetHack) who is played, as in mon-hum-neu-mal; the study's unless said.
        max_steps: cut an episode off after so many agent steps; as in the study unless said.
        keep: (NetHack) a folder for recordings of the games (ttyrecs).
        device: cpu, cuda or mps.
        json: print one JSON document.
    """
    from isoclone.cli.console import STDOUT, ConsoleObserver, plus_minus, print_json, show_episodes
    from isoclone.evaluation.dev_loss import dev_loss
    from isoclone.evaluation.rollout import rollout, summary
    from isoclone.training.checkpoint import load_checkpoint
    from isoclone.training.device import check_device

    policy = load_checkpoint(_checkpoint_in(checkpoint), check_device(device))
    cache = _cache_for(policy, demos) if demos is not None else None
    the_game = _game_of(policy, character=character, max_steps=max_steps)
    with ConsoleObserver() as observer:
        observer.phase("play", f"{episodes} episodes of {the_game.name}")
        played = rollout(
            policy,
            the_game,
            episodes,
            seed,
            sampling,
            progress=lambda finished: observer.progress("episodes", finished, episodes),
            keep=keep,
        )
    figures: dict[str, Any] = {
        "run_id": policy.run.id,
        "return_mean": played.mean,
        "return_se": played.se,
        "episodes": episodes,
        "truncated": int(played.truncated.sum()),
        "length_mean": float(played.lengths.mean()),
        "returns": played.returns,
    }
    if cache is not None:
        loss = dev_loss(policy, cache, dev_samples)
        figures |= {"dev_loss": loss.mean, "dev_loss_se": loss.se, "dev_accuracy": loss.accuracy}
        figures["dev_accuracy_top3"] = loss.accuracy_top3
    if played.facts:
        figures |= {
            "summary": summary(played.facts, getattr(the_game, "episode_summary", None)),
            "facts": played.facts,
        }
    if json:
        print_json(figures)
        return
    STDOUT.print(f"return {plus_minus(played.mean, played.se, 2)} over {episodes} episodes")
    if played.facts:
        show_episodes(figures["summary"])
    if cache is not None:
        loss_text = plus_minus(figures["dev_loss"], figures["dev_loss_se"])
        STDOUT.print(f"dev loss {loss_text} nats, accuracy {figures['dev_accuracy']:.3f}")


def _game_of(policy: Any, **changes: Any) -> Any:
    """The game a policy was trained and measured on, step limit and all, but for what is given."""
    from isoclone.games import game

    given = {name: value for name, value in changes.items() if value is not None}
    return game(policy.run.game, **{**policy.run.game_options, **given})


def _cache_for(policy: Any, demos: Path) -> Any:
    """The demonstrations' cache, encoded as the policy wants it."""
    from isoclone.demos import open_demos

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
    """Film a checkpoint at play; watch an agent of NetHack, or a recording, in the terminal.

    Args:
        source: a checkpoint (.safetensors), a run's folder or a study, or a NetHack recording
            (.ttyrec3.bz2).
        out: the video to write, an .mp4 or a .gif; play.mp4 unless said, none of NetHack.
        seed: which episodes.
        sampling: 'sample' from the policy or take its 'argmax'.
        at: (NetHack) the frame to begin at; below 0 it counts from the end.
        frames: (NetHack) print so many frames plainly instead of playing them; without a terminal
            one is printed.
        json: print one JSON document.
    """
    from isoclone.cli.console import STDOUT, print_json
    from isoclone.evaluation.video import write_video
    from isoclone.nethack.watch import Reel, played, recorded
    from isoclone.training.checkpoint import load_checkpoint

    if frames is not None and frames < 1:
        raise SpecError(f"--frames must be at least 1, not {frames}")
    if ".ttyrec" in source.name:
        if out is not None:
            raise SpecError(f"--out films a checkpoint at play; {source} is a recording")
        _show_reel(source, Reel(recorded(source)), at, frames, json)
        return
    policy = load_checkpoint(_checkpoint_in(source))
    game = _game_of(policy)
    if policy.run.game.startswith("nethack/") and out is None:
        chunk = 1 if frames is None else max(1, frames)  # no further ahead than is looked at
        _show_reel(source, Reel(played(policy, game, seed, sampling), chunk), at, frames, json)
        return
    out = out or Path("play.mp4")
    score = write_video(policy, game, out, seed, sampling)
    result = {"video": out.resolve().as_posix(), "return": score}
    print_json(result) if json else STDOUT.print(f"{out}: an episode that returned {score:g}")


def _checkpoint_in(path: Path) -> Path:
    """The checkpoint that a path means: a file; a run's largest; a study's forecast agent, or until
    there is one, its largest."""
    from isoclone.remote import Remote, address_of, local, name_of
    from isoclone.study.folder import HEAVY, STUDY_FILE
    from isoclone.study.study import Study

    address, name = address_of(path), name_of(path)
    if address and name.endswith(".safetensors"):
        folder = Remote(address.replace(f"/{name}", "", 1))
        folder.pull([name])
        return folder.path / name
    path = local(path, but=HEAVY)
    if not path.is_dir():
        return path
    if (path / STUDY_FILE).exists():
        agents = [path / p.checkpoint for p in Study.open(path).points("forecast") if p.checkpoint]
        if agents and agents[-1].exists():
            return agents[-1]
    found = [
        *path.glob("checkpoints/*.safetensors"),
        *path.glob("runs/*/checkpoints/*.safetensors"),
    ]
    if not found:
        raise DataError(f"{path} holds no checkpoint of a run yet")
    return max(found, key=lambda file: (float(file.stem), file.stat().st_mtime))


def _show_reel(source: Path, reel: Any, at: int, frames: int | None, json: bool) -> None:
    """Play a reel on the terminal, print some frames of it, or tell of them as JSON."""
    import sys

    from isoclone.cli.console import print_json
    from isoclone.nethack.watch import key_name, lines, watch

    if frames is None and not json and sys.stdout.isatty():
        watch(reel, at)
        return
    first = at if at >= 0 else reel.last() + 1 + at
    shots = [reel.get(number) for number in range(first, first + (1 if frames is None else frames))]
    shown = [shot for shot in shots if shot is not None]
    if not shown:
        raise SpecError(f"{source} has no frame {at}; it has {len(reel)}")
    if json:
        told = [
            {"key": key_name(shot.key), "score": shot.score, "screen": lines(shot.frame)}
            for shot in shown
        ]
        facts = {"frames": reel.last() + 1, "score": reel.score()}
        print_json({"source": source.resolve().as_posix(), **facts, "first": first, "shown": told})
        return
    for number, shot in enumerate(shown, first):
        print("\n".join(lines(shot.frame)).rstrip())
        print(f"-- frame {number:,}, key {key_name(shot.key)}, score {shot.score:,}")


def games(contains: Annotated[str, Positional] = "", *, json: bool = False) -> None:
    """List the games there are.

    Args:
        contains: only names with this in them.
        json: print one JSON document.
    """
    from isoclone.cli.console import STDOUT, print_json
    from isoclone.games import game_names

    names = [name for name in game_names() if contains.lower() in name.lower()]
    if not names:
        raise UnknownNameError("game", contains, game_names())
    print_json(names) if json else STDOUT.print("\n".join(names))


VERBS: dict[str, Callable[..., Any]] = {
    "train": train,
    "evaluate": evaluate,
    "play": play,
    "games": games,
}
