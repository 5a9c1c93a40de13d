"""Addresses of folders in an object store."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from isoclone.base.errors import SpecError

ADDRESS = re.compile(r"(s3|gs|gcs):/+(.+)")
SECRET = re.compile(r"key|secret|token|password|credential")


def address_of(place: str | Path) -> str | None:
    """Return the address of a place in an object store, None for a place on a disk.

    >>> address_of(Path("s3://bucket/study/")), address_of("studies/toy")
    ('s3://bucket/study', None)
    """
    found = ADDRESS.fullmatch(str(place).rstrip("/"))  # a Path turns 's3://' into 's3:/'
    return f"{found[1]}://{found[2]}" if found else None


def name_of(place: str | Path) -> str:
    """Return the last part of a place, which is the name of what lies there."""
    address = address_of(place)
    return PurePosixPath(address.partition("?")[0]).name if address else Path(place).name


def refuse_secrets(address: str) -> None:
    """Raise SpecError if credentials are in an address."""
    place, _, query = address.partition("://")[2].partition("?")
    user, at, _ = place.partition("@")
    named = at and (":" in user or "/" not in user) and user != "anonymous"
    if named or any(SECRET.search(part.partition("=")[0].lower()) for part in query.split("&")):
        raise SpecError(
            "an address must not hold credentials (they would be written down with it): leave them "
            "to the environment, as in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
