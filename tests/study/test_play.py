"""Studies of reinforcement: whole ones, from clones, and what goes wrong."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import isoclone as ic
from isoclone.agents.checkpoint import load_checkpoint
from isoclone.base.errors import CheckpointError, DataError, SpecError
from isoclone.base.records import Point
from isoclone.base.store import read_json, write_json
from isoclone.cli import main
from isoclone.evaluation.rollout import rollout
from isoclone.executors import executor
from isoclone.games import game
from isoclone.games.recall import Recall
from isoclone.study import pipeline, worker
from isoclone.study.calibrate_play import calibrated_play, unsized_play
from isoclone.study.clones import best_agent, clone_fingerprint
from isoclone.study.examine import examine
from isoclone.study.plan import next_cells
from isoclone.study.recording import record
from isoclone.study.session import Session
from isoclone.study.study import Study
from isoclone.study.worker import BASELINE_SEED
from isoclone.training.reinforcement.recipe import PPO

QUICK = dataclasses.replace(PPO, slots=4, rollout_steps=32, batch_size=64, epochs=2)
FIELDS: dict[str, Any] = {
    "game": "gym/CartPole-v1",
    "policy": "mlp",
    "widths": (4, 6, 9),
    "budgets_flops": (1e6, 2e6, 4e6),
    "seeds": (0, 1),
    "recipe": QUICK.to_json(),
    "episodes": 4,
    "forecast_episodes": 4,
    "extend": 0,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study that was carried out in this process."""
    return pipeline.run(Study.create(tmp_path_factory.mktemp("play") / "play", **FIELDS))


def test_a_study_plays_learns_forecasts_and_reports(whole: Study) -> None:
    study = whole
    points = study.points()
    assert len(points) == 18
    for point in points:
        assert (point.status, point.dev_loss, point.role) == ("ok", None, "sweep")
        assert point.return_mean is not None
        assert point.samples == point.unique_samples > 0
        assert point.epochs == QUICK.epochs
        assert point.play_flops is not None
        assert point.learn_flops is not None
        assert point.flops == point.play_flops + point.learn_flops >= point.budget_flops
    tested = study.tested()
    assert tested.forecast.dev_loss is None
    assert tested.point is not None
    assert tested.verdicts["dev_loss"] is None
    assert tested.verdicts["return_mean"] in ("inside", "outside", "says nothing")
    assert set(study.references()) == {"random"}
    assert set(study.baselines()) == {"smallest"}
    page = study.folder.report.read_text()
    assert "nobody in" not in page
    assert "An environment step counts as it was played" in page
    assert examine(study.path) == []
    rows = study.folder.run(points[0].run_id).curve
    assert rows.exists()


def test_whoever_does_the_work_the_points_are_the_same(whole: Study, tmp_path: Path) -> None:
    two = Session(executor("processes", workers=2))
    together = pipeline.run(Study.create(tmp_path / "play", **FIELDS), two)
    mine, theirs = (s.folder.points.with_suffix(".csv").read_bytes() for s in (whole, together))
    assert mine == theirs


def test_runs_start_from_the_clone_of_their_width(tmp_path: Path) -> None:
    about = {k: v for k, v in FIELDS.items() if k not in ("recipe", "game")}
    clones = Study.create(
        tmp_path / "clones",
        game="toy",
        expert="scripted",
        samples=900,
        dev_samples=100,
        **{**about, "budgets_flops": (1e6, 3e6)},
    )
    pipeline.run(clones)
    taught = dataclasses.replace(QUICK, teacher_coef=1.0, teacher_samples=1_000)
    learned = {**FIELDS, "game": "toy", "recipe": taught.to_json()}
    learned |= {"budgets_flops": (1e7, 2e7), "seeds": (0,)}
    study = Study.create(tmp_path / "play", clones=str(clones.path), **learned)
    pipeline.run(study)
    for point in study.points():
        run = next(run for run in study.runs() if run.id == point.run_id)
        assert run.demos == clone_fingerprint(study.path, run.width)
    rows = read_json(study.folder.clones)
    assert set(rows) == {"4", "6", "9"}
    with pytest.raises(SpecError, match="no clone of width 5 to start from; it has 4, 6, 9"):
        clone_fingerprint(study.path, 5)
    best = max((p for p in clones.points(None) if p.width == 4), key=lambda p: p.flops)
    assert rows["4"]["flops"] == best.flops
    point = study.tested().point
    assert point is not None
    clone = study.baselines()["clone"]
    weights = load_checkpoint(study.folder.clone(point.width))
    played = rollout(weights, game("toy"), 4, BASELINE_SEED, study.spec.sampling)
    assert (clone.mean, clone.episodes) == (played.mean, 4)
    # the other study is needed no more, and a changed clone is seen
    assert examine(study.path) == []
    weights = study.folder.clone(4)
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert [harm.path for harm in examine(study.path)] == [weights]
    study.folder.clones.write_text("{")
    assert [harm.path for harm in examine(study.path)] == [study.folder.clones]


