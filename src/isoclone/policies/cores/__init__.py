"""Cores: the part of a recurrent policy that carries its memory (LSTM, transformer, Mamba)."""

from __future__ import annotations

from torch import nn

from isoclone.base.errors import SpecError, UnknownNameError
from isoclone.policies.cores.base import State
from isoclone.policies.cores.forgetful import Forgetful
from isoclone.policies.cores.lstm import Lstm
from isoclone.policies.cores.mamba import Mamba
from isoclone.policies.cores.transformer import Transformer

__all__ = ["CORES", "State", "check_lengths", "make_core"]

CORES = {"lstm": 1, "mamba": 2, "transformer": 2}  # name -> layers unless said


def make_core(
    name: str,
    width: int,
    layers: int | None,
    context: int,
    aspect: float | None = None,
    forget: int | None = None,
) -> nn.Module:
    """Return the core of that name.

    Args:
        layers: depth; as in `CORES` if None, and `aspect` is None too.
        context: steps that a transformer sees.
        aspect: width over layers, so that depth grows with width (the aspect ratio of Kaplan et
            al. 2020); at least one layer.
        forget: an LSTM or Mamba forgets everything at every so many steps of a game; None: never.

    Raises:
        UnknownNameError: no such core.
        SpecError: no layers or context, both `layers` and `aspect`, or `forget` for a transformer.
    """
    if name not in CORES:
        raise UnknownNameError("core", name, list(CORES))
    if layers is not None and aspect is not None:
        raise SpecError("layers and aspect: the depth is one or the other")
    check_lengths(layers=layers, context=context, forget=forget)
    if name == "transformer" and forget is not None:
        raise SpecError("forget is for the cores lstm and mamba; a transformer has a context")
    if aspect is not None:
        if not 0 < aspect < float("inf"):
            raise SpecError(f"aspect must be a positive number, not {aspect}")
        layers = max(1, round(width / aspect))
    depth = CORES[name] if layers is None else layers
    if name == "transformer":
        return Transformer(width, depth, context)
    core = Lstm(width, depth) if name == "lstm" else Mamba(width, depth)
    return core if forget is None else Forgetful(core, forget)


def check_lengths(**lengths: int | None) -> None:
    """Raise SpecError unless all numbers that are given are at least 1."""
    for name, value in lengths.items():
        if value is not None and value < 1:
            raise SpecError(f"{name} must be at least 1, not {value}")
