"""The pipeline: what begins anew, what a failure leaves, what is written first."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support import tiny_spec

from isoclone.base.errors import ExecutionError
from isoclone.base.results import NOT_A_TEST
from isoclone.base.store import read_json
from isoclone.study import pipeline
from isoclone.study.jobs import Job, declare, forget_failures, train_all
from isoclone.study.session import Observer, Session
from isoclone.study.study import Study
from isoclone.study.trial import try_forecast
from isoclone.study.worker import train_to_budget, train_to_budgets
from isoclone.training.loop import Trainer


@pytest.fixture
def begun(tmp_path, finished_study) -> Study:
    """A study with demonstrations and nothing else."""
    spec = tiny_spec(demos=str(finished_study / "demos"))
    return Study.create(tmp_path / "begun", spec)


def a_run(study: Study, width: int = 2):
    run = pipeline.run_of(study, width, 1e7, 0, study.demos().fingerprint)
    declare(study, run)
    return run, study.folder.run(run.id)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no room"), RuntimeError("a broken bus")])
def test_only_a_damaged_state_makes_a_run_begin_again(begun, monkeypatch, error):
    """Whatever else goes wrong while a run is resumed, its progress is kept."""
    run, folder = a_run(begun)
    train_to_budget(begun.path, run.id, 3e6, "extra", "cpu")
    state = folder.state.read_bytes()

    def fails(*_: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_restore", fails)
        with pytest.raises(type(error)):
            train_to_budget(begun.path, run.id, 1e7, "extra", "cpu")
    assert folder.state.read_bytes() == state
    assert not folder.restarted.exists()
    train_to_budget(begun.path, run.id, 1e7, "extra", "cpu")
    assert not folder.restarted.exists()


def test_a_damaged_state_is_said_and_gives_the_same_point(begun, tmp_path):
    run, folder = a_run(begun)
    train_to_budget(begun.path, run.id, 3e6, "extra", "cpu")
    train_to_budget(begun.path, run.id, 1e7, "extra", "cpu")
    whole = folder.point(1e7).read_bytes()
    folder.point(1e7).unlink()
    folder.state.write_bytes(folder.state.read_bytes()[:-7])
    train_to_budget(begun.path, run.id, 1e7, "extra", "cpu")
    assert "damaged" in read_json(folder.restarted)["why"]
    assert folder.point(1e7).read_bytes() == whole


@pytest.mark.parametrize(
    ("error", "said"),
    [(KeyError("no such batch"), "KeyError: 'no such batch'"), (SystemExit(0), "SystemExit: 0")],
)
def test_a_failed_run_leaves_its_traceback(begun, monkeypatch, error, said):
    """In the run's folder, named by the one line of the row; gone once the run succeeds."""
    told = []

    class Listener(Observer):
        def trouble(self, message: str) -> None:
            told.append(message)

    def breaks(*_: object) -> None:
        raise error

    run, folder = a_run(begun)
    jobs = [Job(begun, run, (3e6,))]
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "step", breaks)
        train_all(jobs, "sweep", Session(observer=Listener()))
    (point,) = begun.points()
    assert point.status == "failed"
    assert f"traceback in runs/{run.id}/failure.txt" in point.reason
    assert said in folder.failure.read_text()
    assert "in breaks" in folder.failure.read_text()
    assert len(told) == 1
    forget_failures(begun)
    train_all(jobs, "sweep", Session())
    assert begun.points()[0].status == "ok"
    assert not folder.failure.exists()


def test_a_point_made_by_hand_equals_the_sweeps(finished_study, begun):
    """Its return included."""
    theirs = Study.open(finished_study).points()[0]
    ours = pipeline.train_size(begun, theirs.width, theirs.budget_flops, theirs.seed)
    assert ours.role == "extra"
    assert ours == type(ours)(**{**theirs.to_json(), "role": "extra"})


