"""Verbs that bring in demonstrations made by others, and that write ours for others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional

from isoclone.cli.demos import show_demos
from isoclone.cli.flags import FLAT, parse_options


@dataclass(frozen=True)
class Asked:
    """what the demonstrations are of"""

    game: str | None = None
    """the game that was played, as gym/CartPole-v1: its spaces are checked, and returns can be
    measured; without one the demonstrations are of the game 'data', which has no environment."""
    game_options: tuple[str, ...] = ()
    """settings of the game, as name=value."""
    expert: str | None = None
    """who played, for people; as the source says unless given."""
    observation_space: str | None = None
    """a count of choices as 16 or 3,2; as the source or its first episode says unless given."""
    action_space: str | None = None
    """a count of choices as 6 or 3,2, or bounds of continuous actions as -1:1 or -1:1,0:5 (write
    --action-space=-1:1)."""
    bins: int = 256
    """bins of each number of a continuous action."""
    reading: tuple[str, ...] = ()
    """how observations are read without a game, as name=value: frames=rgb, resize=false."""
    stacked: bool = False
    """observations are stacks of grey pictures, the newest last: keep that one."""
    dev_fraction: float = 0.1
    """share of episodes held out, chosen by their contents."""
    refuse_damaged: bool = False
    """stop at an episode that is unfit instead of leaving it out."""


ASKED = Asked()


def arrays(
    source: Positional[str],
    *,
    out: Path,
    observations: str | None = None,
    actions: str | None = None,
    rewards: str | None = None,
    terminated: str | None = None,
    truncated: str | None = None,
    dones: str | None = None,
    episode_ends: str | None = None,
    episode_starts: str | None = None,
    episode: str | None = None,
    asked: Annotated[Asked, FLAT] = ASKED,
    json: bool = False,
) -> None:
    """Import arrays (.npz, .npy, HDF5, Zarr), or episodes of a Python function; again to go on.

    See docs/importing.md for the names of arrays and how the ends of episodes are told.

    For example:

        isoclone demos import arrays play.npz --out demos/mine --action-space 6
        isoclone demos import arrays mine.py:episodes --out demos/mine --game gym/CartPole-v1

    Args:
        source: a file, a folder of files, or file.py:function, which is run.
        out: directory for the demonstrations.
        observations: name of this array, where it has another than usual.
        actions: likewise.
        rewards: likewise; may be absent.
        terminated: flags of steps at which the game ended.
        truncated: flags of steps at which an episode was cut off.
        dones: flags of either.
        episode_ends: numbers of steps up to each end.
        episode_starts: flags of first steps.
        episode: the number of each step's episode.
        json: print one JSON document.
    """
    names = {
        "observations": observations,
        "actions": actions,
        "rewards": rewards,
        "terminated": terminated,
        "truncated": truncated,
        "dones": dones,
        "episode_ends": episode_ends,
        "episode_starts": episode_starts,
        "episode": episode,
    }
    _bring("arrays", source, out, asked, _given(names), json)


def lerobot(
    source: Positional[str],
    *,
    out: Path,
    observations: str | None = None,
    actions: str | None = None,
    rewards: str | None = None,
    asked: Annotated[Asked, FLAT] = ASKED,
    json: bool = False,
) -> None:
    """Import a LeRobotDataset, version 3: Parquet files and videos; run it again to go on.

    Continuous actions are binned between their lowest and highest values in meta/stats.json, unless
    --action-space says other bounds.

    For example:

        isoclone demos import lerobot pusht --out demos/pusht --observations observation.image

    Args:
        source: its folder, or hf://USER/DATASET.
        out: directory for the demonstrations.
        observations: features to read, with commas between; all observations unless said.
        actions: the feature of actions; 'action' unless said.
        rewards: the feature of rewards; 'next.reward' if it is there, unless said.
        json: print one JSON document.
    """
    names = {"observations": observations, "actions": actions, "rewards": rewards}
    _bring("lerobot", source, out, asked, _given(names), json)


def minari(
    source: Positional[str],
    *,
    out: Path,
    download: bool = False,
    asked: Annotated[Asked, FLAT] = ASKED,
    json: bool = False,
) -> None:
    """Import a Minari dataset; run it again to go on.

    For example:

        isoclone demos import minari D4RL/door/human-v2 --download --out demos/door
        isoclone demos import minari hf://farama-minari/D4RL/door/human-v2 --out demos/door

    Args:
        source: an id of a dataset that is here, its folder, or an address.
        out: directory for the demonstrations.
        download: fetch an id that is not here from Minari's server.
        json: print one JSON document.
    """
    _bring("minari", source, out, asked, {"download": True} if download else {}, json)


def parquet(
    source: Positional[str],
    *,
    out: Path,
    observations: str | None = None,
    actions: str | None = None,
    rewards: str | None = None,
    terminated: str | None = None,
    truncated: str | None = None,
    dones: str | None = None,
    episode: str | None = None,
    asked: Annotated[Asked, FLAT] = ASKED,
    json: bool = False,
) -> None:
    """Import Parquet files or a dataset of the Hugging Face hub; run it again to go on.

    A row is a step where a column tells the episode or its end, else an episode of lists of steps.

    For example:

        isoclone demos import parquet hf://jat-project/jat-dataset/atari-breakout \\
            --observations image_observations --actions discrete_actions --stacked \\
            --game atari/Breakout --out demos/jat-breakout

    Args:
        source: a file, a folder, or hf://USER/DATASET[/FOLDER].
        out: directory for the demonstrations.
        observations: name of the column, where it has another than usual; several with commas.
        actions: likewise.
        rewards: likewise; may be absent.
        terminated: flags of steps at which the game ended.
        truncated: flags of steps at which an episode was cut off.
        dones: flags of either.
        episode: the number of each step's episode.
        json: print one JSON document.
    """
    names = {
        "observations": observations,
        "actions": actions,
        "rewards": rewards,
        "terminated": terminated,
        "truncated": truncated,
        "dones": dones,
        "episode": episode,
    }
    _bring("parquet", source, out, asked, _given(names), json)


def export_minari(demos: Positional[Path], dataset: Positional[str], *, json: bool = False) -> None:
    """Write demonstrations as a Minari dataset, where Minari keeps its datasets.

    Observations are the frames as they are kept, actions their numbers. Minari wants the
    observation after the last action, which was not kept: the last frame stands there again.

    For example:

        isoclone demos export minari demos/cartpole cartpole/expert-v0

    Args:
        demos: a directory of demonstrations of frames, or a study directory.
        dataset: the id of the new dataset.
        json: print one JSON document.
    """
    from isoclone.cli.console import ConsoleObserver
    from isoclone.cli.output import print_json, print_plain
    from isoclone.demos import FrameDemonstrations, demos_here, demos_in
    from isoclone.demos.foreign.minari import export_minari as export

    found = FrameDemonstrations.open(demos_here(demos_in(demos)))
    with ConsoleObserver() as observer:
        observer.phase("export", f"{len(found.episodes)} episodes to {dataset}")
        path = export(found, dataset, progress=observer.progress)
    if json:
        print_json({"dataset": dataset, "path": path.as_posix()})
    else:
        print_plain(f"{dataset}, in {path}")


def _given(names: dict[str, str | None]) -> dict[str, Any]:
    return {name: value for name, value in names.items() if value is not None}


def _bring(
    kind: str, source: str, out: Path, asked: Asked, options: dict[str, Any], json: bool
) -> None:
    """Import, show progress, and show what was imported."""
    from isoclone.base.registry import trust_typed
    from isoclone.cli.console import ConsoleObserver
    from isoclone.cli.output import print_plain
    from isoclone.demos.foreign import import_demos

    trust_typed(asked.game)
    reading = parse_options(asked.reading, "--reading")
    with ConsoleObserver() as observer:

        def tell(line: str) -> None:
            if json or not line.startswith("left out"):  # `show_demos` has those lines
                observer.trouble(line)

        observer.phase("import", f"{kind} {source}")
        demos = import_demos(
            kind,
            source,
            path=out,
            options=options,
            game=asked.game,
            game_options=parse_options(asked.game_options, "--game-options") or None,
            expert=asked.expert,
            observation_space=asked.observation_space,
            action_space=asked.action_space,
            bins=asked.bins,
            reading=reading or None,
            stacked=asked.stacked,
            dev_fraction=asked.dev_fraction,
            refuse_damaged=asked.refuse_damaged,
            progress=observer.progress,
            tell=tell,
        )
    show_demos(demos, json)
    if not json:
        print_plain(f"use them with: --demos {out}")


def other_kinds(known: dict[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Return a verb for each registered format that has none of its own."""
    from isoclone.base.tables import IMPORTS

    missing = [kind for kind in IMPORTS.names() if f"demos import {kind}" not in known]
    return {f"demos import {kind}": _verb_of(kind) for kind in missing}


def _verb_of(kind: str) -> Callable[..., Any]:
    def verb(
        source: Positional[str],
        *,
        out: Path,
        options: tuple[str, ...] = (),
        asked: Annotated[Asked, FLAT] = ASKED,
        json: bool = False,
    ) -> None:
        _bring(kind, source, out, asked, parse_options(options), json)

    verb.__doc__ = f"""Import demonstrations of the format {kind}; run it again to go on.

    Args:
        source: a place of that format.
        out: directory for the demonstrations.
        options: settings of the format's reader, as name=value.
        json: print one JSON document.
    """
    return verb


VERBS: dict[str, Callable[..., Any]] = {
    "demos import arrays": arrays,
    "demos import lerobot": lerobot,
    "demos import minari": minari,
    "demos import parquet": parquet,
    "demos export minari": export_minari,
}
