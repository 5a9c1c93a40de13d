"""Studies that come with isoclone, by name."""

from __future__ import annotations

from typing import Any

from isoclone.base.errors import SpecError
from isoclone.base.registry import is_reference, resolved
from isoclone.base.tables import GAMES, STUDIES
from isoclone.study.spec import StudySpec, usual_expert
from isoclone.training.recipes import LEAN

TOY = StudySpec(
    name="toy",
    game="toy",
    expert="scripted",
    samples=100_000,
    policy="mlp",
    widths=(2, 4, 8, 16, 32),
    budgets_flops=(7e7, 1.4e8, 3.5e8, 7e8, 1.4e9),
    recipe=LEAN.to_json(),
    episodes=32,
    dev_samples=5_000,
    forecast_episodes=64,
    forecast_seeds=2,
)

BREAKOUT = StudySpec(
    name="breakout",
    game="atari/Breakout",
    expert="scripted",
    samples=240_000,
    widths=(2, 3, 5, 8, 13, 21),
    # Below 7e10 FLOPs a policy learns little; points from there would distort the fitted laws.
    budgets_flops=(7e10, 1.4e11, 3.5e11, 7e11, 1.4e12),
    seeds=(0, 1),
    game_options={"max_steps": 3_000},
    episodes=8,
    dev_samples=6_000,
    forecast_flops=4.2e12,
    forecast_episodes=64,
    forecast_seeds=2,
)

STUDIES.add("toy", lambda: TOY)
STUDIES.add("breakout", lambda: BREAKOUT)
STUDIES.add("atari/", lambda rom: for_atari(f"atari/{rom}"))


def builtin(name: str) -> StudySpec:
    """Return the study of that name, or the one for any game of the form 'atari/<Name>'.

    Raises:
        UnknownNameError: no such study or game.
        SpecError: a game that has no ready-made study.
    """
    if not is_ready_made(name):
        raise SpecError(
            f"'{name}' is a game without a ready-made study: its sizes come from a calibration "
            "(isoclone run, with --demos or --expert), or from an isoclone.StudySpec of yours"
        )
    maker, arguments = STUDIES.find(name)
    found: Any = maker
    spec: StudySpec = found(*arguments) if callable(found) else found
    return spec


def is_ready_made(name: str) -> bool:
    """Return whether a name is not that of a game alone; an unknown one counts as a study's."""
    if is_reference(name):
        return isinstance(resolved(name), StudySpec)
    return STUDIES.knows(name) or not GAMES.knows(name)


def builtin_names() -> list[str]:
    """Return every name that `builtin` accepts; '<name>' stands for any of a family."""
    return [f"{name}<name>" if name.endswith("/") else name for name in STUDIES.names()]


def for_atari(name: str) -> StudySpec:
    """Return a study of any Atari game, on its scripted player's games, else on look-ahead's."""
    from isoclone.games import game

    the_game = game(name)
    return BREAKOUT.replace(
        name=name.replace("/", "-").lower(),
        game=the_game.name,
        expert=usual_expert(the_game),
        samples=50_000,
        widths=(2, 3, 5, 8, 13),
        budgets_flops=(2e10, 7e10, 2e11, 7e11),
        forecast_flops=None,
    )
