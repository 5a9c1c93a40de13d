"""The `paper` encoder: the inputs and networks of Tuyls et al. 2023 for NetHack, at full cost.

It has a residual network over the whole map (IMPALA's, 16-32-32 channels), a second network for
the square around the cursor, and the message line and bottom lines character by character. The map
network costs about 100 MFLOP a sample at every size of the core, which `6nd` does not count.

In the paper the message line is a one-hot vector of 80 x 256 numbers times a matrix: 20,480 x h
multiply-adds, of which only 80 x h are not with zero. `OneHotLine` adds up those 80 rows: the same
function with the same parameters.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from isoclone.nethack.policy import screen
from isoclone.nethack.policy.screen import Screens
from isoclone.policies.cores import State

CHANNELS = (16, 32, 32)
CHAR, COLOR = 12, 4  # sizes of the embeddings of a character and of a colour
CROP = 9


class OneHotLine(nn.Module):
    """A linear layer (columns x 256 -> width) on one-hot characters, computed as a sum of rows."""

    def __init__(self, columns: int, width: int):
        super().__init__()
        self.table = nn.EmbeddingBag(columns * 256, width, mode="sum")
        nn.init.normal_(self.table.weight, std=columns**-0.5)
        self.bias = nn.Parameter(torch.zeros(width))
        first = torch.arange(columns) * 256
        self.register_buffer("first", first, persistent=False)

    def forward(self, line: torch.Tensor) -> torch.Tensor:
        """Encode lines (n, columns) uint8 as (n, width)."""
        return self.table(line.long() + self.get_buffer("first")) + self.bias


class PaperEncoder(nn.Module):
    """An encoder of screens and previous actions to (steps, lanes, width)."""

    def __init__(self, width: int, n_actions: int):
        super().__init__()
        text = max(4, width // 4)
        self.char = nn.Embedding(256, CHAR)
        self.color = nn.Embedding(screen.COLORS, COLOR)
        before = (CHAR + COLOR, *CHANNELS)
        self.map = nn.Sequential(*(_Stage(a, b) for a, b in zip(before, CHANNELS, strict=False)))
        self.crop = nn.Sequential(
            nn.Conv2d(CHAR + COLOR, 16, 3), nn.ELU(), nn.Conv2d(16, 16, 3), nn.ELU(), nn.Flatten()
        )
        self.message = OneHotLine(screen.COLUMNS, text)
        self.bottom = OneHotLine(2 * screen.COLUMNS, text)
        parts = 3 * 10 * CHANNELS[-1] + 16 * (CROP - 4) ** 2 + 2 * text
        self.previous = nn.Embedding(n_actions + 1, width)
        self.join = nn.Linear(parts, width)
        self.around = screen.Around(screen.square_and_star(CROP, 0))

    def initial_state(self, lanes: int) -> State:
        """Return {}: this encoder has no state."""
        return {}

    def forward(
        self, screens: Screens, previous: torch.Tensor, starts: torch.Tensor, state: State
    ) -> tuple[torch.Tensor, State]:
        """Encode screens (steps, lanes, ...), previous actions and starts (steps, lanes)."""
        flat = screens.flat()
        rows = slice(screen.MAP_FIRST, screen.MAP_LAST + 1)
        cells = screen.symbols(flat)
        near = self.around(cells, flat.cursor)
        whole = self._look(cells.int().unflatten(1, (screen.ROWS, screen.COLUMNS))[:, rows])
        parts = [
            functional.relu(self.map(whole)).flatten(1),
            self.crop(self._look(near.unflatten(1, (CROP, CROP)))),
            functional.elu(self.message(flat.chars[:, 0])),
            functional.elu(self.bottom(flat.chars[:, screen.MAP_LAST + 1 :].flatten(1))),
        ]
        x = self.join(torch.cat(parts, 1)) + self.previous(previous.flatten())
        return functional.elu(x).view(*starts.shape, -1), {}

    def _look(self, cells: torch.Tensor) -> torch.Tensor:
        """Embed symbols (n, rows, columns) as floats (n, 16, rows, columns)."""
        seen = torch.cat([self.char(cells >> 4), self.color(cells & (screen.COLORS - 1))], -1)
        return seen.permute(0, 3, 1, 2)


class _Stage(nn.Module):
    """A stage of IMPALA (Espeholt et al. 2018): convolution, pooling by 2, two residual blocks."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                nn.Conv2d(outputs, outputs, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(outputs, outputs, 3, padding=1),
            )
            for _ in range(2)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(self.first(x), 3, 2, padding=1)
        for block in self.blocks:
            x = x + block(x)
        return x
