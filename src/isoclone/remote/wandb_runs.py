"""The runs of a W&B project (`wandb://ENTITY/PROJECT`) as a table, by W&B's public API.

A run that `--track wandb` showed gives a row for each of its points. Any other run gives one row:
its configuration and its summary.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from isoclone.base.errors import MissingExtraError, SpecError, StoreError

ADDRESS = re.compile(r"wandb:/+([^/\s]+)/([^/\s]+)/?")  # a Path turns '//' into '/'
POINT = "point/"  # how the columns of a point begin, see `study.track`
MOST = 10_000  # rows of a run's history
PATIENCE_SECONDS = 60


def is_project(place: str | Path) -> bool:
    """Return whether a place is meant to be a W&B project."""
    return str(place).startswith("wandb:/")


def project_columns(address: str | Path) -> dict[str, list[Any]]:
    """Return the runs of a project, column by column; what a run has not is None.

    Raises:
        SpecError: the address is none.
        StoreError: W&B refuses, or cannot be reached.
        MissingExtraError: wandb is not installed.
    """
    found = ADDRESS.fullmatch(str(address))
    if not found:
        raise SpecError(f"'{address}' is no project; write wandb://ENTITY/PROJECT")
    try:
        import wandb
    except ImportError as error:
        raise MissingExtraError("wandb://", "logging") from error
    try:
        api = wandb.Api(timeout=PATIENCE_SECONDS)
        runs = api.runs(f"{found[1]}/{found[2]}", lazy=False)
        rows = [row for run in runs for row in _rows(run)]
    except Exception as error:  # of the network, of W&B
        said = " ".join(str(error).split())[:160]
        where = f"wandb://{found[1]}/{found[2]}"
        raise StoreError(f"{where}: {said}; is it there, and are you logged in?") from error
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}


def _rows(run: Any) -> list[dict[str, Any]]:
    """Return the rows of one run."""
    settings, summary = _plain(run.config), _plain(dict(run.summary))
    last = {k.removeprefix(POINT): v for k, v in summary.items() if k.startswith(POINT)}
    if {"dev_loss", "return_mean"} & set(last):
        keys = [f"{POINT}{name}" for name in last]
        points = run.history(samples=MOST, keys=keys, pandas=False)
        told = [{k.removeprefix(POINT): v for k, v in row.items()} for row in points]
        return [{**settings, **last, **{k: row[k] for k in last if k in row}} for row in told]
    about = {"run_id": run.id, "state": run.state}
    return [{**about, **settings, **summary}]


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Return the entries that are texts or numbers."""
    kinds = (str, int, float)
    return {k: v for k, v in values.items() if isinstance(v, kinds) and not k.startswith("_")}
