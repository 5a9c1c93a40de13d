"""Find the checkpoint that a path means: a file, a run, a study, or a repository of the hub.

This reads file names and points only, so that an agent is loaded without the code of studies.
"""

from __future__ import annotations

from pathlib import Path

from isoclone.base.errors import DataError
from isoclone.study.folder import HEAVY, StudyFolder


def checkpoint_in(path: str | Path) -> Path:
    """Return the checkpoint that a path or an address means.

    A file is one; a folder of a run means its largest; a study its forecast agent, or until there
    is one, its largest; hf://USER/NAME the agent that was pushed there.

    Raises:
        DataError: there is none.
    """
    from isoclone.remote import Remote, address_of, hub, local, name_of

    if hub.is_address(path):
        return hub.download_agent(str(path))
    address, name = address_of(path), name_of(path)
    if address and name.endswith(".safetensors"):
        folder = Remote(address.replace(f"/{name}", "", 1))
        folder.pull([name])
        return folder.path / name
    place = local(path, but=HEAVY)
    if not place.is_dir():
        return place
    if StudyFolder(place).holds_study():
        points = [p for p in StudyFolder(place).read_points() if p.role == "forecast"]
        agents = [place / p.checkpoint for p in points if p.checkpoint]
        if agents and agents[-1].exists():
            return agents[-1]
    found = [
        *place.glob("checkpoints/*.safetensors"),
        *place.glob("runs/*/checkpoints/*.safetensors"),
        *place.glob("agent.safetensors"),
    ]
    if not found:
        raise DataError(f"{path} holds no checkpoint of a run yet")
    return max(found, key=_budget)


def _budget(file: Path) -> tuple[float, float]:
    """Return a checkpoint's budget, 0 where its name is none, and its age."""
    try:
        return float(file.stem), file.stat().st_mtime
    except ValueError:
        return 0.0, file.stat().st_mtime
