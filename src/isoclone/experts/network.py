"""Networks in files of other programs as experts: TorchScript, torch.export's, ONNX.

The network is given a batch of observations, and answers with logits (n, n_actions) of floats or
with actions (n,) of integers; if it answers with several things, the first counts. One with a
memory takes the state as its second input and gives it back as its second answer; an episode begins
with zeros, or with what a TorchScript module's exported `initial_state(n)` returns.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from isoclone.base.errors import (
    CheckpointError,
    MissingExtraError,
    SpecError,
    TrustError,
    foreign_fails,
)
from isoclone.base.limits import check_zip
from isoclone.experts.base import Expert
from isoclone.experts.player import as_expert
from isoclone.games import Game

LOCKSTEP = 8
ARRAYS = ("stack", "frame", "rgb", "ram", "raw")


class Opened(NamedTuple):
    """A network that was opened.

    Attributes:
        run: from a batch and the parts of a state to the answer and the parts of the new one.
        fresh: from `n` to the parts of the state at the start; None without a memory.
        dtype: of the batch, None if the file does not say.
        rank: axes of the batch, None if the file does not say.
    """

    run: Callable[[np.ndarray, list[Any]], tuple[Any, list[Any]]]
    fresh: Callable[[int], list[Any]] | None
    dtype: str | None = None
    rank: int | None = None


class Network:
    """A player made of a network; observations are given as `dtype`, divided by `scale`."""

    def __init__(
        self,
        name: str,
        opened: Opened,
        dtype: str,
        scale: float,
        observes: str,
        lockstep: int,
        every: int,
        greedy: bool,
        press_fire: bool,
    ):
        self.name, self.observes, self.lockstep = name, observes, lockstep
        self.every, self.greedy, self.press_fire = every, greedy, press_fire
        self.recurrent = opened.fresh is not None
        self._opened, self._dtype, self._scale = opened, np.dtype(dtype), scale
        self.other_way = f"deterministic={str(not greedy).lower()}"
        self.notes = (
            f"given {observes} as {self._dtype}"
            + (f", divided by {scale:g}" if scale != 1 else "")
            + (", with a memory" if self.recurrent else "")
            + (f", every {every} steps" if every > 1 else ""),
        )

    def reset(self, n: int) -> None:
        """Begin `n` episodes."""
        self._state = self._opened.fresh(n) if self._opened.fresh else []

    def act(self, observations: Any) -> Any:
        """Return the network's answer to a batch."""
        batch = np.asarray(observations)
        joined = self._opened.rank in (None, 2) and self.observes == "stack" and batch.ndim == 3
        if joined:  # stacks of vectors
            batch = batch.reshape(len(batch), -1)
        given = batch.astype(self._dtype)
        if self._scale != 1:
            given = given / self._dtype.type(self._scale)
        try:
            answer, self._state = self._opened.run(given, self._state)
        except Exception as error:  # a foreign network may raise anything
            said = " ".join(str(error).split())[-300:]
            raise CheckpointError(
                f"{self.name} does not take {given.dtype} of shape {given.shape}: {said}; "
                "see --options observes, dtype and lockstep"
            ) from error
        return answer


def load_network(
    path: str | Path,
    game: Game,
    trust: bool = False,
    observes: str = "stack",
    dtype: str | None = None,
    scale: float = 1.0,
    deterministic: bool = False,
    press_fire: bool = False,
    lockstep: int = LOCKSTEP,
    every: int = 1,
    device: str = "cpu",
) -> Expert:
    """Load an expert from a file: TorchScript (.pt, .ts), torch.export (.pt2) or ONNX (.onnx).

    Args:
        trust: allow a file of torch to be read: it may hold pickled objects and code.
        observes: what the network is given, see `experts.player.OBSERVED`.
        dtype: of the batch; the file's own where it says, else float32.
        scale: what observations are divided by, such as 255.
        deterministic: take the likeliest action; by default actions are drawn from logits.
        press_fire: press FIRE for it in Atari's games, as wrappers of training do.
        lockstep: episodes side by side; 1 for a network that takes one at a time.
        every: agent steps from one answer to the next.

    Raises:
        TrustError: it is a file of torch, and `trust` is not given.
        MissingExtraError: onnxruntime is not installed.
        CheckpointError: it cannot be read.
        SpecError: an option has a value it cannot have.
    """
    path = Path(path)
    if observes not in ARRAYS:
        raise SpecError(f"observes must be one of {', '.join(ARRAYS)}, not {observes!r}")
    if not isinstance(scale, int | float) or not 0 < scale < float("inf"):
        raise SpecError(f"scale must be above 0, not {scale!r}")
    try:
        np.dtype(dtype or "float32")
    except TypeError as error:
        raise SpecError(f"dtype must be such as float32 or uint8, not {dtype!r}") from error
    if not path.is_file():
        raise CheckpointError(f"no expert at {path}")
    if path.suffix != ".onnx" and not trust:
        raise TrustError(
            f"{path} is a file of torch and may hold pickled objects and code; if you trust its "
            "source, pass trust=True (--trust)"
        )
    with foreign_fails(CheckpointError, f"{path} is damaged"):
        if zipfile.is_zipfile(path):  # raises, too, of archives in several parts
            check_zip(path)
    opener = _onnx if path.suffix == ".onnx" else _exported if path.suffix == ".pt2" else _script
    opened = opener(path, device)
    kind = dtype or opened.dtype or "float32"
    name = f"{path.suffix[1:]}:{path.stem}"
    player = Network(
        name, opened, kind, scale, observes, lockstep, every, deterministic, press_fire
    )
    return as_expert(player, game)