def test_clones_are_looked_at_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], whole: Study
) -> None:
    """A game without a study is calibrated, which takes time; a wrong clone is refused first."""
    Study.create(tmp_path / "begun", **FIELDS)
    for place, said in (
        (tmp_path / "begun", "has no trained agent"),
        (tmp_path, "holds no study"),
        (whole.path, "its game is 'gym/CartPole-v1', not 'recall'"),
    ):
        words = ["run", "recall", "--learn", "rl", "--from", str(place), "--widths", "3", "4", "6"]
        assert main([*words, "--out", str(tmp_path / "out")]) != 0
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_study_goes_on_where_the_clones_study_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], whole: Study
) -> None:
    """The clones are in it. The game has no ready-made study, so its sizes come from there."""
    shutil.copytree(whole.path, tmp_path / "clones")
    words = ["--learn", "rl", "--from", str(tmp_path / "clones"), "--widths", "4", "6", "9"]
    words += ["--budgets", "1e7", "2e7", "--seeds", "0", "--episodes", "2", "--out"]
    make = ["plan", "gym/CartPole-v1", *words, str(tmp_path / "play")]
    fields = {**FIELDS, "recipe": ic.recipe("ppo").to_json(), "budgets_flops": (1e7, 2e7)}
    about = {"seeds": (0,), "episodes": 2, "forecast_episodes": 32, "name": "gym-cartpole-v1-rl"}
    Study.create(tmp_path / "play", clones=str(tmp_path / "clones"), **fields | about)
    shutil.rmtree(tmp_path / "clones")
    assert main(make) == 0
    assert main([*make[:-1], str(tmp_path / "new")]) != 0
    assert "clones holds no study" in capsys.readouterr().err


def test_a_damaged_clone_is_refused_and_a_killed_start_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Study
) -> None:
    shutil.copytree(whole.path, tmp_path / "clones")
    asked = {**FIELDS, "clones": str(tmp_path / "clones")}
    agent = max((p for p in whole.points(None) if p.width == 6), key=lambda p: p.flops)
    weights = tmp_path / "clones" / str(agent.checkpoint)
    sound = weights.read_bytes()
    weights.write_bytes(sound[:-9])
    with pytest.raises(CheckpointError, match=rf"{re.escape(str(weights))} is damaged"):
        Study.create(tmp_path / "play", **asked)
    assert not (tmp_path / "play").exists()
    weights.write_bytes(sound)
    with monkeypatch.context() as patched:
        patched.setattr("isoclone.study.clones.write_json", lambda *_: 1 / 0)  # killed before that
        with pytest.raises(ZeroDivisionError):
            Study.create(tmp_path / "play", **asked)
    with pytest.raises(DataError, match="missing: the command that made the study brings"):
        clone_fingerprint(tmp_path / "play", 4)
    study = Study.create(tmp_path / "play", **asked)
    assert [clone_fingerprint(study.path, width) for width in (4, 6, 9)]
    study.folder.clones.unlink()
    (study.path / "runs" / "begun").mkdir(parents=True)
    Study.create(tmp_path / "play", **asked)  # other agents may be there now: none is brought
    with pytest.raises(DataError, match="missing: restore it"):
        clone_fingerprint(study.path, 4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"game": "gym/CartPole-v1"}, "its game is 'toy', not 'gym/CartPole-v1'"),
        ({"policy": "cnn"}, "its policy is 'mlp', not 'cnn'"),
        ({"widths": (4, 6, 10)}, "no agent of width 10 to start from; give --widths of 4, 6, 9"),
        ({"clones": "/nowhere"}, "--from /nowhere holds no study"),
    ],
)
def test_a_clone_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    about = {k: v for k, v in FIELDS.items() if k not in ("recipe", "game", "seeds")}
    about |= {"budgets_flops": (1e6, 3e6), "samples": 900, "dev_samples": 100}
    clones = Study.create(tmp_path / "clones", game="toy", expert="scripted", **about)
    record(clones, Session())
    pipeline.sweep(clones, Session())
    asked = {**FIELDS, "game": "toy", "clones": str(clones.path), "budgets_flops": (1e9, 2e9)}
    asked |= changes
    with pytest.raises(SpecError, match=said):
        Study.create(tmp_path / "play", **asked)
    assert not (tmp_path / "play").exists()


