"""A wall clock that runs backwards, for every Python that has this folder on its path."""

import itertools
import time

_real, _calls = time.time, itertools.count()


def backwards() -> float:
    """An hour earlier at each call."""
    return _real() - 3600.0 * next(_calls)


time.time = backwards
time.time_ns = lambda: int(backwards() * 1e9)
