"""The training curve: the same rows however often a run stops."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support import tiny_spec

from isoclone.base.curves import read_curve
from isoclone.base.errors import StoreError
from isoclone.study.folder import StudyFolder
from isoclone.study.jobs import declare
from isoclone.study.study import Study
from isoclone.study.worker import train_to_budget
from isoclone.training.curve import Curve
from isoclone.training.loop import Trainer


def timeless(rows):
    return [replace(row, samples_per_s=None) for row in rows]


def test_every_run_has_a_curve_with_a_dev_loss_at_each_point(finished_study):
    study = Study.open(finished_study)
    points = study.points(None)
    for run in study.runs():
        rows = read_curve(study.folder.run(run.id).curve)
        own = {p.samples: p.dev_loss for p in points if p.run_id == run.id}
        samples = [row.samples for row in rows]
        assert samples == sorted(set(samples))
        assert samples[-1] == max(own)
        assert {r.samples: r.dev_loss for r in rows if r.dev_loss is not None} == own
        cost = points[0].flops / points[0].samples if points[0].run_id == run.id else None
        assert cost is None or all(r.flops == pytest.approx(r.samples * cost) for r in rows)
        trained = [row for row in rows if row.train_loss is not None]
        assert len(trained) >= 10
        assert all(row.gradient_norm > 0 and row.learning_rate > 0 for row in trained)


def stopping(monkeypatch, after):
    """Have training killed after so many steps, its state saved at odd moments."""
    step, done = Trainer.step, [0]

    def killed(self):
        if done[0] == after:
            raise KeyboardInterrupt
        step(self)
        done[0] += 1
        if done[0] % 7 == 0:
            self.save()

    monkeypatch.setattr(Trainer, "step", killed)


def train(study, run, budgets):
    for budget in budgets:
        train_to_budget(study.path, run.id, budget, "sweep", "cpu")


def test_a_run_that_is_killed_has_the_rows_of_one_that_is_not(tmp_path, toy_demos, monkeypatch):
    budgets = (1e7, 1e8)
    curves = []
    for name, stops in (("whole", []), ("killed", [5, 23, 40, 30, 3])):
        study = Study.create(tmp_path / name, tiny_spec(demos=str(toy_demos.path), episodes=0))
        run = study.spec.run_for(4, 0, toy_demos.fingerprint, budgets[-1])
        declare(study, run)
        for after in stops:
            with monkeypatch.context() as patch:
                stopping(patch, after)
                with pytest.raises(KeyboardInterrupt):
                    train(study, run, budgets)
        train(study, run, budgets)
        curves.append(timeless(read_curve(study.folder.run(run.id).curve)))
    assert curves[0] == curves[1]
    assert len(curves[0]) > 50


def test_a_run_that_begins_again_keeps_its_later_rows(study_copy):
    study = Study.open(study_copy)
    points = study.points(None)  # the forecast's agent may have one alone
    run = next(r for r in study.runs() if sum(p.run_id == r.id for p in points) > 1)
    folder = study.folder.run(run.id)
    before = timeless(read_curve(folder.curve))
    first = min(p.budget_flops for p in study.points(None) if p.run_id == run.id)
    folder.point(first).unlink()
    train_to_budget(study.path, run.id, first, "sweep", "cpu")
    assert folder.restarted.exists()
    assert timeless(read_curve(folder.curve)) == before


def test_a_damaged_curve_is_named(study_copy):
    path = next(StudyFolder(study_copy).path.glob("runs/*/curve.parquet"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StoreError, match="damaged"):
        read_curve(path)


def test_a_curve_grows_with_the_logarithm_of_the_steps():
    curve = Curve()
    for step in range(1, 100_001):
        curve.saw(1.0 / step)
        if curve.begins_row(step):
            curve.add(step, 32 * step, 1e-3, 1.0, 0.001 * step)
    assert 120 < len(curve.steps) < 200
    again = Curve.restored(curve.tensor(), curve.seconds)
    assert vars(again) == vars(curve)
    rows = again.rows(10.0)
    assert rows[-1].samples_per_s == pytest.approx(32_000)
    assert rows[0].flops == 320
