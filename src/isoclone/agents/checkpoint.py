"""Weights on disk: safetensors, with all that is needed to play again in the same file."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from isoclone.base.errors import CheckpointError, IsocloneError, UnknownNameError
from isoclone.base.records import Run
from isoclone.base.store import replacing
from isoclone.games import FrameSpec, Game, action_sizes
from isoclone.games.actions import HasActions
from isoclone.policies import is_recurrent, make_policy
from isoclone.policies.encode import KINDS, LAYOUTS, FrameEncoder
from isoclone.policies.kernels import compiled_at, take_kernels_if_here

FORMAT = 1
_UNREADABLE = (SafetensorError, OSError, KeyError, ValueError, TypeError, RecursionError)


@dataclass(repr=False)
class TrainedPolicy:
    """Policy ready to act: the module, how frames are encoded for it, and the run it is from."""

    module: torch.nn.Module
    encoder: FrameEncoder
    run: Run
    n_actions: int
    samples: int
    dtype: torch.dtype
    device: torch.device
    action_sizes: tuple[int, ...] = ()  # of actions with several factors
    source: Path | None = None  # the file it was loaded from

    def __repr__(self) -> str:
        return f"TrainedPolicy({self.run.label}, {self.samples:,} samples, {self.device})"

    @property
    def is_recurrent(self) -> bool:
        """Return whether the policy carries a state from step to step."""
        return is_recurrent(self.module)

    @torch.inference_mode()
    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits (b, n_actions) float32 of observations (b, ...) in the policy's layout."""
        with torch.autocast(self.device.type, torch.bfloat16, self.dtype == torch.bfloat16):
            return self.module(inputs).float()

    @torch.inference_mode()
    def step(
        self, *inputs: Any, state: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return logits (steps, lanes, n_actions) float32 and the new state, if recurrent."""
        with torch.autocast(self.device.type, torch.bfloat16, self.dtype == torch.bfloat16):
            logits, state = self.module(*inputs, state)
        return logits.float(), state

    def initial_state(self, lanes: int) -> dict[str, torch.Tensor]:
        """Return a recurrent policy's state before an episode's first step, for so many lanes."""
        state: dict[str, torch.Tensor] = self.module.initial_state(lanes)  # type: ignore[operator]
        return state


def policy_for(
    encoder: FrameEncoder, name: str, width: int, n_actions: int, /, **options: Any
) -> torch.nn.Module:
    """Make the policy for an encoder's frames; its `input_scale` is set if it has one."""
    module = make_policy(name, width, encoder.spec, n_actions, **options)
    if hasattr(module, "input_scale"):
        module.input_scale = encoder.scale  # type: ignore[assignment]
    return module


def save_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, Any]) -> None:
    """Write tensors and JSON metadata, whole or not at all."""
    packed = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    about = {"metadata": metadata, "sha256": _digest(packed, metadata)}
    with replacing(path) as temporary:
        try:
            save_file(packed, temporary, {"isoclone": json.dumps(about, sort_keys=True)})
        except SafetensorError as error:  # a full disk, among other things
            raise _disk_error(error) from error


def _digest(tensors: dict[str, torch.Tensor], metadata: Any) -> str:
    """Return a SHA-256 of all contents: safetensors itself does not notice a changed bit."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        if tensor.numel():  # torch cannot view an empty one as bytes
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _disk_error(error: SafetensorError) -> OSError:
    """Return the operating system's error that safetensors quotes: '... (os error 28)'."""
    number = re.search(r"os error (\d+)", str(error))
    code = int(number[1]) if number else errno.EIO
    return OSError(code, os.strerror(code))


def load_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Raises:
        CheckpointError: the file is missing, damaged, or not one of ours.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["isoclone"])
            # Copies lie in memory as tensors made here do. Products of tensors that begin elsewhere
            # may differ in their last bit, and a run that goes on is to give the same bits.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        metadata = about["metadata"]
        if not isinstance(metadata, dict) or _digest(tensors, metadata) != about["sha256"]:
            raise ValueError("its contents are not what was written")
        return tensors, metadata
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing") from error
    except _UNREADABLE as error:
        why = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{path} is damaged or not an isoclone checkpoint ({why})") from error


def under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Return the tensors whose names begin with a prefix, by the rest of their names."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def save_checkpoint(
    path: Path, weights: dict[str, torch.Tensor], encoder: FrameEncoder, metadata: dict[str, Any]
) -> None:
    """Write a policy that can be played: weights, the encoder's statistics, run and progress."""
    tensors = {f"policy.{name}": tensor for name, tensor in weights.items()}
    tensors["encoder.mean"] = torch.from_numpy(encoder.mean)
    tensors["encoder.inverse_sd"] = torch.from_numpy(encoder.inverse_sd)
    spec = encoder.spec
    described = {
        "kind": encoder.kind,
        "layout": encoder.layout,
        "shape": list(spec.shape),
        "dtype": spec.dtype,
        "stack": spec.stack,
    }
    save_tensors(path, tensors, {**metadata, "format": FORMAT, "encoder": described})


