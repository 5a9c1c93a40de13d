"""Flags that several verbs have, each said once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

if TYPE_CHECKING:
    from isoclone.executors import Executor

FLAT = tyro.conf.arg(name="")  # the flags are the verb's own: --workers, not --crew.workers


@dataclass(frozen=True)
class Crew:
    """who does the work"""

    executor: str = "processes"
    """processes, serial, ray, slurm."""
    workers: int | None = None
    """how many at once; unless said, one a core, or what the cluster has room for."""
    address: str | None = None
    """(ray) the cluster, as host:port or auto; Ray is started here unless said."""
    cpus: float | None = None
    """(ray, slurm) CPUs each run asks for; 1 unless said."""
    gpus: float | None = None
    """GPUs each run on cuda asks for, or the share of one: 10 runs of 0.1 share one GPU."""
    executor_options: tuple[str, ...] = ()
    """the executor's other options, as name=value; see docs/cluster.md."""

    def gathered(self) -> Executor:
        """The executor that was asked for.

        Raises:
            SpecError: options it does not have, or cannot have here.
        """
        from isoclone.cli.expert import parse_options
        from isoclone.executors import executor

        given = {"address": self.address, "cpus": self.cpus, "gpus": self.gpus}
        named = {name: value for name, value in given.items() if value is not None}
        others = parse_options(self.executor_options, "--executor-options")
        return executor(self.executor, self.workers, **named | others)


@dataclass(frozen=True)
class Changes:
    """what to change in the study's specification"""

    demos: Path | None = None
    """use these demonstrations instead of recording some."""
    seeds: tuple[int, ...] | None = None
    """training seeds."""
    samples: int | None = None
    """demonstrations to record, in samples."""
    widths: tuple[int, ...] | None = None
    """sizes of the grid, ascending."""
    budgets: tuple[float, ...] | None = None
    """compute budgets in FLOPs, ascending."""
    episodes: int | None = None
    """episodes played for each point's mean return."""
    recipe: str | None = None
    """training recipe by name (lean, paper, nethack)."""
    forecast_flops: float | None = None
    """where the forecast is put to the test."""

    def fields(self) -> dict[str, Any]:
        """What was given, as fields of a specification."""
        from isoclone.demos import open_demos
        from isoclone.recipes import recipe
        from isoclone.remote import address_of

        demos = self.demos
        where = (address_of(demos) or str(demos_in(demos).resolve())) if demos else None
        given = {
            "demos": where,
            "expert": open_demos(where, verify=False).expert_name if where else None,
            "seeds": self.seeds,
            "samples": self.samples,
            "widths": self.widths,
            "budgets_flops": self.budgets,
            "episodes": self.episodes,
            "recipe": recipe(self.recipe).to_json() if self.recipe else None,
            "forecast_flops": self.forecast_flops,
        }
        return {name: value for name, value in given.items() if value is not None}


CREW, CHANGES = Crew(), Changes()


def demos_in(path: Path) -> Path:
    """the demonstrations that a directory holds, or is: a study and a recording hold them."""
    inner = path / "demos"
    return inner if (inner / "request.json").exists() else path
