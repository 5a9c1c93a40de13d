"""The clones that a study of reinforcement starts from: the agents of a study of imitation.

Runs of a width start from the agent of that width that was trained longest. Its weights are copied
into the study, which then needs the other one no more. A game that is the clone's with fewer
actions (see `games.base.Game`) takes the part of the weights that belongs to them.

Weights are read in functions that import torch, which takes longer than looking at a study.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from isoclone.base.errors import DataError, SpecError
from isoclone.base.records import Point
from isoclone.base.results import mean_cost
from isoclone.base.store import read_json, replacing, sha256_file, write_json
from isoclone.games import Game
from isoclone.study.folder import StudyFolder
from isoclone.study.spec import StudySpec

Rows = dict[str, Any]


def settled(spec: StudySpec) -> StudySpec:
    """Return a specification that names the clones' study from anywhere, and adds no sizes."""
    if spec.clones is None:
        return spec
    return spec.replace(clones=os.path.abspath(spec.clones), extend=0)


def check_clones(spec: StudySpec) -> None:
    """Refuse a specification unless each of its widths has a clone.

    Raises:
        SpecError: there is no such study, or it has no agent of a width, of the policy or the game.
        CheckpointError: an agent is damaged, or its frames or actions are not the game's.
    """
    if spec.clones is None:
        return
    place, the_game = Path(spec.clones), spec.make_game()
    found = agents_of(place, spec)
    lacking = [width for width in spec.widths if width not in found]
    if lacking:
        raise SpecError(
            f"--from {place} has no agent of width {lacking[0]} to start from; give --widths of "
            f"{', '.join(map(str, sorted(found)))}"
        )
    actions = actions_among(place, spec)
    for width in spec.widths:
        _check_agent(place / str(found[width].checkpoint), the_game, actions)


def _check_agent(path: Path, the_game: Game, actions: tuple[int, ...] | None) -> None:
    """Raise unless the agent in a file is sound, and can play a game by some of its actions."""
    from isoclone.agents.checkpoint import check_fits, load_checkpoint
    from isoclone.agents.narrowed import narrowed

    policy = load_checkpoint(path)
    if actions is None:
        check_fits(policy, the_game)
    else:
        narrowed(policy, actions)


def like_clones(place: Path) -> dict[str, Any]:
    """Return what a study that starts from clones takes over: policy, its options, and the sizes.

    Raises:
        SpecError: there is no study, or none that was trained.
    """
    there = _study_at(place)
    widths = sorted({point.width for point in _agents(place)})
    if not widths:
        raise SpecError(f"--from {place} has no trained agent")
    return {
        "policy": there.policy,
        "policy_options": there.policy_options,
        "game_options": there.game_options,
        "widths": tuple(widths),
    }


def _study_at(place: Path) -> StudySpec:
    folder = StudyFolder(place)
    if not folder.holds_study():
        raise SpecError(f"--from {place} holds no study")
    return StudySpec.from_json(folder.read_spec()["spec"], costs=False)


def agents_of(place: Path, spec: StudySpec) -> dict[int, Point]:
    """Return the agent of each width that was trained longest in a study of imitation.

    Raises:
        SpecError: it holds no study, or none of this game and policy, or none that was trained.
    """
    there = _study_at(place)
    actions_among(place, spec)
    for name in ("policy", "policy_options"):
        mine, theirs = getattr(spec, name), getattr(there, name)
        if mine != theirs:
            raise SpecError(f"--from {place}: its {name} is {theirs!r}, not {mine!r}")
    found = {point.width: point for point in sorted(_agents(place), key=_trained)}
    if not found:
        raise SpecError(f"--from {place} has no trained agent")
    return found


def _agents(place: Path) -> list[Point]:
    """Return the points of a study whose agents are there."""
    return [
        point
        for point in StudyFolder(place).read_points()
        if point.status == "ok" and point.checkpoint and (place / point.checkpoint).exists()
    ]


