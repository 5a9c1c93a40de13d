"""Verbs that make, run and look at studies, demonstrations and runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from tyro.conf import Positional, arg

from isoclone.errors import DataError, SpecError, UnknownNameError

OUT = Path("studies-out")
MADE_BY = "made_by.json"  # in a study's directory: the Python file it came from, by its path
DEMOS_OUT = Path("demos-out")
T = TypeVar("T")


def run(
    study: Positional[str],
    *,
    out: Path | None = None,
    demos: Path | None = None,
    seeds: tuple[int, ...] | None = None,
    samples: int | None = None,
    widths: tuple[int, ...] | None = None,
    budgets: tuple[float, ...] | None = None,
    episodes: int | None = None,
    recipe: str | None = None,
    forecast_flops: float | None = None,
    executor: str = "processes",
    workers: int | None = None,
    address: str | None = None,
    cpus: float | None = None,
    gpus: float | None = None,
    executor_options: tuple[str, ...] = (),
    device: str = "cpu",
    json: bool = False,
) -> None:
    """Carry out a whole study: demonstrations, sweep, laws, forecast, agent, report.

    Run the same command again to go on after an interruption; finished work is not done twice.

    Args:
        study: a built-in name (breakout, toy), atari/<Name>, a Python file with a `study` object,
            or a study directory to resume.
        out: where to put it; studies-out/<name> unless said.
        demos: use these demonstrations instead of recording some.
        seeds: training seeds.
        samples: demonstrations to record, in samples.
        widths: sizes of the grid, ascending.
        budgets: compute budgets in FLOPs, ascending.
        episodes: episodes played for each point's mean return.
        recipe: training recipe by name (lean, paper).
        forecast_flops: where the forecast is put to the test.
        executor: who does the work: processes, serial, ray, slurm.
        workers: how many at once; unless said, one a core, or what the cluster has room for.
        address: (ray) the cluster, as host:port or auto; Ray is started here unless said.
        cpus: (ray, slurm) CPUs each run asks for; 1 unless said.
        gpus: GPUs each run on cuda asks for, or the share of one: 10 runs of 0.1 share one GPU.
        executor_options: the executor's other options, as name=value; see docs/cluster.md.
        device: cpu, cuda or mps.
        json: print one JSON document instead of the closing table.
    """
    from isoclone.console import ConsoleObserver, print_json, show_plan, show_result
    from isoclone.executors import executor as make_executor
    from isoclone.store import read_json

    changes = _changes(demos, seeds, samples, widths, budgets, episodes, recipe, forecast_flops)
    options = executor_options_of(address, cpus, gpus, executor_options)
    pool = make_executor(executor, workers, **options)
    the_study = _study(study, out, changes, device)
    plan = the_study.plan(pool.workers)
    show_plan(plan)
    with ConsoleObserver(plan) as observer:
        the_study.run(pool, observer, device)
    laws, tested = (read_json(the_study.path / f"{name}.json") for name in ("laws", "forecast"))
    if json:
        print_json(
            {
                "path": the_study.path.resolve().as_posix(),
                "place": the_study.place,
                "points": len(the_study.points()),
                "laws": laws,
                **tested,
                "references": the_study.references(),
                "savings": the_study.savings(),
            }
        )
    else:
        show_result(the_study, laws, tested)


def executor_options_of(
    address: str | None, cpus: float | None, gpus: float | None, others: tuple[str, ...]
) -> dict[str, Any]:
    """The executor's options that were given."""
    from isoclone.cli.expert import parse_options

    given = {"address": address, "cpus": cpus, "gpus": gpus}
    named = {name: value for name, value in given.items() if value is not None}
    return named | parse_options(others, "--executor-options")


