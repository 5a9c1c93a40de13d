"""Register NetHack: the entry point of the group `isoclone.plugins`."""

from __future__ import annotations


def register() -> None:
    """Register what there is of NetHack, by name: nothing of it is imported yet."""
    from isoclone.base.registry import VIEWERS, add_verb
    from isoclone.demos import DEMONSTRATIONS
    from isoclone.experts import EXPERTS
    from isoclone.games import GAMES
    from isoclone.policies import POLICIES
    from isoclone.published.tuyls2023 import FAMILIES
    from isoclone.report import register_section
    from isoclone.study.builtins import STUDIES
    from isoclone.training.recipes import RECIPES

    for name in ("nethack", "nethack/"):
        GAMES.add(name, "isoclone.nethack.game:NetHack.named")
    EXPERTS.add("autoascend", "isoclone.nethack.experts.autoascend:make_autoascend")
    POLICIES.add("nethack", "isoclone.nethack.policy.policy:TtyPolicy")
    demonstrations = "isoclone.nethack.recordings.demonstrations:NldDemonstrations"
    DEMONSTRATIONS.add("nld", f"{demonstrations}.open")
    RECIPES.add("nethack", "isoclone.nethack.study:RECIPE")
    STUDIES.add("nethack", "isoclone.nethack.study:NETHACK")
    FAMILIES.add("nethack", "isoclone.nethack.published:NETHACK")
    add_verb("demos import nld", "isoclone.nethack.cli:import_nld")
    add_verb("demos select", "isoclone.nethack.cli:select")
    VIEWERS.add("nethack", "isoclone.nethack.cli:TerminalViewer")
    register_section("paper", "isoclone.nethack.report:paper")
