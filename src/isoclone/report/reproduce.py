"""What it takes to do it all again."""

from __future__ import annotations

import platform
import shlex
from importlib import metadata

from isoclone.base.errors import IsocloneError
from isoclone.report.facts import DemosFacts, Facts
from isoclone.report.pieces import code, note, raw, section, table
from isoclone.report.words import (
    esc,
    flat,
    plural,
    short,
    whole,
    with_error,
)
from isoclone.study.builtins import builtin

PACKAGES = ("isoclone", "torch", "numpy", "scipy", "ale-py", "gymnasium")
CONVENTIONS = {
    "exact": "forward and backward pass (twice the forward) of every matrix multiply and "
    "convolution, each convolution at its output resolution",
    "6nd": "six times parameters times samples",
    "tuyls2023-atari": "forward and backward pass with each convolution at its input resolution, "
    "as in Tuyls et al. 2023 for Atari",
}


def reproduce(facts: Facts) -> str:
    """Commands, specification, demonstrations, versions: what it takes to do it again."""
    spec = facts.spec
    convention = CONVENTIONS.get(spec.flop_convention, "")
    parts = [f"<pre>{_commands(facts)}</pre>", _demos(facts.demos, facts)]
    parts.append(
        f"<p><b>FLOPs</b> follow the convention {code(spec.flop_convention)}: {convention}. "
        "Biases, activations and the optimiser are not counted. Every point carries N and D, so "
        "that any other convention can be worked out.</p>"
    )
    seeds = ", ".join(str(s) for s in spec.seeds)
    parts.append(
        f"<p><b>Seeds:</b> {seeds} for training, {spec.demos_seed} for the demonstrations. "
        f"<b>Evaluation:</b> about {whole(spec.dev_samples)} dev samples; "
        f"{plural(spec.episodes, 'episode')} for each point's return and {spec.forecast_episodes} "
        f"for the forecast agent's, actions chosen by {code(spec.sampling)}.</p>"
    )
    recipe = [
        [code(k), esc(short(v) if not isinstance(v, list) else flat(v))]
        for k, v in spec.recipe.items()
    ]
    parts.append(
        f"<details><summary>Training recipe {code(spec.recipe.get('name', ''))}</summary>"
        f"{table(['field', 'value'], recipe)}</details>"
    )
    parts.append(raw("Specification (study.json)", spec.to_json()))
    versions = " · ".join(f"{name} {esc(_version(name))}" for name in PACKAGES)
    parts.append(note(f"Page written with {versions} · Python {platform.python_version()}."))
    return section("reproduce", "Do it again", *parts)


def _commands(facts: Facts) -> str:
    spec, folder = facts.spec, shlex.quote(facts.folder)
    again = shlex.quote(f"{facts.folder}-again")
    lines = []
    if _is_builtin(facts):
        command = f"isoclone run {shlex.quote(spec.name)} --out {again}"
        lines += ["# the whole study, from the start", command, ""]
    lines += [
        "# the very same specification, in a new folder",
        f"mkdir {again} && cp {folder}/study.json {again}/",
        f"isoclone run {again}",
        "",
        "# go on with this folder; what is done is not done again",
        f"isoclone run {folder}",
    ]
    return esc("\n".join(lines))


def _is_builtin(facts: Facts) -> bool:
    """Whether the study is one that comes with isoclone, the settled precision aside."""
    try:
        known = builtin(facts.spec.name)
    except IsocloneError:
        return False
    settled = {**known.recipe, "precision": facts.spec.recipe.get("precision")}
    return known.replace(recipe=settled) == facts.spec


def _demos(found: DemosFacts | None, facts: Facts) -> str:
    if found is None:
        return "<p><b>Demonstrations:</b> not there.</p>"
    ends = ", ".join(f"{count} {kind}" for kind, count in found.ends.items())
    where = facts.spec.demos or f"{facts.folder}/demos"
    return (
        f"<p><b>Demonstrations:</b> expert {code(found.expert)} scores "
        f"{with_error(found.mean, found.se)} over "
        f"{plural(sum(found.episodes.values()), 'episode')} ({esc(ends)}). Split by episode: "
        f"{found.episodes['train']} to train on ({whole(found.samples['train'])} samples), "
        f"{found.episodes['dev']} held out ({whole(found.samples['dev'])} samples). "
        f"Fingerprint {code(found.fingerprint)}, in {code(where)}.</p>"
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(not installed)"