def _changes(
    demos: Path | None,
    seeds: tuple[int, ...] | None,
    samples: int | None,
    widths: tuple[int, ...] | None,
    budgets: tuple[float, ...] | None,
    episodes: int | None,
    recipe: str | None,
    forecast_flops: float | None,
) -> dict[str, Any]:
    """The flags that were given, as fields of a specification."""
    from isoclone.demos import open_demos
    from isoclone.recipes import recipe as named
    from isoclone.remote import address_of

    where = (address_of(demos) or str(demos_in(demos).resolve())) if demos else None
    given = {
        "demos": where,
        "expert": open_demos(where, verify=False).expert_name if where else None,
        "seeds": seeds,
        "samples": samples,
        "widths": widths,
        "budgets_flops": budgets,
        "episodes": episodes,
        "recipe": named(recipe).to_json() if recipe else None,
        "forecast_flops": forecast_flops,
    }
    return {name: value for name, value in given.items() if value is not None}


def _study(source: str, out: Path | None, changes: dict[str, Any], device: str) -> Any:
    """The study that a name, a file or a directory means."""
    from isoclone.store import write_json
    from isoclone.study import Study
    from isoclone.train import check_device

    check_device(device)
    if _is_directory(source, asked=bool(changes or out)):
        if changes or out:
            raise SpecError(
                f"{source} is a study already: it is resumed as it is; give a name and --out for "
                "a different one"
            )
        return Study.open(source)
    spec = _named_spec(source)
    if changes:
        spec = spec.replace(**changes)
    study = Study.create(out or OUT / spec.name, spec, device=device)
    if source.endswith(".py"):
        write_json(study.path / MADE_BY, {"file": str(Path(source).resolve())})
    return study


def _is_directory(source: str, asked: bool) -> bool:
    """Whether a directory is meant. A study's own name means the study, whatever lies about here.

    A directory `toy` in this folder is resumed by `toy` only if it holds a study and nothing else
    is `asked` for.
    """
    from isoclone.builtins import builtin_names
    from isoclone.remote import address_of

    if address_of(source):
        return True
    if not Path(source).is_dir():
        return False
    return source not in builtin_names() or ((Path(source) / "study.json").exists() and not asked)


def _named_spec(source: str) -> Any:
    from isoclone.builtins import builtin
    from isoclone.spec import StudySpec

    return object_in(source, "study", StudySpec) if source.endswith(".py") else builtin(source)


def object_in(file: str, name: str, kind: type[T]) -> T:
    """The object of that name and kind in a user's Python file, which workers will run, too."""
    from isoclone.executors.setup import STUDY_FILE_VARIABLE, run_file

    found = run_file(file).get(name)
    os.environ[STUDY_FILE_VARIABLE] = str(Path(file).resolve())
    if not isinstance(found, kind):
        raise SpecError(f"{file} must set `{name}` to an isoclone.{kind.__name__}")
    return found


def plan(
    study: Positional[str],
    *,
    out: Path | None = None,
    demos: Path | None = None,
    seeds: tuple[int, ...] | None = None,
    samples: int | None = None,
    widths: tuple[int, ...] | None = None,
    budgets: tuple[float, ...] | None = None,
    episodes: int | None = None,
    recipe: str | None = None,
    forecast_flops: float | None = None,
    workers: int | None = None,
    target_return: float | None = None,
    target_loss: float | None = None,
    group: str | None = None,
    price_device: str = "cpu-core",
    utilisation: float | None = None,
    price_per_hour: float | None = None,
    sharpen_flops: float | None = None,
    json: bool = False,
) -> None:
    """Show what a study would run, or from a table of runs what a target would cost.

    For a study: sizes, budgets, FLOPs and expected time, measured on this machine. For a table
    (.csv, .parquet) and a target: compute, size, samples, hours, money, and the next runs that
    would sharpen the forecast most. Nothing is written.

    Args:
        study: as for `run`, or a table of runs.
        out: where the study is or would be.
        demos: as for `run`.
        seeds: as for `run`.
        samples: as for `run`.
        widths: as for `run`.
        budgets: as for `run`.
        episodes: as for `run`.
        recipe: as for `run`.
        forecast_flops: as for `run`.
        workers: how many at once; the number of cores unless said.
        target_return: (table) the mean return wanted.
        target_loss: (table) the dev loss wanted, in nats.
        group: (table) only this group of runs.
        price_device: (table) the device that hours and money are reckoned on.
        utilisation: (table) share of the device's peak that training reaches.
        price_per_hour: (table) what an hour of the device costs.
        sharpen_flops: (table) FLOPs that may be spent on runs that sharpen the forecast.
        json: print one JSON document.
    """
    from isoclone.console import STDOUT, print_json, show_plan
    from isoclone.executors import check_workers

    if study.endswith((".csv", ".parquet")):
        from isoclone.cli.laws import plan_from_table

        plan_from_table(
            Path(study),
            target_return=target_return,
            target_loss=target_loss,
            group=group,
            device=price_device,
            utilisation=utilisation,
            price_per_hour=price_per_hour,
            sharpen_flops=sharpen_flops,
            json=json,
        )
        return
    if target_return is not None or target_loss is not None:
        raise SpecError("--target-return and --target-loss need a table of runs (.csv, .parquet)")
    changes = _changes(demos, seeds, samples, widths, budgets, episodes, recipe, forecast_flops)
    planned = planned_study(study, out, changes).plan(check_workers(workers))
    print_json(planned) if json else show_plan(planned, STDOUT)


