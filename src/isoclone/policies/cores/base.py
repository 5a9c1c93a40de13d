"""The interface of cores: each maps (steps, lanes, width) to the same shape, and carries a state.

A state is a dict of tensors whose first dimension is the lane (one game being read or played).
Reading many steps at once and reading them one by one give the same outputs and the same state; a
step marked in `starts` begins a game and sees nothing of what was before.
"""

from __future__ import annotations

import torch

State = dict[str, torch.Tensor]
