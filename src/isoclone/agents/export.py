"""Export agents: to safetensors, ONNX, torch, and whatever others register.

An exporter is `export(policy: TrainedPolicy, out: Path) -> None`: it writes the policy to a file,
or to a folder, that is not there yet. What it is called is the word after `--to`.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoclone.base.errors import IsocloneError, MissingExtraError, SpecError
from isoclone.base.quiet import quietly
from isoclone.base.store import replacing, write_bytes
from isoclone.base.tables import EXPORTERS
from isoclone.games import game
from isoclone.games.actions import action_sizes
from isoclone.games.spaces import layout

if TYPE_CHECKING:
    from isoclone.agents.checkpoint import TrainedPolicy

Exporter = Callable[["TrainedPolicy", Path], None]
SUFFIX = {"safetensors": ".safetensors", "onnx": ".onnx", "torch": ".pt2"}


def export(policy: TrainedPolicy, to: str, out: Path) -> Path:
    """Write a policy in a format of other programs; return the path.

    Raises:
        UnknownNameError: no exporter of that name.
        SpecError: there is something at `out` already, or the policy cannot be exported so.
        MissingExtraError: a package that the format needs is not installed.
    """
    exporter, _ = EXPORTERS.find(to)
    if out.exists():
        raise SpecError(f"{out} is there already; choose another name")
    exporter(policy, out)
    return out


def described(policy: TrainedPolicy) -> dict[str, Any]:
    """Return what a user of an exported file has to know, as plain values."""
    from isoclone.agents.whole import WholePolicy

    whole, run = WholePolicy(policy), policy.run
    return {
        "isoclone": {"run": run.id, "policy": run.policy, "width": run.width},
        "game": run.game,
        "game_options": run.game_options,
        "frames": {"stack": whole.spec.stack, "shape": whole.spec.shape, "dtype": whole.spec.dtype},
        "reads": _reads(run.game, run.game_options),
        "n_actions": policy.n_actions,
        "action_sizes": action_sizes(policy),
        "inputs": whole.names,
        "outputs": whole.outputs,
    }


def _reads(name: str, options: dict[str, Any]) -> dict[str, Any] | None:
    """Return how observations become frames; None if the game has its own, or is not here."""
    with suppress(IsocloneError):
        spaces = getattr(game(name, **options), "spaces", None)
        return None if spaces is None else layout(spaces)
    return None


def to_safetensors(policy: TrainedPolicy, out: Path) -> None:
    """Write the checkpoint itself: weights and encoder in one file, which `ic.load` reads."""
    if policy.source is None:
        raise SpecError("this policy was not loaded from a file; give its checkpoint")
    with replacing(out) as temporary:
        shutil.copyfile(policy.source, temporary)


def to_torch(policy: TrainedPolicy, out: Path) -> None:
    """Write a program of torch.export (.pt2): `torch.export.load(FILE).module()(frames)`."""
    import io

    import torch

    program = _program(policy)
    about = {"isoclone.json": json.dumps(described(policy))}
    file = io.BytesIO()
    with _quiet():
        torch.export.save(program, file, extra_files=about)
    write_bytes(out, file.getvalue())


def to_onnx(policy: TrainedPolicy, out: Path) -> None:
    """Write an ONNX file; what its inputs are is in its metadata, under 'isoclone'."""
    try:
        import onnx
        import onnxscript  # noqa: F401  what torch writes ONNX with
        import torch
    except ImportError as error:
        raise MissingExtraError("export --to onnx", "onnx") from error
    from isoclone.agents.whole import WholePolicy

    whole = WholePolicy(policy)
    names = {"input_names": list(whole.names), "output_names": list(whole.outputs)}
    with _quiet():
        program = torch.onnx.export(_program(policy), dynamo=True, verbose=False, **names)  # type: ignore[arg-type]
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, {"isoclone": json.dumps(described(policy))})
    write_bytes(out, model.SerializeToString())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what torch says of its own workings while it exports."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with quietly():
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _program(policy: TrainedPolicy) -> Any:
    """Return the policy as a program of torch.export, for any number of games side by side."""
    import torch

    from isoclone.agents.whole import WholePolicy

    whole = WholePolicy(policy).eval()
    example, lanes = whole.example(), torch.export.Dim("games", min=1)
    shapes = [{0: lanes} for _ in example]
    memory = (tuple(shapes[1:]),) if whole.state_names else ()
    dynamic = (shapes[0], *memory)  # `forward(frames, *memory)`
    try:
        return torch.export.export(whole, example, dynamic_shapes=dynamic)
    except Exception as error:  # whatever torch says to a policy of somebody
        said = " ".join(str(error).split())[:160]
        raise SpecError(f"policy '{policy.run.policy}' cannot be exported: {said}") from error


EXPORTERS.add("safetensors", "isoclone.agents.export:to_safetensors")
EXPORTERS.add("onnx", "isoclone.agents.export:to_onnx")
EXPORTERS.add("torch", "isoclone.agents.export:to_torch")
