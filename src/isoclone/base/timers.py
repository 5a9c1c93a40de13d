"""Call a function at intervals, from a thread, while other work is done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def calling(function: Callable[[], None], seconds: float) -> Iterator[None]:
    """Call the function every `seconds` seconds, from another thread, while the block runs."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(seconds):
            function()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
