"""Ablations: variants of one study, each trained to the same budget, beside each other on a page.

A Python file names the variants (see `studies/nethack_context.py`) and is run by itself:

    python studies/nethack_context.py --demos demos/aa --out studies-out/nethack-context
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isoclone.executors import Executor, SerialExecutor
from isoclone.records import Point
from isoclone.report.ablation import write_ablation
from isoclone.spec import StudySpec
from isoclone.store import write_rows
from isoclone.study import Observer, Study


@dataclass(frozen=True)
class Ablation:
    """A question, and the variants that answer it.

    Attributes:
        base: the study whose demonstrations, game and recipe all variants share.
        variants: what to change, by label: fields of `StudySpec`, and 'width'.
        width: of variants that do not say otherwise.
        flops: what each variant is trained for.
    """

    name: str
    question: str
    base: StudySpec
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    width: int = 48
    flops: float = 5e11

    def run(
        self, out: Path, demos: Path | None = None, workers: Executor | None = None
    ) -> list[tuple[str, Point]]:
        """Train every variant that is not there yet; returns (label, point) of each.

        Writes `ablation.html`, `ablation.csv` and `ablation.parquet` into `out`.
        """
        rows = [
            (label, self._point(out, label, changes, demos, workers))
            for label, changes in self.variants.items()
        ]
        write_ablation(out / "ablation.html", self.name, self.question, rows)
        table = [{"variant": label, **_told(point)} for label, point in rows]
        write_rows(
            out / "ablation", table, {"variant": str, **dict.fromkeys(_told(rows[0][1]), float)}
        )
        return rows

    def _point(
        self,
        out: Path,
        label: str,
        changes: dict[str, Any],
        demos: Path | None,
        workers: Executor | None,
    ) -> Point:
        fields = {"name": label.replace(" ", "-").replace("/", "-"), **changes}
        width = int(fields.pop("width", self.width))
        if demos is not None:
            fields.setdefault("demos", str(demos.resolve()))
        spec = self.base.replace(**fields)
        study = Study.create(out / spec.name, spec)
        study.record(workers or SerialExecutor(), Observer())
        return study.train_one(width, self.flops)


def _told(point: Point) -> dict[str, Any]:
    names = ("params", "samples", "flops", "dev_loss", "dev_loss_se", "return_mean", "return_se")
    return {name: getattr(point, name) for name in names}


def main(ablation: Ablation) -> None:
    """Run an ablation from the command line: --out, --demos."""
    import argparse

    parser = argparse.ArgumentParser(description=ablation.question)
    parser.add_argument("--out", type=Path, default=Path("studies-out") / ablation.name)
    parser.add_argument("--demos", type=Path, default=None)
    given = parser.parse_args()
    for label, point in ablation.run(given.out, given.demos):
        print(f"{label:24s} dev loss {point.dev_loss} ± {point.dev_loss_se}  N {point.params:,}")
    print(given.out / "ablation.html")
