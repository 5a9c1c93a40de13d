"""What an earlier import left in a store, and what of it stays when the import is run again."""

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
    """The rows of games that an import finished; none if it did not, or its table is damaged.

    `sound` are those whose files are as they were made, `harmed` the others, `harms` what became of
    their files; all by name.
    """

    out: Path
    finished: NldDemonstrations | None
    sound: dict[str, GameInfo]
    harmed: dict[str, GameInfo]
    harms: dict[str, str]

    @classmethod
    def of(cls, out: Path) -> Earlier:
        """Look at every file that is in the store's table."""
        finished = _finished(out)
        found = cls(out, finished, {}, {}, {})
        for info, harm in finished.harms() if finished else ():
            if harm:
                found.harmed[info.name], found.harms[info.name] = info, harm
            else:
                found.sound[info.name] = info
        return found

    def check_mendable(self, names: Collection[str], source: Path) -> None:
        """Raise DataError for a damaged game that is none of these recordings of the source."""
        for name, harm in self.harms.items():
            if name not in names:
                raise DataError(f"{harm}; restore it, or {source / name}, to make it from")

    def clear(self, names: Collection[str]) -> None:
        """Delete those of these games' files that are damaged, or for which no table vouches."""
        distrusted = self.finished is None and (self.out / DONE).exists()
        for name in names:
            if distrusted or name in self.harmed:
                game_path(self.out, name).unlink(missing_ok=True)

    def check_same(self, made: dict[str, GameInfo], source: Path) -> None:
        """Raise DataError for a damaged game that did not become again what it was."""
        for name, info in self.harmed.items():
            if name not in made or made[name].content_sha256 != info.content_sha256:
                raise DataError(
                    f"{self.harms[name]}, and {source / name} is not what it was made from; "
                    "restore either"
                )

    def told(self, made: Collection[str]) -> str:
        """What these games are to the import, in a line; '' if it was not finished."""
        new, again = len(set(made) - self.harmed.keys()), len(self.harmed)
        said = [f"new: {new}, so that the fingerprint is another"] if new else []
        said += [f"damaged, and made again: {again}"] if again else []
        return "; ".join(said) if self.finished else ""


def _finished(out: Path) -> NldDemonstrations | None:
    """What an import finished, unless its table is missing, damaged or edited."""
    with suppress(DataError, StoreError):
        data, demos = read_json(out / DONE), NldDemonstrations.open(out, verify=False)
        if data.get("table_digest") == table_digest(data):
            return demos
    return None