def described(
    run: Run, samples: int, n_actions: int, action_sizes: tuple[int, ...], dtype: torch.dtype
) -> dict[str, Any]:
    """Return what a checkpoint tells of its policy, for `save_checkpoint`."""
    return {
        "run": run.to_json(),
        "samples": samples,
        "n_actions": n_actions,
        **({"action_sizes": action_sizes} if action_sizes else {}),
        "precision": str(dtype).removeprefix("torch."),
    }


def load_checkpoint(path: str | Path, device: str = "cpu") -> TrainedPolicy:
    """Load a trained policy from a checkpoint file.

    Raises:
        CheckpointError: the file is damaged, of a newer format, or its weights do not fit the
            policy it says it is.
    """
    path = Path(path)
    tensors, metadata = load_tensors(path)
    if metadata.get("format", 0) > FORMAT:
        raise CheckpointError(f"{path} has a newer format; update isoclone")
    try:
        encoder = _encoder(metadata["encoder"], tensors)
        run = Run.from_json(metadata["run"])
        weights = under(tensors, "policy.")
        shape = (encoder, run.policy, run.width, metadata["n_actions"])
        _check_shapes(weights, *shape, **run.policy_options)
        module = policy_for(*shape, **run.policy_options)
        module.load_state_dict(weights)
        dtype = getattr(torch, metadata["precision"])
        sizes = _sizes(metadata)
    except UnknownNameError as error:
        raise CheckpointError(
            f"{path}: {error}; run or import the file that registers it first "
            "(ISOCLONE_STUDY_FILE=FILE, or --import MODULE)"
        ) from error
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IsocloneError) as error:
        why = " ".join(str(error).split())[:160]
        raise CheckpointError(f"{path} does not hold the policy it says it is ({why})") from error
    where = torch.device(device)
    if where.type == "cpu" and compiled_at(run.recipe, run.width):
        take_kernels_if_here(module, dtype)
    samples = int(metadata["samples"])
    return TrainedPolicy(
        module.to(where).eval(),
        encoder,
        run,
        metadata["n_actions"],
        samples,
        dtype,
        where,
        sizes,
        path,
    )


def _check_shapes(weights: dict[str, torch.Tensor], *shape: Any, **options: Any) -> None:
    """Raise ValueError unless the weights have the policy's shapes; no memory is taken for it.

    A width is a few digits of the file, and could be that of a policy larger than the memory.
    """
    with torch.device("meta"):
        wanted = policy_for(*shape, **options).state_dict()
    odd = sorted(wanted.keys() ^ weights.keys())
    odd += [name for name in wanted if not odd and wanted[name].shape != weights[name].shape]
    if odd:
        raise ValueError(f"its weights have another '{odd[0]}'")


def _sizes(metadata: dict[str, Any]) -> tuple[int, ...]:
    sizes = tuple(int(n) for n in metadata.get("action_sizes", ()))
    if sizes and sum(sizes) != metadata["n_actions"]:
        raise ValueError("the sizes of its actions do not add up to its logits")
    return sizes


def _encoder(described: dict[str, Any], tensors: dict[str, torch.Tensor]) -> FrameEncoder:
    spec = FrameSpec(tuple(described["shape"]), described["dtype"], described["stack"])
    mean, inverse_sd = tensors["encoder.mean"].numpy(), tensors["encoder.inverse_sd"].numpy()
    if mean.shape != spec.shape or not np.isfinite(mean).all():
        raise ValueError("the encoder's statistics do not fit the frames")
    if described["kind"] not in KINDS:
        raise ValueError(f"unknown kind of frames '{described['kind']}'")
    if described["layout"] not in LAYOUTS:
        raise ValueError(f"unknown layout of frames '{described['layout']}'")
    return FrameEncoder(described["kind"], described["layout"], spec, mean, inverse_sd)


def check_fits(policy: TrainedPolicy, game: Game) -> None:
    """Raise CheckpointError if a policy's frames or actions are not those of a game."""
    sees, shows = policy.encoder.spec, game.frame
    if (sees, action_sizes(policy)) != (shows, action_sizes(game)):
        who = f"{policy.source}: the policy" if policy.source else "the policy"
        raise CheckpointError(
            f"{who} takes {sees.stack} frames of shape {sees.shape} ({sees.dtype}) and "
            f"chooses among {_counted(policy)} actions; {game.name} shows {shows.stack} of shape "
            f"{shows.shape} ({shows.dtype}) and has {_counted(game)} actions"
        )


def _counted(thing: HasActions) -> str:
    return "x".join(str(size) for size in action_sizes(thing))
