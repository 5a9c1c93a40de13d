"""Mixtures of demonstrations: what they hold, what is trained on and judged, what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from support import assert_holds, tiny_spec

from isoclone.agents.checkpoint import load_checkpoint
from isoclone.base.errors import DataError, SpecError, SpecMismatchError
from isoclone.demos import FrameDemonstrations, RecordRequest, mixture, open_demos, record
from isoclone.demos.base import unique_seen
from isoclone.demos.mixture import MixedDemonstrations
from isoclone.demos.shares import MixedLaneOrder, Shares
from isoclone.evaluation.dev_loss import dev_loss
from isoclone.policies import make_policy
from isoclone.study.pipeline import train_run, train_size
from isoclone.study.study import Study


@pytest.fixture(scope="module")
def random_demos(tmp_path_factory) -> FrameDemonstrations:
    request = RecordRequest("toy", "random", 500)
    return record(request, tmp_path_factory.mktemp("random") / "demos")


@pytest.fixture(scope="module")
def mixed(toy_demos, random_demos, tmp_path_factory) -> MixedDemonstrations:
    parts = {"good": (toy_demos, 0.75), "bad": (random_demos.path, 0.25)}
    return mixture(parts, tmp_path_factory.mktemp("mixed") / "demos")


def test_a_mixture_holds_the_episodes_and_split_of_its_parts(mixed, toy_demos, random_demos):
    assert_holds(mixed, [(toy_demos, 0.75), (random_demos, 0.25)])
    assert any("0.25 bad: random" in line for line in mixed.lines())


def test_weights_are_part_of_the_fingerprint(mixed, toy_demos, random_demos, tmp_path):
    parts = {"good": (toy_demos, 0.75), "bad": (random_demos, 0.25)}
    assert mixture(parts, mixed.path).fingerprint == mixed.fingerprint
    other = {"good": (toy_demos, 0.5), "bad": (random_demos, 0.5)}
    assert mixture(other, tmp_path / "other").fingerprint != mixed.fingerprint
    with pytest.raises(SpecMismatchError, match="holds other demonstrations"):
        mixture(other, mixed.path)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ((0.8, 0.3), "must add up to 1, not 1.1"),
        ((1.5, -0.5), "above 0 and below 1, not 1.5"),
        ((1.0,), "needs two parts or more"),
    ],
)
def test_weights_that_make_no_mixture(weights, said, toy_demos, random_demos, tmp_path):
    parts = zip("ab", zip((toy_demos, random_demos), weights, strict=False), strict=False)
    with pytest.raises(SpecError, match=said):
        mixture(dict(parts), tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"game_name": "atari/Pong"}, "other game"),
        ({"game_options": {"size": 3}}, "other game settings"),
        ({"n_actions": 7}, "other actions"),
        ({}, "'a' and 'b' are the same"),
    ],
)
def test_parts_that_do_not_fit(changes, said, toy_demos, tmp_path):
    other = dataclasses.replace(toy_demos, **changes)
    with pytest.raises(SpecError, match=said):
        mixture({"a": (toy_demos, 0.5), "b": (other, 0.5)}, tmp_path)
    frame = dataclasses.replace(toy_demos.frame, stack=9)
    with pytest.raises(SpecError, match="other frames"):
        mixture(
            {"a": (toy_demos, 0.5), "b": (dataclasses.replace(toy_demos, frame=frame), 0.5)},
            tmp_path,
        )


def test_a_part_that_trains_on_what_another_holds_out_is_refused(toy_demos, mixed, tmp_path):
    dev = frozenset(info.index for info in toy_demos.in_split("train")[:2])
    other = dataclasses.replace(toy_demos, dev_episodes=dev, fingerprint="other")
    with pytest.raises(DataError, match="dev loss over it would be too low"):
        mixture({"a": (toy_demos, 0.5), "b": (other, 0.5)}, tmp_path)
    with pytest.raises(SpecError, match="is a mixture itself"):
        mixture({"a": (toy_demos, 0.5), "b": (mixed, 0.5)}, tmp_path)


def test_damage_is_noticed_and_made_again(toy_demos, random_demos, tmp_path):
    parts = {"good": (toy_demos, 0.5), "bad": (random_demos, 0.5)}
    made = mixture(parts, tmp_path)
    path = made.episode_path(1)
    path.unlink()  # a link: the part's own file stays
    path.write_bytes(b"no episode")
    with pytest.raises(DataError, match="damaged or was edited"):
        open_demos(tmp_path)
    assert mixture(parts, tmp_path).fingerprint == made.fingerprint
    assert open_demos(toy_demos.path).fingerprint == toy_demos.fingerprint


# ---------------------------------------------------------------------- training


@pytest.mark.parametrize("weights", [(0.8, 0.2), (0.5, 0.3, 0.2), (0.01, 0.98, 0.01)])
def test_each_sample_is_of_one_part_and_shares_are_kept(weights):
    shares = Shares(tuple("abc"[: len(weights)]), weights, np.zeros(1, np.int64))
    counts = np.array([shares.counts(n) for n in range(1_000)])
    assert (counts.sum(1) == np.arange(1_000)).all()
    assert (np.diff(counts, axis=0) >= 0).all()
    assert np.abs(counts - np.outer(np.arange(1_000), weights)).max() < 2


def test_batches_have_their_shares_and_follow_from_their_number(mixed):
    source = mixed.source("unit", "rows")
    one, again = (source.feed(torch.nn.Linear(1, 1), 64, 3, "cpu", torch.float32) for _ in "ab")
    batches = [one.batch(k) for k in range(40)]
    assert torch.equal(again.batch(17).inputs[0], batches[17].inputs[0])
    parts, seen = mixed.shares().of_episode, []
    for k in range(40):
        rows = one._order.take(64 * k, 64)
        assert (parts[source.cache.episodes[rows]] == 0).sum() == 48
        seen.append(rows)
    good = [row for rows in seen for row in rows if parts[source.cache.episodes[row]] == 0]
    train = mixed.shares().of_episode[source.cache.episodes[source.cache.train]]
    epoch = int((train == 0).sum())
    assert len(set(good[:epoch])) == epoch  # each once before any comes again


def test_samples_that_differ_are_counted_by_part(mixed, random_demos, toy_demos):
    bad, good = random_demos.unique_samples_in("train"), toy_demos.unique_samples_in("train")
    assert unique_seen(mixed, 100) == 100
    many = 4 * bad  # the rare part just once, the other one more than once
    assert unique_seen(mixed, many) == bad + min(good, many - bad)
    assert unique_seen(mixed, 10**9) == bad + good


def test_lanes_are_shared_by_the_weights(mixed):
    module = make_policy("mlp-lstm", 4, mixed.frame, mixed.n_actions, unroll=8)
    source = mixed.source("unit", "rows")
    feed = source.feed(module, 64, 3, "cpu", torch.float32)
    assert feed.batch(3).samples == 64
    with pytest.raises(SpecError, match=r"lanes of a batch as 4\.5, 1\.5"):
        source.feed(module, 48, 3, "cpu", torch.float32)
    order = MixedLaneOrder([10, 20, 30, 40], np.array([0, 1, 0, 1]), (0.75, 0.25), 4, 5, 0)
    for lane in range(4):
        for k in range(6):
            assert {p.episode % 2 for p in order.pieces(lane, k)} == {int(lane == 3)}


def test_points_tell_the_loss_of_each_part(mixed, tmp_path):
    """The mixture's loss is that of its parts, weighted, also where a run goes on."""
    spec = tiny_spec(demos=str(mixed.path), expert=mixed.expert_name, episodes=0)
    study = Study.create(tmp_path / "one", spec)
    first = train_size(study, 4, 3e6)
    point = train_run(study, first.run_id, 1e7)
    policy = load_checkpoint(study.path / point.checkpoint)
    found = dev_loss(policy, mixed.source(policy.encoder.kind, policy.encoder.layout), 300)
    assert found.mean == pytest.approx(point.dev_loss)
    (good, good_se), (bad, bad_se) = found.parts["good"], found.parts["bad"]
    assert point.dev_loss == pytest.approx(0.75 * good + 0.25 * bad)
    assert point.dev_loss_se == pytest.approx(np.hypot(0.75 * good_se, 0.25 * bad_se))
    assert point.dev_loss_parts.startswith(f"good {good:.4f} ± ")
    assert good != bad

    again = Study.create(tmp_path / "two", spec)
    at_once = train_size(again, 4, 1e7)
    assert at_once == point
