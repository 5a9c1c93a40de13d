"""Register NetHack: the entry point of the group `isoclone.plugins`."""

from __future__ import annotations


def register() -> None:
    """Register the parts of NetHack by name, without importing them."""
    import isoclone as ic
    from isoclone.base.tables import FAMILIES, VIEWERS

    for name in ("nethack", "nethack/"):
        ic.register_game(name, "isoclone.nethack.game:NetHack.named")
    ic.register_expert("autoascend", "isoclone.nethack.experts.autoascend:make_autoascend")
    ic.register_expert("nethackers/", "isoclone.nethack.experts.contract:make_bot")
    ic.register_exporter("nethackers", "isoclone.nethack.export:to_nethackers")
    ic.register_policy("nethack", "isoclone.nethack.policy.policy:TtyPolicy")
    demonstrations = "isoclone.nethack.recordings.demonstrations:NldDemonstrations"
    ic.register_demonstrations("nld", f"{demonstrations}.open")
    mixture = "isoclone.nethack.recordings.mixture:MixedGames"
    ic.register_demonstrations("nld-mixture", f"{mixture}.open")
    ic.register_recipe("nethack", "isoclone.nethack.study:RECIPE")
    ic.register_recipe("ppo-nethack", "isoclone.nethack.study:PLAY_RECIPE")
    ic.register_study("nethack", "isoclone.nethack.study:NETHACK")
    ic.register_section("challenge", "isoclone.nethack.report:challenge")
    ic.register_section("paper", "isoclone.nethack.report:paper")
    ic.register_verb("demos import nld", "isoclone.nethack.cli:import_nld")
    ic.register_verb("demos select", "isoclone.nethack.cli:select")
    VIEWERS.add("nethack", "isoclone.nethack.cli:TerminalViewer")
    FAMILIES.add("nethack", "isoclone.nethack.published:NETHACK")