class Dies:
    """A game of recall whose environment raises in the middle of a rollout."""

    def __init__(self, env: Any, after: int):
        self._env, self._left = env, after

    def reset(self, seed: int) -> np.ndarray:
        return self._env.reset(seed)  # type: ignore[no-any-return]

    def step(self, action: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise OSError("the simulator went away")
        return self._env.step(action)


@dataclasses.dataclass(frozen=True)
class Mortal(Recall):
    """Recall; each environment lives for so many steps."""

    def make_env(self) -> Dies:  # type: ignore[override]
        return Dies(super().make_env(), 200)


def mortal(**options: Any) -> Mortal:
    known = Recall.of()
    return Mortal(**{**known.__dict__, "name": "mortal"})


ic.register_game("mortal", mortal)


def test_an_environment_that_dies_in_a_rollout_is_a_row_with_its_reason(tmp_path: Path) -> None:
    fields = {**FIELDS, "game": "mortal", "budgets_flops": (5e5, 2e7)}
    study = Study.create(tmp_path / "play", **fields)
    with pytest.raises(ic.IsocloneError, match="the simulator went away"):
        pipeline.run(study)
    failed = [p for p in study.points(None) if p.status == "failed"]
    assert failed
    assert all("failed at step" in (p.reason or "") for p in failed)
    assert study.folder.report.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"budgets_flops": (1e3, 1e7)}, "budgets_flops: 1e[+]03 is less than"),
        ({"episodes": 0}, "judged by its returns"),
        ({"rules": "narrow"}, "judged by its returns"),
        ({"demos": "somewhere"}, "demos are for studies that imitate"),
        ({"expert": "random"}, "expert and expert_options are for studies that imitate"),
        ({"flop_convention": "x"}, "'x' is not defined .*; exact, 3x-forward and 6nd are"),
        ({"recipe": {"learner": "sac"}}, "learner must be 'ppo', or left out to clone, not 'sac'"),
        (
            {"recipe": {**QUICK.to_json(), "clip": float("nan")}},
            "recipe: clip must be a plain, finite value, not nan",
        ),
        ({"ceiling": float("inf")}, "ceiling must be a finite number"),
        ({"game": "data"}, "demos|no environment|data"),
        ({"recipe": ic.recipe("lean").to_json(), "ceiling": 500.0}, "ceiling is for studies of"),
    ],
)
def test_a_study_that_cannot_be_is_refused(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ic.IsocloneError, match=said):
        Study.create(tmp_path / "play", **{**FIELDS, **changes})


def test_what_is_no_study_is_not_run() -> None:
    with pytest.raises(SpecError, match=r"ic.run takes a study, as Study.open\(path\) gives it"):
        ic.run("studies/play")  # type: ignore[arg-type]


def test_the_best_size_is_that_of_the_highest_return(tmp_path: Path) -> None:
    spec = Study.create(tmp_path / "play", **{**FIELDS, "seeds": (0, 1)}).spec

    def measured(returns: dict[int, float]) -> list[Point]:
        rows = []
        for width, value in returns.items():
            for seed in spec.seeds:
                run = spec.run_for(width, seed, "", 1e6)
                told = {"return_mean": value + seed, "return_se": 1.0, "episodes": 4}
                rows.append(Point.of_run(run, 1e6, width, "sweep", **told))
        return rows

    after = next_cells(spec, measured({4: 20.0, 6: 50.0, 9: 400.0}))
    assert {d.what for d in after.decisions} == {"stopped"}
    assert after.decisions[0].width == 4
    assert "of return" in after.decisions[0].why
    tied = next_cells(spec, measured({4: 500.0, 6: 500.0, 9: 500.0}))
    assert tied.decisions == ()


