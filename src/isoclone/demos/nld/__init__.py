"""NetHack recordings (ttyrec, NLD): imported once, stored for training, streamed as unrolls."""

from isoclone.demos.nld.importer import import_nld
from isoclone.demos.nld.record import NldRecordRequest, record_demos, record_nld
from isoclone.demos.nld.select import select
from isoclone.demos.nld.store import GameInfo, NldDemonstrations, NldGame
from isoclone.demos.nld.unrolls import Unroll, Unrolls, whole_games

__all__ = [
    "GameInfo",
    "NldDemonstrations",
    "NldGame",
    "NldRecordRequest",
    "Unroll",
    "Unrolls",
    "import_nld",
    "record_demos",
    "record_nld",
    "select",
    "whole_games",
]
