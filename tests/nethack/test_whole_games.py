"""Policies that carry a state, on real NetHack: judged on whole games, at play, and from disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("nle", reason="the extra 'nethack' is not installed")

from isoclone.agents.checkpoint import TrainedPolicy, load_checkpoint
from isoclone.agents.runners import runner_for
from isoclone.base.errors import SpecError
from isoclone.base.records import Run
from isoclone.evaluation.dev_loss import dev_loss
from isoclone.evaluation.rollout import marginal_returns, rollout
from isoclone.games import game
from isoclone.nethack.game import pack_tty
from isoclone.nethack.recordings import NldDemonstrations, import_nld
from isoclone.training.loop import Trainer
from isoclone.training.recipes import recipe

CORES = ["lstm", "transformer", "mamba"]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """As in a worker."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def trainer(demos: NldDemonstrations, folder: Path, core: str = "lstm") -> Trainer:
    fields = recipe("nethack", batch_size=48, warmup_samples=100, precision="float32").to_json()
    options = {"core": core, "unroll": 12, "context": 10}
    run = Run(demos.game_name, demos.fingerprint, "nethack", 8, options, fields, 0)
    made = Trainer(run, demos.source("unit", "raw"), demos.n_actions, folder)
    made.train_until(made.flops_per_sample * 400)
    return made


@pytest.fixture(scope="module")
def policies(nethack_demos, tmp_path_factory) -> dict[str, TrainedPolicy]:
    """Hardly trained ones, one of each core."""
    home = tmp_path_factory.mktemp("policies")
    return {core: trainer(nethack_demos, home / core, core).trained() for core in CORES}


def frames_of(played) -> np.ndarray:
    return pack_tty(played.chars, played.colors, played.cursor)


def teacher_forced(policy: TrainedPolicy, played) -> np.ndarray:
    """Logits (t, actions) for a game that is shown screen by screen, as in a rollout."""
    shown, slot, told = runner_for(policy, 1), np.array([0]), []
    for t, frame in enumerate(frames_of(played)):
        shown.push(slot, frame[None]) if t else shown.start(slot, frame[None])
        told.append(shown.logits(slot)[0])
        action = int(played.actions[t])
        shown.chose(slot, np.array([action if action >= 0 else policy.n_actions]))
    return np.stack(told)


@pytest.mark.parametrize("core", CORES)
def test_dev_loss_is_that_of_games_read_one_by_one(policies, nethack_demos, core):
    policy, losses = policies[core], []
    found = dev_loss(policy, nethack_demos.source("unit", "raw"), 100_000)
    for info in nethack_demos.in_split("dev"):
        played = nethack_demos.read(info.index)
        logits = torch.from_numpy(teacher_forced(policy, played)).double()
        kept = played.actions >= 0
        shares = logits.log_softmax(1).numpy()[kept, played.actions[kept]]
        losses.append(-shares)
    assert found.samples == sum(map(len, losses)) == nethack_demos.samples_in("dev")
    assert found.episodes == len(losses) == 2
    assert found.mean == pytest.approx(np.concatenate(losses).mean(), abs=1e-4)
    assert found.se > 0
    assert 0 <= found.accuracy <= found.accuracy_top3 <= 1


def test_dev_loss_of_first_frames(policies, nethack_demos):
    assert dev_loss(policies["lstm"], nethack_demos.source("unit", "raw"), 60).samples <= 60


@pytest.mark.parametrize("core", CORES)
def test_slots_side_by_side_do_not_see_each_other(policies, nethack_demos, core):
    """Each slot hears what it would alone, though games begin at different times and one rests."""
    policy = policies[core]
    games = [nethack_demos.read(i) for i in (0, 1)]
    alone = [teacher_forced(policy, played) for played in games]
    shown, both = runner_for(policy, 3), np.array([0, 2])
    second, told = 5, {0: [], 2: []}
    frames = [frames_of(played) for played in games]
    shown.start(np.array([0]), frames[0][:1])
    for t in range(40):
        if t == second:
            shown.start(np.array([2]), frames[1][:1])
        live = both if t >= second else both[:1]
        logits = shown.logits(live)
        for row, slot in enumerate(live):
            told[slot].append(logits[row])
        moves = np.array([games[0].actions[t], games[1].actions[t - second]])[: len(live)]
        shown.chose(live, np.where(moves < 0, policy.n_actions, moves))
        follow = [frames[0][t + 1], frames[1][max(0, t + 1 - second)]][: len(live)]
        shown.push(live, np.stack(follow))
    assert np.abs(np.stack(told[0]) - alone[0][:40]).max() < 1e-4
    assert np.abs(np.stack(told[2]) - alone[1][: 40 - second]).max() < 1e-4


def test_episodes_tell_how_they_went_and_are_recorded(policies, nethack_demos, tmp_path):
    nethack = game("nethack", max_steps=50)
    keep = tmp_path / "kept"
    played = rollout(policies["lstm"], nethack, 3, seed=1, slots=2, keep=keep)
    again = rollout(policies["lstm"], nethack, 3, seed=1, slots=2)
    assert played.returns.tolist() == again.returns.tolist()
    assert [f["length"] for f in played.facts] == played.lengths.tolist()
    assert {"score", "depth", "turns", "death", "character"} <= set(played.facts[0])
    stored = import_nld(keep, tmp_path / "demos")
    # Games cut off are quit by keys, which were not the policy's.
    assert [info.length for info in stored.episodes] == [50] * 3
    found = {(info.name, info.seed) for info in stored.episodes}
    assert found == {(f"{f['folder']}/{f['ttyrec']}", f["seed"]) for f in played.facts}


def test_what_is_sampled_at_a_temperature_of_zero(policies):
    nethack = game("nethack", max_steps=20)
    one, other = (
        rollout(policies["lstm"], nethack, 1, seed=3, sampling=way) for way in ("argmax", "top_k=1")
    )
    assert one.lengths.tolist() == other.lengths.tolist()
    assert one.facts == other.facts


def test_a_game_without_recordings_says_so(toy_demos, tmp_path):
    run = Run("toy", toy_demos.fingerprint, "mlp", 2, {}, recipe("lean").to_json(), 0)
    made = Trainer(run, toy_demos.source("standardise", "rows"), 3, tmp_path / "run")
    with pytest.raises(SpecError, match="toy makes no recordings"):
        rollout(made.trained(), game("toy"), 1, keep=tmp_path / "kept")


def test_a_player_with_the_experts_habits(nethack_demos):
    nethack = game("nethack", max_steps=30)
    shares = np.zeros(121)
    shares[18] = 1.0
    played = marginal_returns(nethack, shares, 2)
    assert played.lengths.tolist() == [30, 30]


def test_a_checkpoint_plays_again(nethack_demos, tmp_path):
    made = trainer(nethack_demos, tmp_path / "run", "transformer")
    made.save_checkpoint(tmp_path / "policy.safetensors")
    loaded, nethack = (
        load_checkpoint(tmp_path / "policy.safetensors"),
        game("nethack", max_steps=25),
    )
    first = rollout(made.trained(), nethack, 2, seed=5)
    second = rollout(loaded, nethack, 2, seed=5)
    assert first.facts == second.facts
    assert (
        dev_loss(loaded, nethack_demos.source("unit", "raw")).mean
        == dev_loss(made.trained(), nethack_demos.source("unit", "raw")).mean
    )
