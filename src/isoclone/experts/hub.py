"""Experts from the Hugging Face hub: `sb3/ppo-BreakoutNoFrameskip-v4` and its like."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from isoclone.base.errors import CheckpointError, MissingExtraError, TrustError, words_of
from isoclone.experts.beside import STATISTICS
from isoclone.experts.checkpoint import load_expert
from isoclone.experts.sb3 import Sb3Expert
from isoclone.games import Game

SETTINGS = ("args.yml", "config.yml", *STATISTICS)  # beside the zip, where the publisher has them


def from_hub(rest: str, game: Game, trust: bool = False, **options: Any) -> Sb3Expert:
    """Download and load the expert of a hub id such as `sb3/ppo-BreakoutNoFrameskip-v4`.

    `rest` is the part after 'sb3/'.

    Raises:
        TrustError: `trust` is not given.
        MissingExtraError: huggingface_hub is not installed.
        CheckpointError: the hub cannot be reached, has no such model, or it does not fit.
    """
    hub_id = f"sb3/{rest}"
    if not trust:
        raise TrustError(
            f"{hub_id} is a pickled checkpoint from the Hugging Face hub, which can run any "
            "program; if you trust its author, pass trust=True (--trust)"
        )
    path = download(hub_id)
    return load_expert(path, game, trust, name=hub_id, **options)


def download(hub_id: str, endpoint: str | None = None) -> Path:
    """Return the local path of a hub model's zip, downloaded unless the hub's cache has it.

    Raises:
        MissingExtraError: huggingface_hub is not installed.
        CheckpointError: the hub cannot be reached, or has no such model.
    """
    try:
        from huggingface_hub import errors as hub
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    except ModuleNotFoundError as error:
        raise MissingExtraError("an expert from the hub", "sb3") from error
    filename = f"{hub_id.partition('/')[2]}.zip"
    with suppress(hub.LocalEntryNotFoundError, hub.HFValidationError):
        return Path(hf_hub_download(hub_id, filename, local_files_only=True))
    try:
        # Ask once first: without a network the download itself retries for half a minute.
        get_hf_file_metadata(hf_hub_url(hub_id, filename, endpoint=endpoint))
        path = Path(hf_hub_download(hub_id, filename, endpoint=endpoint))
        for name in SETTINGS:
            with suppress(hub.RemoteEntryNotFoundError):
                hf_hub_download(hub_id, name, endpoint=endpoint)
        return path
    except (hub.RepositoryNotFoundError, hub.RemoteEntryNotFoundError, hub.HFValidationError) as e:
        raise CheckpointError(f"the hub has no {hub_id} with a file {filename}") from e
    except Exception as error:  # no network, or trouble with a proxy, a certificate, a quota
        raise CheckpointError(
            f"{hub_id} is not in the hub's local cache, and the hub cannot be reached "
            f"({words_of(error)}); go online, or give the path of a downloaded zip"
        ) from error
