"""Verbs that record demonstrations and show them; plugins add kinds of import."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional

from isoclone.base.errors import SpecError
from isoclone.cli.flags import CREW, FLAT, Crew, parse_options, typed_expert, with_frames

if TYPE_CHECKING:
    from isoclone.demos import Demonstrations

OUT = Path("demos-out")
SAMPLES = 100_000


def record(
    game: Positional[str],
    *,
    out: Path | None = None,
    expert: str = "scripted",
    samples: int | None = None,
    episodes: int | None = None,
    game_options: tuple[str, ...] = (),
    frames: str | None = None,
    options: tuple[str, ...] = (),
    seed: int = 0,
    dev_fraction: float = 0.1,
    max_steps: int | None = None,
    trust: bool = False,
    crew: Annotated[Crew, FLAT] = CREW,
    json: bool = False,
) -> None:
    """Record an expert's demonstrations, in parallel; run it again to go on, or to have more.

    For example:

        isoclone demos record atari/Breakout --out demos/breakout --samples 200000
        isoclone demos record toy --out demos/toy --samples 20000 --workers 2

    Args:
        game: a game's name; `isoclone games` lists them.
        out: directory for the demonstrations; demos-out/<game>-<expert> unless said. A game that
            records in a way of its own keeps its recordings there, too.
        expert: an expert's name (`isoclone games` lists them), sb3/<hub id>, an SB3 zip, a
            network (.onnx, .pt, .pt2), or FILE.py:Name.
        samples: at least so many samples (100,000 unless said); the last episode is finished. If
            there are fewer already, more are recorded; if there are as many, nothing is, and a
            recording that was stopped is finished with those it has.
        episodes: so many whole episodes instead.
        game_options: settings of the game, as name=value; see docs/games.md for those of
            Gymnasium's.
        frames: how a Gymnasium game's pictures are shown: auto, grey, rgb, raw or onehot.
        options: settings of the expert, as name=value.
        seed: seed of the whole recording.
        dev_fraction: share of episodes held out.
        max_steps: truncate an episode after so many agent steps.
        trust: load a pickled checkpoint: it can run any code, so trust its author.
        json: print one JSON document.
    """
    from isoclone.cli.console import ConsoleObserver, print_plain
    from isoclone.demos import RecordRequest, record_demonstrations
    from isoclone.games import game as find_game

    if samples is not None and episodes is not None:
        raise SpecError("give either --samples or --episodes")
    named, expert = expert, typed_expert(expert)
    request = RecordRequest(
        game=game,
        expert=expert,
        samples=1 if episodes is not None else SAMPLES if samples is None else samples,
        episodes=0 if episodes is None else episodes,
        seed=seed,
        dev_fraction=dev_fraction,
        game_options=parse_options(with_frames(game_options, frames), "--game-options")
        | ({} if max_steps is None else {"max_steps": max_steps}),
        expert_options=parse_options(options) | ({"trust": True} if trust else {}),
    )
    if episodes is not None and episodes < 2:
        raise SpecError(f"--episodes must be at least 2, so that one can be held out: {episodes}")
    out = out or OUT / f"{game}-{Path(named).stem}".replace("/", "-").lower()
    own_way = hasattr(find_game(game, **request.game_options), "record_demonstrations")
    with ConsoleObserver() as observer, crew.gathered() as pool:
        observer.phase("record", f"{named} plays {game}")
        path = out / "demos" if own_way else out
        demos = record_demonstrations(request, path, pool, observer.progress)
    show_demos(demos, json)
    if not json:
        print_plain(f"use them with: --demos {out}")


def mix(parts: Positional[tuple[str, ...]], *, out: Path, json: bool = False) -> None:
    """Mix demonstrations of several directories, each with its share of the training samples.

    The mixture is a directory of demonstrations like any other: one fingerprint over all parts and
    weights. The dev loss is that of the parts, weighted alike; each point tells theirs, too.

    For example:

        isoclone demos mix good=demos/good:0.8 bad=demos/bad:0.2 --out demos/mixed
        isoclone run toy --demos demos/mixed

    Args:
        parts: NAME=DIRECTORY:WEIGHT of each; weights add up to 1.
        out: directory for the mixture.
        json: print one JSON document.
    """
    from isoclone.cli.console import print_plain
    from isoclone.demos import demos_in, mixture

    given = dict(map(_typed_part, parts))
    if len(given) < len(parts):
        raise SpecError(
            "two parts have the same name; give each one of its own: NAME=DIRECTORY:..."
        )
    found = mixture({name: (demos_in(at), weight) for name, (at, weight) in given.items()}, out)
    show_demos(found, json)
    if not json:
        print_plain(f"use them with: --demos {out}")


def _typed_part(text: str) -> tuple[str, tuple[str, float]]:
    """Return name, directory and weight of 'NAME=DIRECTORY:WEIGHT'."""
    name, equals, rest = text.partition("=")
    place, colon, weight = rest.rpartition(":")
    try:
        if not (name and equals and place and colon):
            raise ValueError
        return name, (place, float(weight))
    except ValueError:
        raise SpecError(
            f"a part is NAME=DIRECTORY:WEIGHT, as good=demos/good:0.8, not '{text}'"
        ) from None


def show(demos: Positional[Path], *, json: bool = False) -> None:
    """Show demonstrations: game, expert, score, episodes, split, fingerprint. Verifies every file.

    For example:

        isoclone demos show demos/toy

    Args:
        demos: a directory of demonstrations, or a study directory.
        json: print one JSON document.
    """
    from isoclone.demos import demos_in, open_demos

    show_demos(open_demos(demos_in(demos)), json)


def show_demos(demos: Demonstrations, json: bool) -> None:
    """Print what demonstrations tell about themselves."""
    from isoclone.cli.console import print_plain
    from isoclone.cli.output import print_json

    print_json(demos.summary()) if json else print_plain("\n".join(demos.lines()))


VERBS: dict[str, Callable[..., Any]] = {
    "demos record": record,
    "demos mix": mix,
    "demos show": show,
}
