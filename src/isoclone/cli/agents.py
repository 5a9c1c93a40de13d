"""Verbs that hand on what was made: export an agent, push it or demonstrations to the hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tyro.conf import Positional


def export(
    run: Positional[Path],
    *,
    to: str,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Write an agent for other programs: safetensors, onnx, torch, or what a plugin adds.

    ONNX and torch files take the game's frames as they are, (games, stack, *shape): what encodes
    them is inside. Their metadata under 'isoclone' says what each input is.

    For example:

        isoclone export studies-out/breakout --to onnx --out breakout.onnx

    Args:
        run: a checkpoint (.safetensors), a run's folder, a study (its forecast agent), or
            hf://USER/NAME.
        to: safetensors (what `ic.load` reads), onnx, torch (a .pt2 program), ...
        out: the file or folder to write; agent and the format's ending unless said.
        json: print one JSON document.
    """
    from isoclone.agents.checkpoint import load_checkpoint
    from isoclone.agents.export import SUFFIX, described
    from isoclone.agents.export import export as write
    from isoclone.cli.console import STDOUT
    from isoclone.cli.output import print_json
    from isoclone.study.checkpoints import checkpoint_in

    policy = load_checkpoint(checkpoint_in(run))
    place = write(policy, to, out or Path(f"agent{SUFFIX.get(to, '')}"))
    if json:
        print_json({"path": place.resolve().as_posix(), "format": to, **described(policy)})
    else:
        STDOUT.say(str(place))


def push(
    run: Positional[Path],
    address: Positional[str],
    *,
    licence: str = "unknown",
    private: bool = False,
    json: bool = False,
) -> None:
    """Upload an agent to the Hugging Face hub, with a card made from its study's report.

    The card tells laws, forecast, score, licence and how to load it: ic.load("hf://USER/NAME").
    It needs the extra 'hub', and `hf auth login` or HF_TOKEN.

    For example:

        isoclone push studies-out/breakout hf://USER/breakout --licence mit

    Args:
        run: a checkpoint (.safetensors), a run's folder, or a study, for its forecast agent.
        address: the repository, hf://USER/NAME; it is made if need be.
        licence: as the hub names it, such as mit or cc-by-4.0.
        private: whether a repository that is made is private.
        json: print one JSON document.
    """
    from isoclone.study.publish import push_agent

    _show(push_agent(run, address, licence, private), json)


def push_demos(
    demos: Positional[Path],
    address: Positional[str],
    *,
    licence: str = "unknown",
    private: bool = False,
    json: bool = False,
) -> None:
    """Upload demonstrations to the Hugging Face hub as a data set, after verifying every file.

    For example:

        isoclone demos push demos/breakout hf://USER/breakout-demos

    Args:
        demos: a directory of demonstrations, or a study directory.
        address: the repository, hf://USER/NAME; it is made if need be.
        licence: as the hub names it, such as mit or cc-by-4.0.
        private: whether a repository that is made is private.
        json: print one JSON document.
    """
    from isoclone.demos import demos_in, open_demos
    from isoclone.study.publish import push_demos as upload

    _show(upload(open_demos(demos_in(demos)), address, licence, private), json)


def _show(page: str, json: bool) -> None:
    from isoclone.cli.console import STDOUT
    from isoclone.cli.output import print_json

    print_json({"page": page}) if json else STDOUT.say(page)


VERBS: dict[str, Callable[..., Any]] = {
    "export": export,
    "push": push,
    "demos push": push_demos,
}
