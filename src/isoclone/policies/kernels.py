"""Convolutions compiled for one network's sizes and this machine, by its own C++ compiler.

A library of convolutions computes 16 output channels at a time and takes a moment for each call; a
network of two channels leaves it mostly idle. `kernels.cpp` is compiled with the sizes of the
network (a second, once a machine: the result is kept in the user's cache folder) and computes all
convolutions of a batch in one call. Sums are rounded in another order than torch's, so it is part
of a run's identity who computes (`compiled_to` of a recipe); figures are in docs/log.md.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from isoclone.base.errors import ExecutionError, SpecError

SOURCE = Path(__file__).with_suffix(".cpp")
# What this processor has is named otherwise for ARM's.
NATIVE = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"
# Fused multiply-adds are wanted wherever the processor has them; nothing else may change sums.
FLAGS = ("-std=c++17", "-O3", NATIVE, "-ffp-contract=fast", "-shared", "-fPIC", "-w")
COMPILE_SECONDS = 120.0
KINDS = {torch.float32: 0, torch.int8: 1, torch.uint8: 2}  # of pictures, as kernels.cpp has them
HALF_NEEDS = b"__AVX512BF16__"  # what a compiler defines where processors multiply bfloat16

Ctx = Any  # torch's context of a function, whose attributes are free


@dataclass(frozen=True)
class Kernels:
    """The three convolutions of `cnn` for one set of sizes.

    Attributes:
        width: of the network.
        stack: frames in an observation.
        rows, columns: of a frame in 4x4 blocks.
        dtype: of what is multiplied, float32 or bfloat16; sums are of float32 in both.
    """

    width: int
    stack: int
    rows: int
    columns: int
    dtype: torch.dtype = torch.float32

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many numbers the three layers give for each picture."""
        rows, columns = ((side - 1 - 4) // 2 + 1 for side in (self.rows, self.columns))
        first = (self.rows - 1) * (self.columns - 1) * self.width
        return first, rows * columns * 2 * self.width, (rows - 2) * (columns - 2) * 2 * self.width

    def ready(self) -> Kernels:
        """Return these, compiled.

        Raises:
            SpecError: there is no C++ compiler, or the processor does not multiply the dtype.
            ExecutionError: the compiler does not compile them.
        """
        _library(self)
        return self

    def features(self, blocks: torch.Tensor, scale: float, *layers: nn.Conv2d) -> torch.Tensor:
        """Return what the last of three layers gives, after ReLU, place by place.

        Args:
            blocks: (b, rows, columns, stack x 16) of a dtype in `KINDS`, on the CPU; they get no
                gradient.
            scale: by which they are multiplied.

        Returns:
            (b, sizes[2]) float32.
        """
        weights = [part for layer in layers for part in (layer.weight, layer.bias)]
        features: torch.Tensor = _Features.apply(self, blocks, scale, *weights)
        return features


class _Features(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Ctx, kernels: Kernels, blocks: torch.Tensor, scale: float, *weights: torch.Tensor
    ) -> torch.Tensor:
        weights = tuple(_dense(weight) for weight in weights)
        blocks, n = blocks.contiguous(), len(blocks)
        keep = any(ctx.needs_input_grad)
        first, second, third = kernels.sizes
        y1, y2 = (torch.empty(n if keep else 1, k, dtype=kernels.dtype) for k in (first, second))
        y3 = torch.empty(n, third)
        given = n, _at(blocks), KINDS[blocks.dtype], ctypes.c_float(scale)
        _library(kernels).forward(*given, *map(_at, (*weights, y1, y2, y3)), int(keep))
        if keep:
            ctx.save_for_backward(blocks, y1, y2, y3, *weights)
            ctx.kernels, ctx.scale = kernels, scale
        return y3

    @staticmethod
    @once_differentiable
    def backward(ctx: Ctx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        blocks, y1, y2, y3, *weights = ctx.saved_tensors
        gradients = [torch.empty_like(weight) for weight in weights]
        arrays = (weights[2], weights[4], y1, y2, y3, grad.contiguous(), *gradients)
        given = len(blocks), _at(blocks), KINDS[blocks.dtype], ctypes.c_float(ctx.scale)
        _library(ctx.kernels).backward(*given, *map(_at, arrays))
        return None, None, None, *gradients


def _dense(weight: torch.Tensor) -> torch.Tensor:
    """Return weights as they lie channels last in memory."""
    if weight.dim() == 1:
        return weight.contiguous()
    return weight.contiguous(memory_format=torch.channels_last)


def _at(tensor: torch.Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def compiled_at(recipe: Mapping[str, Any], width: int) -> bool:
    """Return whether runs of a recipe, as JSON, compute a width's convolutions by kernels on a CPU.

    None, which leaves it to a study to measure it, is 0 without one.
    """
    return width <= (recipe.get("compiled_to") or 0)


def take_kernels(module: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Return the module, its convolutions computed by kernels from now on; done in place.

    Parts that have none, and devices other than CPUs, compute as before.

    Raises:
        SpecError: there is no C++ compiler, or the processor does not multiply the dtype.
        ExecutionError: the compiler does not compile them.
    """
    for part in parts_with_kernels(module):
        part.kernels = part.own_kernels(dtype).ready()
    return module


def take_kernels_if_here(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return the module, with kernels where this machine can compile them; done in place."""
    with suppress(SpecError, ExecutionError):  # torch computes the same, except for rounding
        take_kernels(module, dtype)
    return module


def leave_kernels(module: nn.Module) -> nn.Module:
    """Return the module, its convolutions computed by torch again; done in place."""
    for part in parts_with_kernels(module):
        part.kernels = None
    return module


def parts_with_kernels(module: nn.Module) -> list[Any]:
    """Return those parts of a module whose convolutions may be computed by kernels."""
    return [part for part in module.modules() if hasattr(part, "own_kernels")]


# ---------------------------------------------------------------------- compiling


def compiler() -> list[str] | None:
    """Return the command of the machine's C++ compiler, `CXX` if set; None if there is none."""
    program, *options = shlex.split(os.environ.get("CXX", "")) or ["c++"]
    found = shutil.which(program)
    return [found, *options] if found else None


@functools.cache
def _library(kernels: Kernels) -> ctypes.CDLL:
    """Return the compiled kernels, from the user's cache folder if they are there."""
    if kernels.dtype == torch.bfloat16 and not multiplies_bfloat16():
        raise SpecError(
            "recipe: compiled_to asks for kernels in bfloat16, which this processor does not "
            "multiply (AVX512_BF16); begin a study of precision float32"
        )
    command = [*_needed(), *FLAGS, *_sizes_said(kernels), str(SOURCE)]
    name = hashlib.sha256(
        b"\0".join([SOURCE.read_bytes(), _target(), *map(str.encode, command)])
    ).hexdigest()[:24]
    path = _folder() / f"{name}.so"
    if path.exists():
        try:
            return ctypes.CDLL(str(path))
        except OSError:  # torn, by a full disk or a power cut
            pass
    _compile(command, path)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:  # programs may not be run from there
        raise ExecutionError(f"compiled kernels cannot be loaded: {error}") from error


def _sizes_said(kernels: Kernels) -> list[str]:
    rows, columns = kernels.rows, kernels.columns
    return [
        f"-DWIDTH={kernels.width}",
        f"-DSTACK={kernels.stack}",
        f"-DROWS={rows}",
        f"-DCOLS={columns}",
        f"-DHALF={int(kernels.dtype == torch.bfloat16)}",
    ]


def multiplies_bfloat16() -> bool:
    """Return whether the compiler says that this processor multiplies bfloat16.

    Raises:
        SpecError: there is no C++ compiler.
        ExecutionError: it does not run.
    """
    return HALF_NEEDS in _target()


@functools.cache
def _target() -> bytes:
    """Return what the compiler knows of this processor and of itself, which the result suits."""
    return _run([*_needed(), *FLAGS[:3], "-dM", "-E", "-x", "c++", os.devnull]).encode()


def _needed() -> list[str]:
    found = compiler()
    if found is None:
        raise SpecError(
            "recipe: compiled_to asks for kernels of this machine's C++ compiler, and none was "
            "found (c++, or what CXX names); install g++ or clang"
        )
    return found


@functools.cache
def _folder() -> Path:
    """Return the folder of compiled kernels: the user's own, or one for this process alone."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(cache) / "isoclone" / "kernels"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(tempfile.mkdtemp(prefix="isoclone-kernels-"))


def _compile(command: list[str], path: Path) -> None:
    """Compile to a path: whole or not at all, as other processes may do the same now."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        _run([*command, "-o", str(made)])
        made.replace(path)


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        raise ExecutionError(f"{command[0]} did not run: {error}") from error
    if done.returncode:
        why = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr)
        raise ExecutionError(f"{command[0]} does not compile {SOURCE.name}: {why.strip()[:200]}")
    return done.stdout
