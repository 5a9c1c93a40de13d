"""NetHack recordings (ttyrec, NLD): import, store, and unrolls for training."""

from isoclone.nethack.recordings.demonstrations import NldDemonstrations
from isoclone.nethack.recordings.importer import import_nld
from isoclone.nethack.recordings.record import NldRecordRequest, record_demos, record_nld
from isoclone.nethack.recordings.select import select
from isoclone.nethack.recordings.store import GameInfo, NldGame
from isoclone.nethack.recordings.unrolls import Unroll, Unrolls, whole_games

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
