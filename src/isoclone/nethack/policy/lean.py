"""The `lean` encoder: a screen as sums of embeddings, for far less than 10 MFLOP a sample.

Cells near the cursor are read one by one, the rest of the map as counts in coarse bins, text as
bags of hashed words. Each part is projected to `width` and the results are added, which equals one
linear layer on all parts concatenated.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from isoclone.base.device import to_device
from isoclone.base.errors import SpecError
from isoclone.nethack.policy import memory, screen, text
from isoclone.nethack.policy.screen import Around, RoughMap, Screens
from isoclone.policies.cores import State

CELL = 8  # size of the embedding of one cell near the cursor
KIND = 6  # size of the embedding of one kind of symbol on the rough map
MESSAGE_ROWS, STATUS_ROWS, INVENTORY_ROWS = 2048, 256, 1024
MESSAGE_WORDS, STATUS_WORDS, STATUS_NUMBERS = 20, 16, 10


class LeanEncoder(nn.Module):
    """An encoder of screens and previous actions to (steps, lanes, width).

    Args:
        width: size of the encoding of one screen.
        n_actions: previous actions run from 0 to n_actions; the last one stands for none.
        crop: side of the square around the cursor that is read cell by cell (odd).
        reach: length of the eight straight lines from the cursor that are read cell by cell.
        stack: number of screens whose near cells are read together.
        inventory: remember the last message about each inventory letter.
    """

    def __init__(
        self,
        width: int,
        n_actions: int,
        crop: int = 9,
        reach: int = 12,
        stack: int = 1,
        inventory: bool = False,
    ):
        super().__init__()
        if crop < 1 or crop % 2 == 0 or stack < 1:
            raise SpecError(f"crop must be odd and stack at least 1, not {crop} and {stack}")
        offsets = screen.square_and_star(crop, reach)
        words = max(4, width // 4)
        self.stack = stack
        self.around, self.rough_map = Around(offsets), RoughMap()
        self.char = nn.Embedding(256, CELL)
        self.color = nn.Embedding(screen.COLORS, CELL)
        self.near = nn.Linear(len(offsets) * CELL * stack, width)
        self.kind = nn.Linear(screen.N_KINDS, KIND, bias=False)
        self.far = nn.Linear(screen.BINS * KIND, width, bias=False)
        self.message = _bag(MESSAGE_ROWS, words)
        self.line = _bag(MESSAGE_ROWS, words)
        self.status = _bag(STATUS_ROWS, words)
        self.inventory = _bag(INVENTORY_ROWS, words) if inventory else None
        self.text = nn.Linear((4 if inventory else 3) * words, width, bias=False)
        self.numbers = nn.Linear(STATUS_NUMBERS + 1, width, bias=False)
        self.previous = nn.Embedding(n_actions + 1, width)
        nn.init.normal_(self.previous.weight, std=0.1)
        self.mix = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def initial_state(self, lanes: int) -> State:
        """Return the state before a game: no earlier screens and an empty inventory."""
        state, cells = {}, self.around.cells
        if self.stack > 1:
            state["near"] = cells.new_zeros(lanes, self.stack - 1, cells.shape[1])
        if self.inventory is not None:
            state["inventory"] = cells.new_zeros(lanes, memory.SLOTS + 1)
        return state

    def forward(
        self, screens: Screens, previous: torch.Tensor, starts: torch.Tensor, state: State
    ) -> tuple[torch.Tensor, State]:
        """Encode screens (steps, lanes, ...), previous actions and starts (steps, lanes)."""
        flat, new = screens.flat(), {}
        with torch.no_grad():
            cells = screen.symbols(flat)
            near = self.around(cells, flat.cursor)
            if self.stack > 1:
                apart = near.view(*starts.shape, -1)
                near, new["near"] = memory.stacked(apart, starts, state["near"])
            far = self.rough_map(cells, flat.chars, flat.cursor)
        table = (self.char.weight[:, None] + self.color.weight).view(-1, CELL)
        # Equal to an embedding layer, whose gradient is four times slower on a CPU.
        seen = table.index_select(0, near.flatten()).view(len(cells), -1)
        x = self.near(seen)
        x = x + self.far(self.kind(far).flatten(1))
        x = x + self._text(screens, flat, starts, state, new)
        x = functional.gelu(x + self.previous(previous.flatten()))
        return (x + self.mix(x)).view(*starts.shape, -1), new

    def _text(
        self, screens: Screens, flat: Screens, starts: torch.Tensor, state: State, new: State
    ) -> torch.Tensor:
        """Encode the message line and the bottom lines, (steps x lanes, width)."""
        with torch.no_grad():
            said, whole, told, counted = (
                to_device(torch.from_numpy(x), flat.chars.device) for x in read_text(flat)
            )
            counted = _in_logs(counted)
        bags = [self.message(said), self.line(whole), self.status(told)]
        if self.inventory is not None:
            with torch.no_grad():
                carried, new["inventory"] = memory.inventory(
                    screens.chars[:, :, 0], starts, state["inventory"], INVENTORY_ROWS
                )
            bags.append(self.inventory(carried.flatten(0, 1)))
        return self.text(torch.cat(bags, 1)) + self.numbers(counted)


def read_text(screens: Screens) -> tuple[np.ndarray, ...]:
    """Read the words of the message line and its hash, words and numbers of the bottom lines.

    Returns:
        (n, MESSAGE_WORDS), (n, 1) and (n, STATUS_WORDS) int64, (n, STATUS_NUMBERS) float32.
    """
    message = text.on_host(screens.chars[:, 0])
    bottom = text.on_host(screens.chars[:, screen.MAP_LAST + 1 :])
    said = text.words(message, MESSAGE_ROWS, MESSAGE_WORDS)
    told = text.words(bottom.reshape(len(bottom), -1), STATUS_ROWS, STATUS_WORDS, letters=True)
    whole = said.sum(1, keepdims=True) * 7919 % MESSAGE_ROWS
    return said, whole, told, text.numbers(bottom[:, 1], STATUS_NUMBERS)


def _bag(rows: int, width: int) -> nn.EmbeddingBag:
    bag = nn.EmbeddingBag(rows, width, mode="sum", padding_idx=0)
    nn.init.normal_(bag.weight, std=0.1)
    return bag


def _in_logs(values: torch.Tensor) -> torch.Tensor:
    """Return status numbers in logs, and the third over the fourth (the share of hit points)."""
    share = values[:, 2:3] / values[:, 3:4].clamp_min(1)
    return torch.cat([values.log1p() / 4, share.clamp(0, 2)], 1).float()
