"""The verb `isoclone lanterns`."""

from __future__ import annotations


def lanterns(*, json: bool = False) -> None:
    """Count the lanterns.

    Args:
        json: print one JSON document.
    """
    from lanterns.game import LANTERNS

    print(f'{{"lanterns": {LANTERNS}}}' if json else f"{LANTERNS} lanterns")
