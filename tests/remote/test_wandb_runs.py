"""`wandb://ENTITY/PROJECT`: wandb's own client, asking a local stand-in of W&B's GraphQL.

In a process of its own: the client keeps where it has logged in.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from hub_standin import as_json, served

from isoclone.base.errors import SpecError
from isoclone.remote.wandb_runs import project_columns

SIZES, BUDGETS = (1e3, 3e3, 1e4, 3e4), (1e9, 1e10, 1e11)


def loss(params: float, flops: float) -> float:
    samples = flops / (6 * params)
    return 0.3 + 20 / params**0.4 + 40 / samples**0.35


def point(params: float, flops: float) -> dict[str, Any]:
    row = {"params": params, "flops": flops, "samples": flops / (6 * params)}
    return {f"point/{k}": v for k, v in {**row, "dev_loss": loss(params, flops)}.items()}


def node(name: str, config: dict[str, Any], summary: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": name, "name": name, "displayName": name, "state": "finished", "tags": [],
        "sweepName": None, "group": None, "jobType": None, "commit": None, "readOnly": True,
        "createdAt": "2026-11-26T00:00:00", "heartbeatAt": "2026-11-26T00:00:00",
        "description": "", "notes": "", "systemMetrics": "{}", "historyLineCount": 9,
        "user": {"name": "me", "username": "me"}, "historyKeys": None, "projectId": "1",
        "config": json.dumps({k: {"value": v} for k, v in config.items()}),
        "summaryMetrics": json.dumps(summary),
    }  # fmt: skip


def answer(method: str, path: str, body: bytes, here: str) -> tuple[int, bytes, dict[str, str]]:
    """Two kinds of runs: three tracked by isoclone, and one of somebody's own for each budget."""
    if path != "/graphql":
        return as_json({})
    asked = json.loads(body)
    query, given = asked["query"], asked.get("variables") or {}
    if "sampledHistory" in query:
        size = SIZES[int(given["name"].removeprefix("ours"))]
        rows = [{"_step": k, **point(size, flops)} for k, flops in enumerate(BUDGETS)]
        return as_json({"data": {"project": {"run": {"sampledHistory": [rows]}}}})
    if "runs(filters" in query:
        if given["project"] != "proj":
            return as_json({"data": {"project": None}})
        ours = [
            node(f"ours{k}", {"run_id": f"o{k}"}, {**point(size, BUDGETS[-1]), "_step": 2})
            for k, size in enumerate(SIZES[:3])
        ]
        plain = [{k[6:]: v for k, v in point(SIZES[3], flops).items()} for flops in BUDGETS]
        theirs = [node(f"t{k}", {}, row) for k, row in enumerate(plain)]
        edges = [{"node": each, "cursor": "x"} for each in [*ours, *theirs]]
        page = {"endCursor": None, "hasNextPage": False}
        runs = {"edges": edges, "pageInfo": page}
        about = {"internalId": "1", "runCount": len(edges), "readOnly": True, "runs": runs}
        return as_json({"data": {"project": about}})
    me = {"id": "1", "entity": "me", "username": "me", "email": "", "flags": "{}"}
    return as_json({"data": {"viewer": {**me, "teams": {"edges": []}}}})


def isoclone(address: str, home: str, *words: str) -> subprocess.CompletedProcess[str]:
    there = {
        **os.environ, "WANDB_BASE_URL": address, "WANDB_API_KEY": "a" * 40, "WANDB_DIR": home,
        "HOME": home,
    }  # fmt: skip
    command = [sys.executable, "-m", "isoclone", *words]
    return subprocess.run(command, capture_output=True, text=True, env=there, timeout=200)


def test_laws_are_fitted_to_a_project(tmp_path):
    with served(answer) as address:
        done = isoclone(address, str(tmp_path), "laws", "fit", "wandb://me/proj", "--json")
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)["groups"][""]
        assert told["points"] == len(SIZES) * len(BUDGETS)
        gone = isoclone(address, str(tmp_path), "laws", "fit", "wandb://me/other")
        assert gone.returncode == 1
        assert gone.stderr.startswith("isoclone: wandb://me/other: ")
        assert gone.stderr.count("\n") == 1


def test_what_is_no_project_is_refused():
    with pytest.raises(SpecError, match="write wandb://ENTITY/PROJECT"):
        project_columns("wandb://me")
