"""The `lean` encoder: a screen as a few sums of embeddings, far below 10 MFLOP a sample.

What is near the cursor is seen cell by cell, what is far off as a rough map, text as bags of
hashed words. Everything is projected to `width` and added up: a linear layer on the parts put
side by side, without putting them there.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from isoclone.errors import SpecError
from isoclone.policies.tty import memory, screen
from isoclone.policies.tty.core import State
from isoclone.policies.tty.screen import Screens

CELL = 8  # numbers that stand for one cell near the cursor
KIND = 6  # numbers that stand for one kind of symbol on the rough map
MESSAGE_ROWS, STATUS_ROWS, INVENTORY_ROWS = 2048, 256, 1024
MESSAGE_WORDS, STATUS_WORDS, STATUS_NUMBERS = 20, 16, 10


class LeanEncoder(nn.Module):
    """Screens and previous actions -> (steps, lanes, width).

    Args:
        width: numbers that stand for one screen.
        n_actions: previous actions run from 0 to n_actions; the last one stands for none.
        crop: side of the square around the cursor that is seen cell by cell (odd).
        reach: how far the eight straight lines from the cursor are seen cell by cell.
        stack: screens whose near cells are seen together.
        inventory: whether to remember what the message line said of each inventory letter.
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
        text = max(4, width // 4)
        self.stack = stack
        self.char = nn.Embedding(256, CELL)
        self.color = nn.Embedding(screen.COLORS, CELL)
        self.near = nn.Linear(len(offsets) * CELL * stack, width)
        self.kind = nn.Linear(screen.N_KINDS, KIND, bias=False)
        self.far = nn.Linear(screen.BINS * KIND, width, bias=False)
        self.message = _bag(MESSAGE_ROWS, text)
        self.line = _bag(MESSAGE_ROWS, text)
        self.status = _bag(STATUS_ROWS, text)
        self.inventory = _bag(INVENTORY_ROWS, text) if inventory else None
        self.text = nn.Linear((4 if inventory else 3) * text, width, bias=False)
        self.numbers = nn.Linear(STATUS_NUMBERS + 1, width, bias=False)
        self.previous = nn.Embedding(n_actions + 1, width)
        nn.init.normal_(self.previous.weight, std=0.1)
        self.mix = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        row_bins, column_bins = screen.bin_tables()
        self.register_buffer("offsets", torch.tensor(offsets), persistent=False)
        for name, table in {
            "kinds": screen.kind_table(),
            "row_bins": row_bins,
            "column_bins": column_bins,
        }.items():
            self.register_buffer(name, torch.tensor(table, dtype=torch.int32), persistent=False)

    def initial_state(self, lanes: int) -> State:
        """Nothing seen, nothing carried."""
        state, offsets = {}, self.get_buffer("offsets")
        if self.stack > 1:
            state["near"] = offsets.new_zeros(lanes, self.stack - 1, len(offsets))
        if self.inventory is not None:
            state["inventory"] = offsets.new_zeros(lanes, memory.SLOTS + 1)
        return state

    def forward(
        self, screens: Screens, previous: torch.Tensor, starts: torch.Tensor, state: State
    ) -> tuple[torch.Tensor, State]:
        """Screens (steps, lanes, ...), previous actions and starts (steps, lanes)."""
        flat, new = screens.flat(), {}
        with torch.no_grad():
            cells = screen.symbols(flat)
            near = screen.around(cells, flat.cursor, self.get_buffer("offsets"))
            if self.stack > 1:
                apart = near.view(*starts.shape, -1)
                near, new["near"] = memory.stacked(apart, starts, state["near"])
            far = screen.rough_map(
                cells,
                flat.cursor,
                *(self.get_buffer(name) for name in ("kinds", "row_bins", "column_bins")),
            )
        table = (self.char.weight[:, None] + self.color.weight).view(-1, CELL)
        x = self.near(functional.embedding(near.view(len(cells), -1), table).flatten(1))
        x = x + self.far(self.kind(far).flatten(1))
        x = x + self._text(screens, flat, starts, state, new)
        x = functional.gelu(x + self.previous(previous.flatten()))
        return (x + self.mix(x)).view(*starts.shape, -1), new

    def _text(
        self, screens: Screens, flat: Screens, starts: torch.Tensor, state: State, new: State
    ) -> torch.Tensor:
        """Message line and bottom lines, (steps x lanes, width)."""
        with torch.no_grad():
            said = screen.words(flat.chars[:, 0], MESSAGE_ROWS, MESSAGE_WORDS)
            whole = said.cumsum(1)[:, -1:] * 7919 % MESSAGE_ROWS
            bottom = flat.chars[:, screen.MAP_LAST + 1 :]
            told = screen.words(bottom.flatten(1), STATUS_ROWS, STATUS_WORDS, letters=True)
            counted = _in_logs(screen.numbers(bottom[:, 1], STATUS_NUMBERS))
        bags = [self.message(said), self.line(whole), self.status(told)]
        if self.inventory is not None:
            with torch.no_grad():
                carried, new["inventory"] = memory.inventory(
                    screens.chars[:, :, 0], starts, state["inventory"], INVENTORY_ROWS
                )
            bags.append(self.inventory(carried.flatten(0, 1)))
        return self.text(torch.cat(bags, 1)) + self.numbers(counted)


def _bag(rows: int, width: int) -> nn.EmbeddingBag:
    bag = nn.EmbeddingBag(rows, width, mode="sum", padding_idx=0)
    nn.init.normal_(bag.weight, std=0.1)
    return bag


def _in_logs(values: torch.Tensor) -> torch.Tensor:
    """Status numbers in logs, and the third over the fourth (hit points over their maximum)."""
    share = values[:, 2:3] / values[:, 3:4].clamp_min(1)
    return torch.cat([values.log1p() / 4, share.clamp(0, 2)], 1).float()