def planned_study(source: str, out: Path | None, changes: dict[str, Any]) -> Any:
    """The study that a name, a file or a directory means, without writing anything."""
    from isoclone.remote import local
    from isoclone.study import HEAVY, Study

    if _is_directory(source, asked=bool(changes or out)):
        return Study.open(source)
    spec = _named_spec(source)
    spec = spec.replace(**changes) if changes else spec
    spec.check()
    return Study(local(out or OUT / spec.name, but=HEAVY), spec)


def status(study: Positional[Path], *, json: bool = False) -> None:
    """Show how far a study is: points, FLOPs, what runs just now, what failed.

    Args:
        study: a study directory.
        json: print one JSON document.
    """
    from isoclone.console import STDOUT, point_line, print_json, read_progress
    from isoclone.study import Study

    the_study = Study.open(study)
    points, sweep, here = the_study.points(None), the_study.sweep(), the_study.path
    state = {
        "path": here.resolve().as_posix(),
        "place": the_study.place,
        "demos": (here / "demos" / "demonstrations.json").exists() or bool(the_study.spec.demos),
        "points": len(points),
        "sweep_complete": sweep.complete,
        "next": [vars(cell) for cell in sweep.cells],
        "running": [row for row in read_progress(here) if row["live"]],
        "troubled": [p.to_json() for p in points if p.status != "ok"],
        "laws": (here / "laws.json").exists(),
        "forecast_tested": (here / "forecast.json").exists(),
        "report": (here / "report.html").exists(),
        **{k: v for k, v in the_study.savings().items() if k != "decisions"},
    }
    if json:
        print_json(state)
        return
    for point in points:
        STDOUT.print(point_line(point))
    for name in ("demos", "sweep_complete", "laws", "forecast_tested", "report"):
        STDOUT.print(f"{name.replace('_', ' ')}: {'yes' if state[name] else 'no'}")
    for row in state["running"]:
        STDOUT.print(f"running: {row['label']} to {row['budget_flops']:.3g} FLOPs, {row['phase']}")
    for cell in sweep.cells:
        STDOUT.print(f"next: width {cell.width} seed {cell.seed} to {cell.budget_flops:.3g} FLOPs")


def report(study: Positional[Path], *, json: bool = False) -> None:
    """Write a study's report anew.

    Args:
        study: a study directory.
        json: print one JSON document.
    """
    from isoclone.console import STDOUT, print_json
    from isoclone.study import Study

    path = Study.open(study).report()
    print_json({"report": path.resolve().as_posix()}) if json else STDOUT.print(str(path))