def actions_among(place: Path, spec: StudySpec) -> tuple[int, ...] | None:
    """Return which of the clones' actions each action is, None where they are the same.

    Raises:
        SpecError: the clones are of a game that does not fit.
    """
    mine, theirs = spec.make_game(), _study_at(place).make_game()
    if mine.name == theirs.name:
        return None
    among: Callable[[Game], tuple[int, ...] | None] | None = getattr(mine, "actions_among", None)
    actions = among(theirs) if among else None
    if actions is None:
        raise SpecError(f"--from {place}: its game is {theirs.name!r}, not {mine.name!r}")
    return actions


def _trained(point: Point) -> tuple[float, float]:
    """Return what sorts agents: the one trained longest, of these the best, comes last."""
    return point.flops, -mean_cost([point])


def bring_clones(study: Path, spec: StudySpec) -> None:
    """Copy the weights of each width into a study that has none yet.

    Where runs have begun, nothing is brought: the agents may not be the same any more.

    Raises:
        SpecError: the clones' study is not there any more.
        CheckpointError: a clone is damaged, or its frames are not the game's.
    """
    folder = StudyFolder(study)
    if spec.clones is None or _are_brought(folder):
        return
    place = Path(spec.clones)
    actions, the_game = actions_among(place, spec), spec.make_game()
    rows: Rows = {}
    for width, point in agents_of(place, spec).items():
        if width not in spec.widths:
            continue
        assert point.checkpoint is not None
        path = folder.clone(width)
        _bring(place / point.checkpoint, path, the_game, actions)
        rows[str(width)] = {"run_id": point.run_id, "flops": point.flops}
        rows[str(width)]["sha256"] = sha256_file(path)
    write_json(folder.clones, rows)


def _bring(weights: Path, path: Path, the_game: Game, actions: tuple[int, ...] | None) -> None:
    """Copy an agent's weights, of its actions those that the game has, and check the copy."""
    from isoclone.agents.checkpoint import check_fits, load_checkpoint
    from isoclone.agents.narrowed import save_narrowed

    path.parent.mkdir(parents=True, exist_ok=True)
    if actions is None:
        with replacing(path) as temporary:
            shutil.copyfile(weights, temporary)
    else:
        save_narrowed(load_checkpoint(weights), the_game.name, actions, path)
    check_fits(load_checkpoint(path), the_game)


def _are_brought(folder: StudyFolder) -> bool:
    """Return whether a study has its clones, or had them: they come before its first run."""
    return folder.clones.exists() or folder.has_runs()


def clone_fingerprint(study: Path, width: int) -> str:
    """Return 16 hex digits over the weights that runs of a width start from.

    Raises:
        DataError: they are missing, or not those that were brought.
        SpecError: none of that width were brought.
    """
    folder = StudyFolder(study)
    path = folder.clone(width)
    rows = read_json(folder.clones) if folder.clones.exists() else {}
    row = rows.get(str(width))
    if rows and row is None:
        raise SpecError(
            f"{study} has no clone of width {width} to start from; it has {', '.join(rows)}"
        )
    if row is None or not path.exists():
        brought = _are_brought(folder)
        advice = "restore it" if brought else "the command that made the study brings it"
        raise DataError(f"{path}, which runs of width {width} start from, is missing: {advice}")
    if sha256_file(path) != row["sha256"]:
        raise DataError(f"{path} was changed since it was brought: restore it")
    return str(row["sha256"])[:16]


def best_agent(place: Path) -> Path:
    """Return the checkpoint that is meant: a file, or the best agent of a study.

    That is the one that tested the forecast, or of the sweep the one of the lowest dev loss, of
    reinforcement the one of the highest return.

    Raises:
        SpecError: there is no file, and no study with an agent.
    """
    if place.is_file():
        return place
    if not StudyFolder(place).holds_study():
        raise SpecError(f"--from {place} is neither a checkpoint nor a study")
    there = _agents(place)
    if not there:
        raise SpecError(f"--from {place} has no trained agent")
    return place / str(min(there, key=_rank).checkpoint)


def _rank(point: Point) -> tuple[bool, float]:
    """Return what sorts agents, the best first."""
    return point.role != "forecast", mean_cost([point])


def settings_of(checkpoint: Path, game: str) -> dict[str, Any]:
    """Return the settings of the game that an agent was trained in, if it is of that name."""
    from isoclone.agents.checkpoint import load_checkpoint

    run = load_checkpoint(checkpoint).run
    return dict(run.game_options) if run.game == game else {}
