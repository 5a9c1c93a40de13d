"""The verb that lists what has a name here: games, experts, policies, laws, recipes, studies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from tyro.conf import Positional

from isoclone.base.errors import UnknownNameError


def games(contains: Annotated[str, Positional] = "", *, json: bool = False) -> None:
    """List the games, experts, policies, laws, recipes and studies there are, plugins' included.

    For example:

        isoclone games breakout

    Args:
        contains: only names with this in them.
        json: print one JSON document.
    """
    from isoclone.cli.console import print_plain
    from isoclone.cli.output import print_json

    known = _known()
    found = {
        kind: [name for name in names if contains.lower() in name.lower()]
        for kind, names in known.items()
    }
    if not any(found.values()):
        raise UnknownNameError(
            "name", contains, [name for names in known.values() for name in names]
        )
    if json:
        print_json(found)
        return
    for kind, names in found.items():
        if names:
            print_plain(f"{kind}:")
            print_plain("\n".join(f"  {name}" for name in names))


def _known() -> dict[str, list[str]]:
    """Return every name that a flag or a specification takes, by kind."""
    from isoclone.experts import expert_names
    from isoclone.games import game_names
    from isoclone.laws import LAWS
    from isoclone.policies import policy_names
    from isoclone.study.builtins import builtin_names
    from isoclone.training.recipes import RECIPES

    return {
        "games": game_names(),
        "experts": expert_names(),
        "policies": policy_names(),
        "laws": LAWS.names(),
        "recipes": RECIPES.names(),
        "studies": sorted(builtin_names()),
    }


VERBS: dict[str, Callable[..., Any]] = {"games": games}