def record(
    game: Positional[str],
    *,
    out: Path | None = None,
    expert: str = "scripted",
    samples: int | None = None,
    games: int | None = None,
    character: str | None = None,
    autoascend: Path | None = None,
    seed: int = 0,
    dev_fraction: float = 0.1,
    max_steps: int | None = None,
    trust: bool = False,
    executor: str = "processes",
    workers: int | None = None,
    address: str | None = None,
    cpus: float | None = None,
    gpus: float | None = None,
    executor_options: tuple[str, ...] = (),
    json: bool = False,
) -> None:
    """Record an expert's demonstrations, in parallel; run it again to go on.

    Args:
        game: toy, atari/<Name>, gym/<id>, nethack.
        out: directory for the demonstrations; demos-out/<game>-<expert> unless said.
        expert: scripted, lookahead, random, autoascend, sb3/<hub id>, or an SB3 zip.
        samples: at least so many samples (100,000 unless said); the last episode is finished.
        games: (NetHack) games to record, 100 unless said; more of them later goes on with these.
        character: (NetHack) who is played, as role-race-alignment-gender, or '@' for anybody.
        autoascend: (NetHack) your checkout of AutoAscend.
        seed: seed of the whole recording.
        dev_fraction: share of episodes held out.
        max_steps: truncate an episode after so many agent steps.
        trust: load a pickled checkpoint: it can run any code, so trust its author.
        executor: as for `run`.
        workers: as for `run`.
        address: as for `run`.
        cpus: as for `run`.
        gpus: as for `run`.
        executor_options: as for `run`.
        json: print one JSON document.
    """
    from isoclone.cli.demos import record_nethack
    from isoclone.console import ConsoleObserver
    from isoclone.demos import RecordRequest
    from isoclone.demos import record as do_record
    from isoclone.demos.nld import NldRecordRequest
    from isoclone.executors import executor as make_executor

    options = executor_options_of(address, cpus, gpus, executor_options)
    out = out or DEMOS_OUT / f"{game}-{expert}".replace("/", "-").lower()
    limits = {} if max_steps is None else {"max_steps": max_steps}
    if game.partition("/")[0] == "nethack":
        if samples is not None:
            raise SpecError("--samples: NetHack is recorded in whole games; give --games")
        nld_request = NldRecordRequest(
            games=100 if games is None else games,
            expert=expert,
            seed=seed,
            game=game,
            game_options=limits | ({} if character is None else {"character": character}),
            expert_options={} if autoascend is None else {"path": str(autoascend.resolve())},
        )
        pool = make_executor(executor, workers, **options)
        record_nethack(nld_request, out, dev_fraction, pool, json)
        return
    for flag, value in (("games", games), ("character", character), ("autoascend", autoascend)):
        if value is not None:
            raise SpecError(f"--{flag} is for NetHack, not for {game}")
    request = RecordRequest(
        game=game,
        expert=expert,
        samples=100_000 if samples is None else samples,
        seed=seed,
        dev_fraction=dev_fraction,
        game_options=limits,
        expert_options={"trust": True} if trust else {},
    )
    with ConsoleObserver() as observer, make_executor(executor, workers, **options) as pool:
        observer.phase("record", f"{expert} plays {game}")
        do_record(request, out, pool, observer.progress)
    demos_show(out, json=json)


def demos_in(path: Path) -> Path:
    """The demonstrations that a directory holds, or is: a study and a recording hold them."""
    inner = path / "demos"
    return inner if (inner / "request.json").exists() else path