def test_a_forecast_is_written_before_its_agent_is_trained(study_copy, monkeypatch):
    """What was written stands, whatever the laws say later."""
    study = Study.open(study_copy)
    (agent,) = study.points("forecast")
    study.folder.run(agent.run_id).point(agent.budget_flops).unlink()
    study.folder.forecast.unlink()

    def power_cut(*_: object, **__: object) -> None:
        raise ExecutionError("the power went off")

    with monkeypatch.context() as patched:
        patched.setattr("isoclone.study.trial.train_beside", power_cut)
        with pytest.raises(ExecutionError, match="power"):
            try_forecast(study, Session())
    written = study.tested()
    assert written.point is None
    monkeypatch.setattr(Study, "laws", lambda study: pytest.fail("fitted again"))
    tested = try_forecast(study, Session())
    assert tested.forecast == written.forecast
    assert tested.point == agent


def test_an_agent_of_two_seeds_is_two_runs_and_one_mean(begun, monkeypatch):
    spec = begun.spec.replace(name="two", seeds=(3,), forecast_seeds=2, forecast_episodes=5)
    study = Study.create(begun.path.with_name("two"), spec)
    tried = train_to_budgets

    def second_fails(path, run_id, *rest):
        if read_json(study.folder.run(run_id).file)["seed"] == 4:
            raise MemoryError("no room")
        return tried(path, run_id, *rest)

    with monkeypatch.context() as patched:
        patched.setattr("isoclone.study.worker.train_to_budgets", second_fails)
        pipeline.run(study)
    assert [p.status for p in study.tested().by_seed] == ["ok", "failed"]
    page = study.folder.report.read_text()
    assert "Forecast agent, seed 4: failed (MemoryError: no room" in page
    first = study.tested().by_seed[0]
    pipeline.run(study)
    tested = study.tested()
    assert tested.forecast.agents == 2
    assert "the mean of 2 agents of different seeds" in page
    assert [(p.seed, p.status, p.episodes) for p in tested.by_seed] == [(3, "ok", 3), (4, "ok", 3)]
    assert tested.by_seed[0] == first
    assert tested.point.dev_loss == sum(p.dev_loss for p in tested.by_seed) / 2
    assert tested.by_seed == tuple(study.points("forecast"))
    assert all(p.run_id in study.folder.report.read_text() for p in tested.by_seed)


def test_a_lost_forecast_is_a_test_again_only_if_it_is_the_same(study_copy, monkeypatch):
    """Whoever knows the agent could make any forecast hold."""
    study = Study.open(study_copy)
    first = study.tested()
    study.folder.forecast.unlink()
    assert try_forecast(study, Session()) == first
    study.folder.forecast.unlink()
    fit, asked = Study.forecast, list[int | None]()

    def later(study, flops=None, episodes=None):
        asked.append(episodes)
        predicted = fit(study, flops, episodes)
        return replace(predicted, dev_loss=replace(predicted.dev_loss, low=0.0, high=9.0))

    monkeypatch.setattr(Study, "forecast", later)
    told = try_forecast(study, Session())
    assert asked == [None, first.point.episodes]
    assert told.after_agent
    assert told.by_seed == first.by_seed
    assert set(told.verdicts.values()) == {NOT_A_TEST}
    assert set(told.holds.values()) == {None}
    study.folder.forecast.unlink()  # and once more: what was made later is not what was lost
    assert try_forecast(study, Session()).after_agent


def test_agent_and_baselines_play_as_many_episodes_as_the_forecast_is_made_for(begun):
    spec = begun.spec.replace(name="needed", forecast_episodes=300, forecast_seeds=2)
    study = pipeline.run(Study.create(begun.path.with_name("needed"), spec))
    tested, played = study.tested(), study.baselines()
    needed = tested.forecast.episodes
    assert spec.episodes <= needed < 150
    assert {p.episodes for p in tested.by_seed} == {needed}
    assert {row.episodes for row in played.values()} == {needed}
    assert f"{needed} episodes of each agent" in study.folder.report.read_text()
    assert study.forecast() == tested.forecast
