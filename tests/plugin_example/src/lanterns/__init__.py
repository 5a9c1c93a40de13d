"""Lanterns: what a package of somebody else's adds to isoclone. It is installed by a test."""

from __future__ import annotations


def register() -> None:
    """Register everything by name; each is imported and checked when it is first used."""
    import isoclone as ic

    ic.register_game("lanterns", "lanterns.game:Lanterns")
    ic.register_expert("watchman", "lanterns.expert:make_watchman")
    ic.register_policy("glance", "lanterns.policy:Glance")
    ic.register_law("straight", "lanterns.law:Straight")
    ic.register_section("watch", "lanterns.report:watch", after="frontier")
    ic.register_recipe("dusk", "lanterns.study:DUSK")
    ic.register_study("lanterns", "lanterns.study:STUDY")
    ic.register_verb("lanterns", "lanterns.cli:lanterns")