def test_a_run_that_falls_far_is_said_to_have_collapsed(whole: Study, tmp_path: Path) -> None:
    """Its point of an earlier budget is made a high one; what it scores now is what it scores."""
    shutil.copytree(whole.path, tmp_path / "play")
    study = Study.open(tmp_path / "play")
    study.spec.trust()
    point = study.points()[0]
    folder = study.folder.run(point.run_id)
    before = read_json(folder.point(2e6))
    write_json(folder.point(2e6), {**before, "return_mean": 1e4, "return_se": 1.0})
    folder.point(4e6).unlink()
    pipeline.train_run(study, point.run_id, 4e6)
    again = Point.from_json(read_json(folder.point(4e6)))
    assert again.status == "collapsed"
    assert "the return fell from 1e+04 at 2e+06 FLOPs" in (again.reason or "")
    assert again.return_mean is not None


def test_a_return_of_zero_is_better_than_one_below(whole: Study, tmp_path: Path) -> None:
    shutil.copytree(whole.path, tmp_path / "play")
    study = Study.open(tmp_path / "play")
    for point in study.points(None):
        path = study.folder.run(point.run_id).point(point.budget_flops)
        score = 0.0 if (point.width, point.seed, point.budget_flops) == (6, 1, 2e6) else -5.0
        write_json(path, {**read_json(path), "role": "sweep", "return_mean": score})
    best = next(p for p in study.points() if p.return_mean == 0.0)
    assert best_agent(study.path) == study.path / str(best.checkpoint)
    references = read_json(study.folder.references)
    write_json(study.folder.references, references | {"random": {"mean": -1e9, "se": 0.0}})
    folder = study.folder.run(best.run_id)
    job = worker._Job(study.path, folder, 4e6, "sweep", "cpu")
    fell = job._collapsed({"return_mean": -9e8, "return_se": 1.0})
    assert "fell from 0 at 2e+06" in fell["reason"]


def test_a_size_that_failed_is_said_to_have_failed(whole: Study) -> None:
    """It stops, as no more is known of it; how much worse it is nobody can tell."""
    scored = [
        dataclasses.replace(p, return_mean=float(p.width), return_se=0.1)
        if p.width > 4
        else dataclasses.replace(p, return_mean=None, status="failed", reason="it went away")
        for p in whole.points()
        if p.budget_flops == 1e6
    ]
    decisions = next_cells(whole.spec, scored).decisions
    (why,) = (d.why for d in decisions if (d.what, d.width) == ("stopped", 4))
    assert why == "2 sizes below width 9 and a run of it failed"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--learn", "rl", "--minutes=-1"], "--minutes must be a number above 0, not -1"),
        (["--learn", "rl", "--minutes", "0"], "--minutes must be a number above 0, not 0"),
        (["--learn", "rl", "--options", "a=1"], "--options is for cloning: with --learn rl"),
        (["--recipe", "ppo", "--samples", "9"], "--samples is for cloning: with --recipe ppo"),
        (["--learn", "bc", "--recipe", "ppo"], "--recipe ppo is not one for --learn bc"),
    ],
)
def test_flags_that_mean_nothing_are_refused(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "gym/CartPole-v1", *words, "--out", str(tmp_path / "x")]) == 2
    assert said in capsys.readouterr().err
    assert main(["plan", "toy", "--minutes", "3", "--out", str(tmp_path / "x")]) == 2
    assert "the study 'toy' has them: leave it out" in capsys.readouterr().err


def test_sizes_and_budgets_are_chosen_by_the_time() -> None:
    spec = unsized_play("gym/CartPole-v1", taught=False)
    assert not spec.imitates
    short, long = (calibrated_play(spec, 2, minutes) for minutes in (20.0, 200.0))
    assert len(short.widths) >= 3
    assert max(long.budgets_flops) > 3 * max(short.budgets_flops)
    least = max(spec.batch_flops(w) for w in long.widths)
    assert min(long.budgets_flops) >= 2 * least * 0.95  # two digits are kept
    with pytest.raises(SpecError, match="do not suffice for 3 sizes"):
        calibrated_play(spec, 1, 0.001)


def test_recall_cannot_be_solved_without_memory_by_chance() -> None:
    known = game("recall", cues=4, delay=2)
    assert (known.n_actions, known.max_steps, known.random_score) == (4, 3, 0.25)
    with pytest.raises(SpecError, match="cues must be a whole number of at least 2"):
        game("recall", cues=1)
