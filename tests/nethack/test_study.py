"""Studies of whole games: recorded or imported, trained, and set beside baselines."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("nle", reason="the extra 'nethack' is not installed")

from support import tiny_nethack_spec

from isoclone.agents.checkpoint import load_checkpoint
from isoclone.base.errors import DataError, SpecError
from isoclone.base.store import read_json
from isoclone.cli import main
from isoclone.cli.flags import Changes
from isoclone.cli.source import planned_study
from isoclone.evaluation.baselines import action_shares, smallest_of
from isoclone.executors import executor
from isoclone.games import game
from isoclone.nethack.game import CHALLENGE, action_keys
from isoclone.nethack.recordings import NldDemonstrations, import_nld
from isoclone.study import pipeline
from isoclone.study.ablation import Ablation
from isoclone.study.recording import record
from isoclone.study.session import Session
from isoclone.study.study import Study
from isoclone.study.worker import play_baseline
from isoclone.training.recipes import recipe


@pytest.fixture(scope="module")
def study(nethack_demos: NldDemonstrations, tmp_path_factory) -> Study:
    """Two policies of a study on imported games."""
    spec = tiny_nethack_spec(demos=str(nethack_demos.path))
    made = Study.create(tmp_path_factory.mktemp("study") / "tiny", spec)
    record(made, Session())
    for width in (2, 4):
        pipeline.train_size(made, width, 2e7)
    return made


def test_a_point_of_a_study_of_whole_games(study, nethack_demos):
    small, large = study.points("extra")
    assert small.params < large.params
    assert 2e7 <= small.flops < 2e7 + 48 * small.flops / small.samples
    assert 0 <= small.dev_accuracy <= small.dev_accuracy_top3 <= 1
    assert small.dev_loss_se > 0
    assert study.references()["expert"].mean == nethack_demos.score()[0]
    told = read_json(study.folder.run(small.run_id).episodes(2e7))
    assert [row["length"] for row in told] == [25, 25] or all(row["death"] for row in told)


def test_evaluation_ranks_as_the_challenge_and_tells_who_was_played(study, capsys):
    small, _ = study.points("extra")
    words = ["evaluate", str(study.path / small.checkpoint), "--episodes", "3"]
    words += ["--max-steps", "4", "--game-options", "character=@"]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    account = told["account"]
    assert account["ranking"]["games"] == account["ranking"]["scored"] == 3
    assert account["ranking"]["mean_score"] == pytest.approx(told["return_mean"])
    assert sum(r["games"] for r in account["by_role"]) == 3
    assert {r["role"] for r in account["by_role"]} == {row["role"] for row in told["facts"]}
    assert account["by_cause"][0]["cause"] == "cut off: step limit"
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "3 games: 0 ascensions, median score" in shown
    assert "few" in shown


def test_what_a_study_will_cost_is_measured_on_noise(study):
    planned = study.plan()
    assert planned.speed.rollout_steps_per_s > 0
    assert planned.estimate.total_s > 0


def test_the_scripted_player_records_where_nothing_is_given(tmp_path):
    study = Study.create(tmp_path / "own", tiny_nethack_spec())
    demos = record(study, Session())
    assert isinstance(demos, NldDemonstrations)
    assert demos.samples >= 60
    assert demos.expert_name == "scripted"
    assert record(study, Session()).fingerprint == demos.fingerprint


def test_baselines(study, nethack_demos):
    shares = action_shares(nethack_demos)
    train = [nethack_demos.read(i.index).actions for i in nethack_demos.in_split("train")]
    actions = np.concatenate(train)
    counts = np.bincount(actions[actions >= 0], minlength=121)
    np.testing.assert_allclose(shares, counts / counts.sum())
    points = study.points("extra")
    assert smallest_of(points) == points[0]
    marginal = play_baseline(study.path, shares.tolist(), None)
    smallest = play_baseline(study.path, None, points[0].checkpoint)
    assert marginal["episodes"] == smallest["episodes"] == 2
    assert marginal["se"] >= 0


def test_demonstrations_bring_their_character(tmp_path, capfd):
    """Into a ready-made study; one that says who is played refuses games of somebody else."""
    valkyrie = "val-dwa-law-fem"
    words = "demos record nethack --expert random --episodes 3 --max-steps 40 --game-options"
    settings = [f"character={valkyrie}", "--out", str(tmp_path / "val")]
    assert main([*words.split(), *settings]) == 0
    ready = planned_study("nethack", None, Changes(demos=tmp_path / "val"))
    assert ready.spec.game_options == {"character": valkyrie, "max_steps": 10_000}
    assert len(ready.demos().episodes) == 3
    monk = tiny_nethack_spec(demos=str(tmp_path / "val" / "demos"))
    anybody = tiny_nethack_spec(
        demos=str(tmp_path / "val" / "demos"), game_options={"character": "@"}
    )
    assert Study.create(tmp_path / "anybody", anybody).demos().episodes
    for log in (tmp_path / "val" / "recordings").rglob("*xlogfile"):
        log.unlink()
    nobody = import_nld(tmp_path / "val" / "recordings", tmp_path / "nobody", without_log=True)
    assert nobody.game_options == {"character": "@"}
    unknown = planned_study("nethack", None, Changes(demos=tmp_path / "nobody"))
    assert unknown.spec.game_options["character"] == "mon-hum-neu-mal"
    assert len(unknown.demos().episodes) == 3
    with pytest.raises(DataError, match=f"games of {valkyrie}, the study is of mon-hum-neu-mal"):
        pipeline.run(Study.create(tmp_path / "monk", monk))


@pytest.fixture(scope="module")
def asked() -> Ablation:
    """Three variants at two budgets, in seconds."""
    variants = {
        "plain": {},
        "with inventory": {"policy_options": {"unroll": 12, "inventory": True}},
        "long games / more": {"where": "length > 20", "budgets_flops": (2e7,)},
    }
    budgets = (1e7, 2e7)
    return Ablation("tried", "Does it help?", tiny_nethack_spec(), variants, 2, budgets, episodes=2)


def test_an_ablation_has_a_page_and_a_table(nethack_demos, tmp_path, asked):
    rows = asked.run(tmp_path, nethack_demos.path)
    budgets = [(m.label, m.point.budget_flops) for m in rows]
    two = [("plain", 1e7), ("plain", 2e7), ("with inventory", 1e7), ("with inventory", 2e7)]
    assert budgets == [*two, ("long games / more", 2e7)]
    assert rows[0].point.params < rows[2].point.params
    assert 0 < rows[0].train_seconds < rows[1].train_seconds
    assert rows[0].point.run_id == rows[1].point.run_id
    page = (tmp_path / "ablation.html").read_text()
    assert all(text in page for text in ("Does it help?", "with inventory", "chart-train_seconds"))
    assert len((tmp_path / "ablation.csv").read_text().splitlines()) == 6
    written = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("points/*.json")}
    assert asked.run(tmp_path, nethack_demos.path) == rows
    assert written == {p: p.stat().st_mtime_ns for p in written}


def test_an_ablation_gives_the_same_points_whoever_trains_them(nethack_demos, tmp_path, asked):
    alone = asked.run(tmp_path / "serial", nethack_demos.path)
    beside = asked.run(
        tmp_path / "processes", nethack_demos.path, Session(executor("processes", 2))
    )
    assert [m.point for m in alone] == [m.point for m in beside]


def test_what_an_ablation_cannot_do_is_said(nethack_demos, tmp_path, asked):
    with pytest.raises(SpecError, match="to a directory of this machine"):
        asked.run("s3://bucket/tried", nethack_demos.path)
    for variants, said in (
        ({}, "has no variants"),
        ({"a": {"whidth": 3}}, "variant 'a' of ablation 'tried'.*whidth"),
        ({"a": {"where": "length > 1e9"}}, "none of .* matches"),
        ({"a": {"where": 5}}, "variant 'a'.*'where' must be a condition, not 5"),
        ({"a": {"width": 2.5}}, "'width' must be a whole number, not 2.5"),
        ({"a": {"budgets_flops": 5e8}}, "'budgets_flops' must be a sequence of FLOPs"),
        ({"a": {"budgets_flops": (2e7, "x")}}, "variant 'a'.*must be numbers, not 'x'"),
        ({"a": {"seeds": (1, 2)}}, "'seeds' is the same for all variants"),
        ({"a": {"episodes": 5}}, "'episodes' is the same for all variants"),
        ({"a": {"widths": (1, 2, 3)}}, "'widths' cannot be set in a variant"),
        ({"a": {"budgets_flops": (1.0,)}}, "variant 'a'.*batch"),
        ({"a": {"policy_options": {"core": "lstn"}}}, "variant 'a'.*lstn"),
        ({"a": None}, "variant 'a'.*must be a dictionary"),
        (["a"], "variants must be"),
    ):
        with pytest.raises(SpecError, match=said):
            replace(asked, variants=variants).run(tmp_path, nethack_demos.path)
    for changes, said in (
        ({"budgets_flops": (2e7, 1e7)}, "ascending"),
        ({"budgets_flops": ()}, "positive numbers"),
        ({"seeds": (-1,)}, "not negative"),
        ({"episodes": -1}, "at least 0"),
    ):
        with pytest.raises(SpecError, match=said):
            replace(asked, **changes).run(tmp_path / "nothing", nethack_demos.path)
    assert not (tmp_path / "nothing").exists()


def test_a_clone_of_the_challenge_learns_another_task_of_nethack(study, tmp_path):
    """Its actions are those of the same keys; what it would do stays, among those."""
    score = game("nethack/NetHackScore-v0")
    among = score.actions_among(game("nethack"))
    shutil.copytree(study.path, tmp_path / "clones")
    clones = Study.open(tmp_path / "clones")
    pipeline.train_size(clones, 8, 2e7)
    theirs, mine = (action_keys(env_id) for env_id in (CHALLENGE, score.env_id))
    assert [theirs[action] for action in among] == list(mine)
    assert game("nethack").actions_among(score) is None  # it has keys that the score task lacks
    fields = {
        "game": score.name, "policy": "nethack", "policy_options": {"unroll": 12},
        "widths": (2, 4, 8),
        "recipe": recipe("ppo", slots=2, rollout_steps=12, batch_size=12, epochs=1).to_json(),
        "budgets_flops": (5e6, 1e7), "episodes": 2, "game_options": {"max_steps": 25},
    }  # fmt: skip
    learns = Study.create(tmp_path / "play", clones=str(clones.path), **fields)
    whole, few = (
        load_checkpoint(path)
        for path in (clones.path / clones.points("extra")[0].checkpoint, learns.folder.clone(2))
    )
    rows = list(among)
    assert torch.equal(few.module.head.weight, whole.module.head.weight[rows])
    pipeline.train_size(learns, 2, 5e6)
    assert learns.points("extra")[0].status == "ok"
