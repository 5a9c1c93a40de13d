"""The fixed memory of an encoder: the last screens, and an inventory read from messages.

Both are integers in the policy's state, which is carried from unroll to unroll and reset at the
start of each game.
"""

from __future__ import annotations

import torch

from isoclone.nethack.policy import text

SLOTS = 52  # inventory letters a-z, A-Z
WORDS = 12  # of a message about one


def stacked(
    cells: torch.Tensor, starts: torch.Tensor, before: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Stack each step's cells with those before; a game's first ones replace missing ones.

    Args:
        cells: (steps, lanes, k).
        starts: (steps, lanes) bool.
        before: (lanes, stack - 1, k), the state: the last ones so far, oldest first.

    Returns:
        (steps, lanes, stack, k), oldest first, and the new state.
    """
    steps, back = len(cells), before.shape[1]
    every = torch.cat([before.transpose(0, 1), cells])
    now = torch.arange(steps, device=cells.device)[:, None]
    begun = torch.where(starts, now, -back)
    if steps > 1:  # of a single step nothing is to be found; ONNX has no cummax
        begun = begun.cummax(0).values
    ages = torch.arange(back, -1, -1, device=cells.device)
    rows = torch.maximum(now[..., None] - ages, begun[..., None]) + back
    lanes = torch.arange(cells.shape[1], device=cells.device)[:, None]
    found = every[rows, lanes]
    return found, found[-1, :, 1:]


def inventory(
    messages: torch.Tensor, starts: torch.Tensor, slots: torch.Tensor, table_rows: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a hash of the last message about each inventory letter: 'm - a crude dagger.'

    Recordings hold only screens, so the inventory is rebuilt from the message line. Things that
    were never named there (the ones at the start) are missing, and things that were used up or
    dropped stay.

    Args:
        messages: (steps, lanes, 80) uint8, the message lines.
        starts: (steps, lanes) bool.
        slots: (lanes, 53) int64, the state: a hash for each letter, 0 if unknown, and a last
            column that is written when there is no message about a letter.

    Returns:
        (steps, lanes, 52) int64 hashes below `table_rows`, and the new state.
    """
    steps, lanes, columns = messages.shape
    letter = messages[..., 0].long()
    small = (letter >= ord("a")) & (letter <= ord("z"))
    large = (letter >= ord("A")) & (letter <= ord("Z"))
    said = small | large
    for column, char in enumerate(" - ", start=1):
        said = said & (messages[..., column] == ord(char))
    slot = torch.where(small, letter - ord("a"), letter - ord("A") + 26)
    slot = torch.where(said, slot, SLOTS)
    words = text.words(text.on_host(messages.reshape(-1, columns)), table_rows, WORDS)
    hashes = torch.from_numpy(words.sum(1)).to(slot.device).view(steps, lanes)
    hashes = (hashes * 40503 + slot * 7919) % (table_rows - 1) + 1
    known = []
    for t in range(steps):
        kept = slots * ~starts[t][:, None]
        slots = kept.scatter(1, slot[t][:, None], hashes[t][:, None])
        known.append(slots[:, :SLOTS])
    return torch.stack(known), slots
