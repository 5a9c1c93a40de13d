"""Repositories of the Hugging Face hub (`hf://USER/NAME`): agents and demonstrations go there.

All through huggingface_hub, which knows the user's token and `HF_ENDPOINT`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from isoclone.base.errors import MissingExtraError, SpecError, StoreError

ADDRESS = re.compile(r"hf:/+([A-Za-z0-9._-]+/[A-Za-z0-9._-]+)/?")  # a Path turns '//' into '/'
AGENT = "agent.safetensors"  # the checkpoint in a repository of a pushed agent


def is_address(place: str | Path) -> bool:
    """Return whether a place is meant to be a repository of the hub."""
    return str(place).startswith("hf:/")


def repository(address: str | Path) -> str:
    """Return USER/NAME of hf://USER/NAME.

    Raises:
        SpecError: it is no such address.
    """
    found = ADDRESS.fullmatch(str(address))
    if not found:
        raise SpecError(f"'{address}' is no repository; write hf://USER/NAME")
    return found[1]


def push(address: str, folder: Path, kind: str, private: bool, message: str) -> str:
    """Upload a folder into a repository, which is made if need be; return the page's address.

    Args:
        kind: 'model' or 'dataset'.
        message: of the commit.

    Raises:
        SpecError: the address is none.
        StoreError: the hub refuses, or cannot be reached.
        MissingExtraError: huggingface_hub is not installed.
    """
    from huggingface_hub import CommitOperationAdd

    name, api = repository(address), _api()
    inside = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    files = [CommitOperationAdd(path.relative_to(folder).as_posix(), path) for path in inside]
    with _told(address):
        api.create_repo(name, repo_type=kind, private=private, exist_ok=True)
        api.create_commit(name, files, repo_type=kind, commit_message=message)
    prefix = "datasets/" if kind == "dataset" else ""
    return f"{api.endpoint}/{prefix}{name}"


def download_agent(address: str) -> Path:
    """Bring the agent of a repository here, into the hub's cache; return the file.

    Raises:
        SpecError: the address is none.
        StoreError: there is no agent there, or the hub cannot be reached.
        MissingExtraError: huggingface_hub is not installed.
    """
    name, api = repository(address), _api()
    with _told(address):
        return Path(api.hf_hub_download(name, AGENT))


def _api() -> Any:
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.utils import disable_progress_bars
    except ImportError as error:
        raise MissingExtraError("hf://", "hub") from error
    disable_progress_bars()
    return HfApi()


@contextmanager
def _told(address: str) -> Iterator[None]:
    """Turn the hub's errors into one line."""
    try:
        yield
    except Exception as error:  # of HTTP, of the hub, of the disk
        said = " ".join(str(error).split())[:200]
        hint = "; log in by `hf auth login`, or set HF_TOKEN" if _is_refusal(error) else ""
        raise StoreError(f"{address}: {said}{hint}") from error


def _is_refusal(error: BaseException | None) -> bool:
    """Return whether an error, or one behind it, is the hub's "who are you" or "not you"."""
    while error is not None:
        if getattr(getattr(error, "response", None), "status_code", None) in (401, 403):
            return True
        error = error.__cause__ or error.__context__
    return False
