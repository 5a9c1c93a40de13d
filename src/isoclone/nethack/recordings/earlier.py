"""The games of an earlier import, and which of them are kept when it is run again."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from isoclone.base.errors import DataError, StoreError
from isoclone.base.store import read_json
from isoclone.demos.demonstrations import DONE, table_digest
from isoclone.nethack.recordings.demonstrations import NldDemonstrations
from isoclone.nethack.recordings.store import GameInfo, game_path


@dataclass(frozen=True)
class Earlier:
    """The games of a finished import; none if it was not finished or its table is damaged.

    All by name: `sound` are games with unchanged files, `harmed` the others, and `harms` says what
    is wrong with the files of those.
    """

    out: Path
    finished: NldDemonstrations | None
    sound: dict[str, GameInfo]
    harmed: dict[str, GameInfo]
    harms: dict[str, str]

    @classmethod
    def of(cls, out: Path) -> Earlier:
        """Check the file of every game in the store's table."""
        finished = _finished(out)
        found = cls(out, finished, {}, {}, {})
        for info, harm in finished.harms() if finished else ():
            if harm:
                found.harmed[info.name], found.harms[info.name] = info, harm
            else:
                found.sound[info.name] = info
        return found

    def check_mendable(self, names: Collection[str], source: Path) -> None:
        """Raise DataError for a damaged game whose recording is not among these in the source."""
        for name, harm in self.harms.items():
            if name not in names:
                raise DataError(f"{harm}; restore it, or its recording {source / name}")

    def clear(self, names: Collection[str]) -> None:
        """Delete files of these games that are damaged, or all of them if their table is."""
        distrusted = self.finished is None and (self.out / DONE).exists()
        for name in names:
            if distrusted or name in self.harmed:
                game_path(self.out, name).unlink(missing_ok=True)

    def check_same(self, made: dict[str, GameInfo], source: Path) -> None:
        """Raise DataError for a damaged game that now has other contents than before."""
        for name, info in self.harmed.items():
            if name not in made or made[name].content_sha256 != info.content_sha256:
                raise DataError(
                    f"{self.harms[name]}, and its recording {source / name} has changed; "
                    "restore either file"
                )

    def told(self, made: Collection[str]) -> str:
        """Describe these games in a line, as new or imported again; '' for an unfinished import."""
        new, again = len(set(made) - self.harmed.keys()), len(self.harmed)
        said = [f"new: {new}, which changes the fingerprint"] if new else []
        said += [f"damaged, and imported again: {again}"] if again else []
        return "; ".join(said) if self.finished else ""


def _finished(out: Path) -> NldDemonstrations | None:
    """Return the demonstrations of a finished import; None if its table is missing or damaged."""
    with suppress(DataError, StoreError):
        data, demos = read_json(out / DONE), NldDemonstrations.open(out, verify=False)
        if data.get("table_digest") == table_digest(data):
            return demos
    return None
