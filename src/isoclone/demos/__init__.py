"""Demonstrations: record, open, expand."""

from isoclone.demos.cache import FrameCache, open_cache
from isoclone.demos.demonstrations import Demonstrations
from isoclone.demos.encode import FrameEncoder
from isoclone.demos.open import demos_here, open_demos
from isoclone.demos.record import RecordRequest, record

__all__ = [
    "Demonstrations",
    "FrameCache",
    "FrameEncoder",
    "RecordRequest",
    "demos_here",
    "open_cache",
    "open_demos",
    "record",
]
