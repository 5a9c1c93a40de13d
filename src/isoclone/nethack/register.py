"""Register NetHack: the entry point of the group `isoclone.plugins`."""

from __future__ import annotations


def register() -> None:
    """Register the game, its expert, its policy, its demonstrations, its section of the report."""
    from isoclone.demos import DEMONSTRATIONS
    from isoclone.experts import EXPERTS
    from isoclone.games import GAMES
    from isoclone.policies import POLICIES
    from isoclone.report import register_section

    for name in ("nethack", "nethack/"):
        GAMES.add(name, "isoclone.nethack.game:NetHack.named")
    EXPERTS.add("autoascend", "isoclone.nethack.experts.autoascend:make_autoascend")
    POLICIES.add("nethack", "isoclone.nethack.policy.policy:TtyPolicy")
    demonstrations = "isoclone.nethack.recordings.demonstrations:NldDemonstrations"
    DEMONSTRATIONS.add("nld", f"{demonstrations}.open")
    register_section("paper", "isoclone.nethack.report:paper")
