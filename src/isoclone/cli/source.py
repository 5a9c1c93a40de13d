"""Find the study that is meant: by a name, a game, a Python file or a directory, with changes."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any, TypeVar

from isoclone.base.errors import SpecError, nothing_kept
from isoclone.cli.flags import CHANGES, Changes

OUT = Path("studies-out")
T = TypeVar("T")


def study_of(source: str, out: Path | None, changes: Changes, device: str, workers: int) -> Any:
    """Return the study that a name, a game, a file or a directory means; it is made if need be."""
    from isoclone.base.store import write_json
    from isoclone.study.study import Study
    from isoclone.training.device import check_device

    check_device(device)
    source = source or _game_recorded(changes)
    if _is_directory(source, changes, out):
        return Study.open(source)
    spec = _spec_of(source, out, changes, workers)
    study = Study.create(out or OUT / spec.name, spec, device=device)
    if source.endswith(".py"):
        write_json(study.folder.made_by, {"file": str(Path(source).resolve())})
    return study


def planned_study(
    source: str, out: Path | None, changes: Changes = CHANGES, workers: int = 1
) -> Any:
    """Return the study that is meant, as `study_of`, without writing anything."""
    from isoclone.remote import local
    from isoclone.study.clones import check_clones
    from isoclone.study.folder import StudyFolder
    from isoclone.study.study import HEAVY, Study

    source = source or _game_recorded(changes)
    if _is_directory(source, changes, out):
        return Study.open(source)
    spec = _spec_of(source, out, changes, workers)
    spec.check()
    place = local(out or OUT / spec.name, but=HEAVY)
    if not StudyFolder(place).holds_study():
        check_clones(spec)
    return Study(place, spec)


def _game_recorded(changes: Changes) -> str:
    """Return the game of the demonstrations that were given, where nothing else was.

    Raises:
        SpecError: none were given.
    """
    from isoclone.demos import demos_in, open_demos

    if changes.demos is None:
        raise SpecError(
            "say what is to be studied: a ready-made study, a game, a Python file, a directory, or "
            "--demos DIRECTORY alone"
        )
    return open_demos(demos_in(changes.demos), verify=False).game_name


def _spec_of(source: str, out: Path | None, changes: Changes, workers: int) -> Any:
    """Return the specification that is meant, with what is to be changed."""
    from isoclone.base.registry import trust_typed
    from isoclone.study.builtins import builtin, is_ready_made
    from isoclone.study.spec import StudySpec

    if source.endswith(".py"):
        changes.check_minutes(settled=source)
        return changes.applied_to(object_in(source, "study", StudySpec).trust(), own=True)
    trust_typed(source)
    if is_ready_made(source):
        changes.check_minutes(settled=f"the study '{source}'")
        return changes.applied_to(builtin(source).trust(), own=False)
    return _spec_of_game(source, out, changes, workers)


def _spec_of_game(name: str, out: Path | None, changes: Changes, workers: int) -> Any:
    """Return the specification for a game without a ready-made study: calibrated once.

    A study that is there already is gone on with, with its own sizes and budgets.
    """
    from isoclone.cli.console import ConsoleObserver
    from isoclone.games.base import DATA
    from isoclone.remote import local
    from isoclone.study.calibrate import MINUTES, calibrated, unsized
    from isoclone.study.calibrate_play import calibrated_play, unsized_play
    from isoclone.study.clones import agents_of, like_clones
    from isoclone.study.folder import HEAVY, StudyFolder
    from isoclone.study.spec import read_spec

    changes.check_minutes()
    fields, clones = changes.begun(name), changes.start_from
    if changes.learns_by_play:
        spec = unsized_play(name, clones is not None, **fields).trust()
    else:
        spec = unsized(name, **fields).trust()
    if spec.game == DATA:  # of all that is data, the demonstrations' directory tells which
        spec = dataclasses.replace(spec, name=Path(str(changes.demos)).resolve().name or DATA)
    place = local(out or OUT / spec.name, but=HEAVY)
    if StudyFolder(place).holds_study():
        there = read_spec(place)
        return changes.applied_to(there if there.game == spec.game else spec, own=True)
    if changes.learns_by_play and clones is not None:
        fields = like_clones(clones) | {k: v for k, v in fields.items() if v}
        spec = unsized_play(name, True, **fields).trust()
        agents_of(clones, spec)  # refused before anything is measured
    if changes.widths is None or changes.budgets is None:
        asked = spec if changes.recipe is None else changes.applied_to(spec, own=True)
        with nothing_kept(), ConsoleObserver() as observer:
            minutes = MINUTES if changes.minutes is None else changes.minutes
            make = calibrated if spec.imitates else calibrated_play
            spec = make(asked, min(workers, MOST_WORKERS), minutes, observer.phase)
    return changes.applied_to(spec, own=True)


MOST_WORKERS = 8  # more than that have nothing to do in so small a grid


def _is_directory(source: str, changes: Changes, out: Path | None) -> bool:
    """Return whether a directory is meant, and not a ready-made study of that name.

    A directory `toy` in this folder is resumed by `toy` only if it holds a study and nothing else
    is asked for.

    Raises:
        SpecError: a directory is meant, and something is to be changed about it.
    """
    asked = changes != CHANGES or out is not None
    if not _holds_study(source, asked):
        return False
    if asked:
        raise SpecError(
            f"{source} is a study already: it is resumed as it is; give a name and --out for a "
            "different one"
        )
    return True


def _holds_study(source: str, asked: bool) -> bool:
    from isoclone.games.base import DATA
    from isoclone.remote import address_of
    from isoclone.study.builtins import builtin_names
    from isoclone.study.folder import StudyFolder

    if address_of(source):
        return True
    if not Path(source).is_dir():
        return False
    named = source in builtin_names() or source == DATA  # many a folder is called data
    return not named or (StudyFolder(Path(source)).holds_study() and not asked)


_SEEN: dict[str, dict[str, Any]] = {}  # file -> what it set, until `object_in` asks for it


def sets(file: str, name: str) -> bool:
    """Return whether a user's Python file sets a name; it is run once for this and `object_in`."""
    from isoclone.executors.setup import run_file

    _SEEN[file] = run_file(file)
    return name in _SEEN[file]


