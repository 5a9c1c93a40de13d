"""Push agents and demonstrations to the hub, with a card made from the study's report."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from isoclone.agents.checkpoint import load_tensors
from isoclone.base.errors import DataError
from isoclone.base.records import Point, Run
from isoclone.base.store import read_json, write_bytes, write_json
from isoclone.demos import Demonstrations
from isoclone.remote import hub
from isoclone.report.card import UNKNOWN, agent_card, demos_card
from isoclone.study.checkpoints import checkpoint_in
from isoclone.study.facts import gather
from isoclone.study.folder import StudyFolder
from isoclone.study.study import Study

BESIDE = ("report.html", "points.csv", "laws.json", "forecast.json")  # they name no path


def push_agent(run: str | Path, address: str, licence: str = UNKNOWN, private: bool = False) -> str:
    """Upload an agent with its card, and what its study says of it; return the page's address.

    Args:
        run: a checkpoint, a run's folder or a study.
        address: hf://USER/NAME.
        licence: as the hub names it, such as 'mit'.

    Raises:
        DataError: there is no checkpoint.
        StoreError: the hub refuses, or cannot be reached.
    """
    hub.repository(address)
    file = checkpoint_in(run)
    trained = Run.from_json(load_tensors(file)[1]["run"])
    home = _study_of(file)
    facts = gather(Study.open(home)) if home else None
    point = _point_of(file)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copyfile(file, folder / hub.AGENT)
        write_json(folder / "config.json", {"isoclone": trained.to_json()})
        card = agent_card(address, trained, licence, facts, point)
        write_bytes(folder / "README.md", card.encode())
        for name in BESIDE if home else ():
            if (home / name).exists():  # type: ignore[operator]
                shutil.copyfile(home / name, folder / name)  # type: ignore[operator]
        return hub.push(address, folder, "model", private, f"isoclone run {trained.id}")


def push_demos(
    demos: Demonstrations, address: str, licence: str = UNKNOWN, private: bool = False
) -> str:
    """Upload verified demonstrations with their card; return the page's address.

    Raises:
        StoreError: the hub refuses, or cannot be reached.
    """
    hub.repository(address)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "demos"
        ignored = shutil.ignore_patterns("cache", ".*")
        shutil.copytree(demos.path, folder, ignore=ignored, copy_function=_linked)
        card = demos_card(address, licence, demos.lines(), demos.game_name)
        write_bytes(folder / "README.md", card.encode())
        said = f"isoclone demonstrations {demos.fingerprint}"
        return hub.push(address, folder, "dataset", private, said)


def _linked(source: str, target: str) -> None:
    """Put a file into a folder without a second copy of it."""
    Path(target).symlink_to(Path(source).resolve())


def _study_of(checkpoint: Path) -> Path | None:
    """Return the study that a checkpoint lies in."""
    found = [folder for folder in checkpoint.parents if StudyFolder(folder).holds_study()]
    return found[0] if found else None


def _point_of(checkpoint: Path) -> Point | None:
    """Return the point that was measured with a checkpoint of a study."""
    home = _study_of(checkpoint)
    if home is None:
        return None
    run = StudyFolder(home).run(checkpoint.parents[1].name)
    path = run.path / "points" / f"{checkpoint.stem}.json"
    if not path.exists():
        return None
    try:
        return Point.from_json(read_json(path))
    except TypeError as error:
        raise DataError(f"{path} is damaged ({error})") from error
