"""What an encoder remembers without learning to: the last screens, and what it was told it carries.

Both are integers carried from unroll to unroll as part of the policy's state, and begin anew with
each game.
"""

from __future__ import annotations

import torch

from isoclone.nethack.policy import text

SLOTS = 52  # inventory letters a-z, A-Z
WORDS = 12  # of what is said of one


def stacked(
    cells: torch.Tensor, starts: torch.Tensor, before: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each step's cells beside those of the steps before; a game's first stands in for the missing.

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
    begun = torch.where(starts, now, -back).cummax(0).values
    ages = torch.arange(back, -1, -1, device=cells.device)
    rows = torch.maximum(now[..., None] - ages, begun[..., None]) + back
    lanes = torch.arange(cells.shape[1], device=cells.device)[:, None]
    found = every[rows, lanes]
    return found, found[-1, :, 1:]


def inventory(
    messages: torch.Tensor, starts: torch.Tensor, slots: torch.Tensor, table_rows: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the message line said of each inventory letter last: 'm - a crude dagger.'

    Recordings hold screens alone, so this is an inventory rebuilt from them, with its limits:
    things the game never named on the message line since its start (the outfit one begins with)
    are missing, and things that were used up or left behind stay.

    Args:
        messages: (steps, lanes, 80) uint8, the message lines.
        starts: (steps, lanes) bool.
        slots: (lanes, 53) int64, the state: a hash for each letter, 0 for nothing known, and a
            last column that is written where nothing is said.

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
