"""The tables of what can be added by name, one for each kind of thing.

Each room adds what comes with isoclone to its own table when it is imported; they are declared here
so that a plugin can add to them without importing the rooms.
"""

from __future__ import annotations

from isoclone.base.registry import Registry

GAMES = Registry("game", "isoclone.testing:first_game")
EXPERTS = Registry("expert", "isoclone.testing:first_expert")
POLICIES = Registry("policy", "isoclone.testing:first_policy")
LAWS = Registry("law", "isoclone.testing:first_law")
DEMONSTRATIONS = Registry("demonstrations", "isoclone.testing:first_demonstrations")
EXECUTORS = Registry("executor", "isoclone.testing:first_executor")
RECIPES = Registry("recipe")  # recipes, or functions that return one
STUDIES = Registry("study")  # specifications, or functions that return one
SECTIONS = Registry("report section")  # functions that render a section
EXPORTERS = Registry("format to export to")  # functions (policy, path), see `agents.export`
FAMILIES = Registry("family of released runs")
IMPORTS = Registry("kind of import")  # readers of others' demonstrations, see `demos.foreign`
TRACKERS = Registry("tracker")  # makers (folder, project), each of a `study.track.Tracker`
VIEWERS = Registry("viewer")  # makers without arguments, each of a `base.registry.Viewer`
