"""Register NetHack: the entry point of the group `isoclone.plugins`."""

from __future__ import annotations


def register() -> None:
    """Register the game, its expert, its policy and its demonstrations, by the public doors."""
    import isoclone as ic

    for name in ("nethack", "nethack/"):
        ic.register_game(name, "isoclone.nethack.game:NetHack.named")
    ic.register_expert("autoascend", "isoclone.nethack.experts.autoascend:make_autoascend")
    ic.register_policy("nethack", "isoclone.nethack.policy.policy:TtyPolicy")
    demonstrations = "isoclone.nethack.recordings.demonstrations:NldDemonstrations"
    ic.register_demonstrations("nld", f"{demonstrations}.open")
