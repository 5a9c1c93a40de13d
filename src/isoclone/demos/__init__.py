"""Demonstrations: record them, open them, expand their frames, and make batches of them."""

from isoclone.demos.base import Demonstrations, Source
from isoclone.demos.cache import FrameCache, open_cache
from isoclone.demos.demonstrations import FrameDemonstrations
from isoclone.demos.episode import Episode, EpisodeInfo
from isoclone.demos.mixture import MixedDemonstrations, mixture
from isoclone.demos.open import DEMONSTRATIONS, demos_here, demos_in, open_demos
from isoclone.demos.record import RecordRequest, record, record_demonstrations
from isoclone.policies.encode import FrameEncoder

__all__ = [
    "DEMONSTRATIONS",
    "Demonstrations",
    "Episode",
    "EpisodeInfo",
    "FrameCache",
    "FrameDemonstrations",
    "FrameEncoder",
    "MixedDemonstrations",
    "RecordRequest",
    "Source",
    "demos_here",
    "demos_in",
    "mixture",
    "open_cache",
    "open_demos",
    "record",
    "record_demonstrations",
]
