"""Keep the talk of libraries to itself: warnings, banners, log lines that no user can act on."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

QUIET = {  # variables that libraries look at; what the user has set stays
    "PYGAME_HIDE_SUPPORT_PROMPT": "1",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GRPC_VERBOSITY": "ERROR",
    "WANDB_SILENT": "true",
}


def hush() -> None:
    """Silence warnings and banners of libraries in this process and those it starts.

    Python's own switches (`-W`, `PYTHONWARNINGS`) bring warnings back.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    draw_without_a_screen()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def draw_without_a_screen() -> None:
    """Have SDL, which draws many games, look for no sound card, and for no screen that is not."""
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
    if not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")


@contextmanager
def quietly() -> Iterator[None]:
    """Silence warnings while the block runs, also those that a library insists on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
