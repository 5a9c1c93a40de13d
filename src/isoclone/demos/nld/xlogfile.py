"""NetHack's xlogfile: a line of tab-separated `name=value` for each finished game."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isoclone.errors import DataError

NUMBERS = {
    "points", "deathdnum", "deathlev", "maxlvl", "hp", "maxhp", "deaths", "deathdate", "birthdate",
    "uid", "turns", "realtime", "starttime", "endtime",
}  # fmt: skip
HEXADECIMAL = {"conduct", "achieve", "flags"}
TEXTS = {"version", "role", "race", "gender", "align", "name", "death", "gender0", "align0"}
FIELDS = NUMBERS | HEXADECIMAL | TEXTS

Log = dict[str, Any]


def read_xlogfile(path: Path) -> dict[str, Log]:
    """A log for each recording, by the recording's file name.

    A log holds the line's fields, those in `NUMBERS` and `HEXADECIMAL` as int. As in NLE, what the
    hero was doing becomes part of the death: 'killed by a fox while fainted'. Lines that name no
    recording are left out: NLE logs games that it was told not to record.

    Raises:
        DataError: a line is no log of a game.
    """
    logs = {}
    for number, line in enumerate(path.read_bytes().decode("latin-1").splitlines(), 1):
        fields = dict(word.partition("=")[::2] for word in line.split("\t") if word)
        if not line.strip() or "ttyrecname" not in fields:
            continue
        try:
            logs[fields["ttyrecname"]] = _typed(fields)
        except ValueError as error:
            raise DataError(f"{path}, line {number} is damaged: {error}") from error
    return logs


def _typed(fields: dict[str, str]) -> Log:
    log: Log = dict(fields)
    for name in NUMBERS & fields.keys():
        log[name] = int(fields[name])
    for name in HEXADECIMAL & fields.keys():
        log[name] = int(fields[name], 16)
    if "while" in log:
        log["death"] = f"{log.get('death', '')} while {log['while']}"
    return log


def character(log: Log) -> str | None:
    """role-race-alignment-gender as NLE takes it, at the game's start; None if not logged."""
    parts = [
        log.get("role"),
        log.get("race"),
        log.get("align0", log.get("align")),
        log.get("gender0", log.get("gender")),
    ]
    return "-".join(str(part).lower() for part in parts) if all(parts) else None
