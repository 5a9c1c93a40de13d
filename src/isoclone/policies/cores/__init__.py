"""Cores: the part of a recurrent policy that carries its memory (LSTM, transformer, Mamba)."""

from __future__ import annotations

from torch import nn

from isoclone.base.errors import UnknownNameError
from isoclone.policies.cores.base import State
from isoclone.policies.cores.lstm import Lstm
from isoclone.policies.cores.mamba import Mamba
from isoclone.policies.cores.transformer import Transformer

__all__ = ["CORES", "State", "make_core"]

CORES = ("lstm", "mamba", "transformer")


def make_core(name: str, width: int, layers: int | None, context: int) -> nn.Module:
    """Return the core of that name; `layers` None means 1 for the LSTM and 2 for the others.

    Raises:
        UnknownNameError: no such core.
    """
    if name == "lstm":
        return Lstm(width, layers or 1)
    if name == "transformer":
        return Transformer(width, layers or 2, context)
    if name == "mamba":
        return Mamba(width, layers or 2)
    raise UnknownNameError("core", name, list(CORES))
