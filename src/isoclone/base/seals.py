"""Seals at the end of files that are no JSON: a digest of all that comes before.

A page has it in a comment, a film in a box of the kind that players skip.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

_DIGEST_BYTES = 64
_FORMS = {
    ".html": (b"<!-- sha256:", b" -->\n"),
    ".mp4": ((8 + 7 + _DIGEST_BYTES).to_bytes(4, "big") + b"free" + b"sha256:", b""),
}


def sealed(data: bytes, suffix: str) -> bytes:
    """Return a file's bytes with a seal at their end.

    Args:
        suffix: the kind of file, '.html' or '.mp4'.
    """
    before, after = _FORMS[suffix]
    return data + before + hashlib.sha256(data).hexdigest().encode() + after


def has_seal(path: Path) -> bool:
    """Return whether a file ends with a seal that fits what comes before."""
    data, (before, after) = path.read_bytes(), _FORMS[path.suffix]
    return sealed(data[: -len(before) - _DIGEST_BYTES - len(after)], path.suffix) == data
