"""NetHack recordings (ttyrec, NLD): imported once, stored for training, streamed as unrolls."""

from isoclone.demos.nld.importer import import_nld
from isoclone.demos.nld.store import GameInfo, NldDemonstrations, NldGame
from isoclone.demos.nld.unrolls import Unroll, Unrolls, whole_games

__all__ = [
    "GameInfo",
    "NldDemonstrations",
    "NldGame",
    "Unroll",
    "Unrolls",
    "import_nld",
    "whole_games",
]
