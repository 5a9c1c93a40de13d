"""The commands and versions that reproduce a study."""

from __future__ import annotations

import platform
import shlex
from importlib import metadata

from isoclone.base.provenance import MADE_BY, UNKNOWN, mixtures
from isoclone.base.registry import trusted_modules
from isoclone.report.facts import Facts
from isoclone.report.sections import Section
from isoclone.report.templating import fill

PACKAGES = ("isoclone", "torch", "numpy", "scipy", "ale-py", "gymnasium")
CONVENTIONS = {
    "exact": "forward and backward pass of every matrix multiply and convolution as they are "
    "computed, each convolution at its output resolution; the input itself needs no gradient",
    "3x-forward": "three times the forward pass of every matrix multiply and convolution",
    "6nd": "six times parameters times samples",
    "tuyls2023-atari": "forward and backward pass with each convolution at its input resolution, "
    "as in Tuyls et al. 2023 for Atari",
}


def reproduce(facts: Facts) -> Section:
    """Return the commands, specification, demonstrations and versions to reproduce the study."""
    html = fill(
        "reproduce",
        facts=facts,
        commands=_commands(facts),
        convention=CONVENTIONS.get(facts.spec.flop_convention, ""),
        play_share=_play_share(facts),
        made=_made_by(facts),
        mixtures=mixtures(facts.everyone),
        versions={name: _version(name) for name in PACKAGES},
        python=platform.python_version(),
    )
    return Section("Do it again", html=html)


def _play_share(facts: Facts) -> float | None:
    """Return which share of the points' FLOPs went into play; None where nothing was played."""
    played = [(p.play_flops, p.flops) for p in facts.points if p.play_flops is not None]
    return sum(p for p, _ in played) / sum(c for _, c in played) if played else None


def _commands(facts: Facts) -> str:
    folder, again = shlex.quote(facts.folder), shlex.quote(f"{facts.folder}-again")
    run = " ".join(["isoclone run", *(f"--import {name}" for name in trusted_modules())])
    lines = []
    if facts.builtin:
        command = f"{run} {shlex.quote(facts.spec.name)} --out {again}"
        lines += ["# the whole study, from the start", command, ""]
    lines += [
        "# the very same specification, in a new folder",
        f"mkdir {again} && cp {folder}/study.json {again}/",
        f"{run} {again}",
        "",
        "# go on with this folder; what is done is not done again",
        f"{run} {folder}",
    ]
    return "\n".join(lines)


def _made_by(facts: Facts) -> str:
    """Return all versions and devices that made the points; empty if there are no points."""
    made = [p for p in facts.everyone if p.status != "failed"]
    values = {
        name: " and ".join(dict.fromkeys(getattr(p, name) or UNKNOWN for p in made))
        for name in MADE_BY
    }
    if set(values.values()) <= {UNKNOWN, ""}:
        return "not recorded in these points" if made else ""
    return (
        f"isoclone {values['isoclone_version']}, torch {values['torch_version']}, "
        f"device {values['device']}, precision {values['precision']}"
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(not installed)"
