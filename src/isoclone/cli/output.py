"""JSON on stdout; light, so that verbs on tables need not import the rooms of studies."""

from __future__ import annotations

import json
import sys
from typing import Any

from isoclone.base.records import jsonable


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(jsonable(value), indent=2, allow_nan=False) + "\n")