def object_in(file: str, name: str, kind: type[T]) -> T:
    """Return the object of that name and kind in a user's Python file; workers run it, too."""
    from isoclone.executors.setup import STUDY_FILE_VARIABLE, run_file

    names = _SEEN.pop(file, None) or run_file(file)
    found = names.get(name)
    os.environ[STUDY_FILE_VARIABLE] = str(Path(file).resolve())
    if not isinstance(found, kind):
        raise SpecError(f"{file} must set `{name}` to an isoclone.{kind.__name__}")
    return found


def write_python(file: Path, spec: Any) -> None:
    """Write a specification as a Python file, which `isoclone run` takes and people edit.

    Raises:
        SpecError: the file is there already.
    """
    from dataclasses import fields

    from isoclone.base.registry import trusted_modules
    from isoclone.base.store import write_bytes
    from isoclone.training.recipes import LEAN

    if file.exists():
        raise SpecError(f"--save {file}: it is there already; give another name")
    left_out = {"calibration", "expert_identity"}
    if spec.recipe == LEAN.to_json():
        left_out.add("recipe")
    given = {f.name: getattr(spec, f.name) for f in fields(spec) if f.name not in left_out}
    usual = {f.name: f.default for f in fields(spec)}
    changed = {k: v for k, v in given.items() if v != usual[k] and v != {}}
    lines = [f"    {name}={_written(value)}," for name, value in changed.items()]
    who = "its demonstrations" if spec.demos else spec.expert
    how = f"imitating {who}" if spec.imitates else "learned by play"
    head = [f'"""{spec.game}, {how}: isoclone run {file.name}"""', ""]
    modules = [f"import {name}  # as --import {name} did" for name in trusted_modules()]
    body = [*modules, "import isoclone as ic", "", "study = ic.StudySpec(", *lines, ")", ""]
    write_bytes(file, "\n".join([*head, *body]).encode())


def _written(value: Any) -> str:
    """Return a value as people write it in Python."""
    if isinstance(value, float):
        return f"{value:.6g}" if float(f"{value:.6g}") == value else repr(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(_written, value))}{',' if len(value) == 1 else ''})"
    return json.dumps(value) if isinstance(value, str) else repr(value)
