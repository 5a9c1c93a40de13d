"""Reader of NetHack's xlogfile: a line of tab-separated `name=value` for each finished game."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from isoclone.base.errors import DataError
from isoclone.base.records import shown

NUMBERS = {
    "points", "deathdnum", "deathlev", "maxlvl", "hp", "maxhp", "deaths", "deathdate", "birthdate",
    "uid", "turns", "realtime", "starttime", "endtime",
}  # fmt: skip
HEXADECIMAL = {"conduct", "achieve", "flags"}
TEXTS = {"version", "role", "race", "gender", "align", "name", "death", "gender0", "align0"}
FIELDS = NUMBERS | HEXADECIMAL | TEXTS

Log = dict[str, Any]


def read_xlogfile(path: Path) -> dict[str, Log]:
    """Return a log for each recording, by the recording's file name.

    A log holds the line's fields, those in `NUMBERS` and `HEXADECIMAL` as int. As in NLE, the field
    `while` becomes part of the death: 'killed by a fox while fainted'. Lines that name no recording
    are left out: NLE also logs games that it does not record.

    Raises:
        DataError: a line is damaged, or contradicts another.
    """
    logs: dict[str, Log] = {}
    # Only a line feed ends a line: names may hold characters that Unicode counts as line ends.
    for number, line in enumerate(path.read_bytes().decode("latin-1").split("\n"), 1):
        words = [word.partition("=")[::2] for word in line.rstrip("\r").split("\t") if word]
        fields = dict(words)
        if "ttyrecname" not in fields:
            continue
        try:
            for name, value in words:
                if fields[name] != value:
                    raise ValueError(f"{shown(name)} has two values")
            log = _typed(fields)
            if logs.setdefault(fields["ttyrecname"], log) != log:
                raise ValueError(f"another line about {fields['ttyrecname']} differs")
        except ValueError as error:
            raise DataError(f"{path}, line {number} is damaged: {error}") from error
    return logs


def whole_number(text: str, name: str, base: int = 10) -> int:
    """Return a whole number of a log or a table, from its text.

    Raises:
        ValueError: it is not a whole number, or too large for a table.
    """
    if not re.fullmatch(r"-?[0-9]{1,19}" if base == 10 else r"(0x)?[0-9a-fA-F]{1,16}", text):
        raise ValueError(f"{name} is not a whole number: {shown(text)}")
    value = int(text, base)
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{name} is too large a number: {text}")
    return value


def _typed(fields: dict[str, str]) -> Log:
    log: Log = dict(fields)
    for name in NUMBERS & fields.keys():
        log[name] = whole_number(fields[name], name)
    for name in HEXADECIMAL & fields.keys():
        log[name] = whole_number(fields[name], name, 16)
    if "while" in log:
        log["death"] = f"{log.get('death', '')} while {log['while']}"
    return log


def character(log: Log) -> str | None:
    """Return role-race-alignment-gender at the game's start, in NLE's form; None if not logged."""
    parts = [
        log.get("role"),
        log.get("race"),
        log.get("align0", log.get("align")),
        log.get("gender0", log.get("gender")),
    ]
    return "-".join(str(part).lower() for part in parts) if all(parts) else None