def demos_show(demos: Positional[Path], *, json: bool = False) -> None:
    """Show demonstrations: game, expert, score, episodes, split, fingerprint. Verifies every file.

    Args:
        demos: a directory of demonstrations, or a study directory.
        json: print one JSON document.
    """
    from isoclone.cli.demos import nld_summary, show_nld
    from isoclone.console import STDOUT, plus_minus, print_json
    from isoclone.demos import open_demos
    from isoclone.demos.nld import NldDemonstrations

    found = open_demos(demos_in(demos))
    if isinstance(found, NldDemonstrations):
        print_json(nld_summary(found)) if json else show_nld(found)
        return
    mean, se = found.score()
    ends = [info.end for info in found.episodes]
    size = sum(found.episode_path(i.index).stat().st_size for i in found.episodes)
    summary = {
        "path": found.path.resolve().as_posix(),
        "game": found.game_name,
        "expert": found.expert_name,
        "score_mean": mean,
        "score_se": se,
        "samples": found.samples,
        "train_samples": found.samples_in("train"),
        "dev_samples": found.samples_in("dev"),
        "bytes_per_sample": size / found.samples,
        "terminated": ends.count("terminated"),
        "truncated": ends.count("truncated"),
        "fingerprint": found.fingerprint,
        "episodes": [{**vars(i), "split": found.split_of(i)} for i in found.episodes],
    }
    if json:
        print_json(summary)
        return
    STDOUT.print(f"{found.expert_name} in {found.game_name}: {plus_minus(mean, se, 1)}")
    STDOUT.print(
        f"{found.samples:,} samples ({summary['train_samples']:,} train, "
        f"{summary['dev_samples']:,} dev) in {len(ends)} episodes "
        f"({ends.count('terminated')} terminated, {ends.count('truncated')} truncated), "
        f"{summary['bytes_per_sample']:.1f} bytes a sample"
    )
    STDOUT.print(f"fingerprint {found.fingerprint}, every file verified")


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
    from isoclone import ranks
    from isoclone.console import STDOUT, point_line, print_json
    from isoclone.study import Study
    from isoclone.train import check_device

    with ranks.joined(check_device(device)) as mine:
        the_study = Study.open(study)
        if run_id is not None and width is None:
            point = the_study.train_run(run_id, flops, mine)
        elif run_id is None and width is not None and flops is not None:
            point = the_study.train_one(width, flops, seed, mine)
        else:
            raise SpecError("give either --width and --flops, or --run-id")
        if ranks.leads():
            print_json(point) if json else STDOUT.print(point_line(point))


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
    from isoclone.checkpoint import load_checkpoint
    from isoclone.console import STDOUT, ConsoleObserver, plus_minus, print_json, show_episodes
    from isoclone.evaluate import dev_loss, rollout, summary
    from isoclone.train import check_device

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
        figures |= {"summary": summary(played.facts), "facts": played.facts}
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
    from isoclone.demos.feed import open_source

    found = open_demos(demos)
    if found.fingerprint != policy.run.demos:
        raise SpecError(
            f"{demos} has fingerprint {found.fingerprint}; the policy was trained on "
            f"{policy.run.demos}, so its dev episodes may be others"
        )
    return open_source(found, policy.encoder.kind, policy.encoder.layout)


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
    from isoclone.checkpoint import load_checkpoint
    from isoclone.console import STDOUT, print_json
    from isoclone.video import write_video
    from isoclone.watch import Reel, played, recorded

    if ".ttyrec" in source.name:
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
    """The checkpoint that a path means: a file; a run's largest; a study's best-trained agent."""
    from isoclone.remote import local
    from isoclone.study import HEAVY

    path = local(path, but=HEAVY)
    if not path.is_dir():
        return path
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

    from isoclone.console import print_json
    from isoclone.watch import key_name, lines, watch

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
    for number, shot in enumerate(shown, first + 1):
        print("\n".join(lines(shot.frame)).rstrip())
        print(f"-- frame {number:,}, key {key_name(shot.key)}, score {shot.score:,}")


def games(contains: Annotated[str, Positional] = "", *, json: bool = False) -> None:
    """List the games there are.

    Args:
        contains: only names with this in them.
        json: print one JSON document.
    """
    from isoclone.console import STDOUT, print_json
    from isoclone.games import game_names

    names = [name for name in game_names() if contains.lower() in name.lower()]
    if not names:
        raise UnknownNameError("game", contains, game_names())
    print_json(names) if json else STDOUT.print("\n".join(names))


VERBS: dict[str, Callable[..., Any]] = {
    "run": run,
    "plan": plan,
    "status": status,
    "report": report,
    "record": record,
    "demos show": demos_show,
    "train": train,
    "evaluate": evaluate,
    "play": play,
    "games": games,
}

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process a core, one thread each