def _script(path: Path, device: str) -> Opened:
    import torch

    try:
        module = torch.jit.load(str(path), map_location=device).eval()
    except Exception as error:
        raise _unreadable(path, "TorchScript", error) from error
    if len(module.forward.schema.arguments) < 3:  # itself and the batch
        return Opened(_torch_run(module, device), None)
    begin = getattr(module, "initial_state", None)
    if begin is None:
        raise CheckpointError(f"{path}: forward takes a state, and there is no initial_state(n)")

    def fresh(n: int) -> list[Any]:
        return _parts(begin(n))

    return Opened(_torch_run(module, device), fresh)


def _exported(path: Path, device: str) -> Opened:
    import torch

    try:
        program = torch.export.load(str(path))
        module = program.module().to(device)
        names = set(program.graph_signature.user_inputs)
        inputs = [node.meta["val"] for node in program.graph.nodes if node.name in names]
        dtype, rank = str(inputs[0].dtype).removeprefix("torch."), inputs[0].ndim
    except Exception as error:
        raise _unreadable(path, "torch.export", error) from error

    def fresh(n: int) -> list[Any]:
        return [
            torch.zeros(_sizes(state.shape, n), dtype=state.dtype, device=device)
            for state in inputs[1:]
        ]

    memory = fresh if len(inputs) > 1 else None
    return Opened(_torch_run(module, device), memory, dtype, rank)


def _torch_run(module: Any, device: str) -> Callable[[np.ndarray, list[Any]], tuple[Any, Any]]:
    import torch

    @torch.inference_mode()
    def run(batch: np.ndarray, state: list[Any]) -> tuple[Any, list[Any]]:
        parts = _parts(module(torch.from_numpy(batch).to(device), *state))
        return parts[0], parts[1:][: len(state)]

    return run


def _parts(answer: Any) -> list[Any]:
    """Return the tensors of an answer in a row, those of tuples in it one by one."""
    if not isinstance(answer, tuple | list):
        return [answer]
    return [part for one in answer for part in _parts(one)]


def _sizes(shape: Any, n: int) -> list[int]:
    """Return a shape whose free sizes are `n`."""
    return [size if type(size) is int else n for size in shape]


def _onnx(path: Path, device: str) -> Opened:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{path}, an ONNX file,", "onnx") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        raise _unreadable(path, "ONNX", error) from error
    inputs = session.get_inputs()
    names = [one.name for one in inputs]

    def run(batch: np.ndarray, state: list[Any]) -> tuple[Any, list[Any]]:
        answers = session.run(None, dict(zip(names, [batch, *state], strict=True)))
        return answers[0], answers[1:][: len(state)]

    def fresh(n: int) -> list[Any]:
        return [np.zeros(_sizes(one.shape, n), _numpy_name(one.type)) for one in inputs[1:]]

    memory = fresh if len(inputs) > 1 else None
    return Opened(run, memory, _numpy_name(inputs[0].type), len(inputs[0].shape))


def _numpy_name(kind: str) -> str:
    """Return NumPy's name of a type of ONNX's, such as tensor(float)."""
    inner = kind.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(inner, inner)


def _unreadable(path: Path, kind: str, error: Exception) -> CheckpointError:
    said = " ".join(str(error).split())[:160]
    return CheckpointError(f"{path} cannot be read as {kind}: {said}")
