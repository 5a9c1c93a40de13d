"""Mixtures of NetHack recordings: what they hold, what is trained on, what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from support import assert_holds, random_games, tiny_nethack_spec

from isoclone.agents.checkpoint import load_checkpoint
from isoclone.base.errors import DataError, SpecError
from isoclone.demos import mixture
from isoclone.evaluation.dev_loss import dev_loss
from isoclone.nethack.game import FRAME
from isoclone.nethack.recordings import NldDemonstrations
from isoclone.nethack.recordings.mixture import MixedGames
from isoclone.policies import make_policy
from isoclone.study.pipeline import train_size
from isoclone.study.study import Study


@pytest.fixture(scope="module")
def others(nethack_demos, tmp_path_factory) -> NldDemonstrations:
    return random_games(tmp_path_factory.mktemp("others"), range(10, 14))


@pytest.fixture(scope="module")
def mixed(nethack_demos, others, tmp_path_factory) -> MixedGames:
    parts = {"many": (nethack_demos, 0.75), "few": (others.path, 0.25)}
    return mixture(parts, tmp_path_factory.mktemp("mixed") / "demos")


def test_a_mixture_holds_the_games_and_split_of_its_parts(mixed, nethack_demos, others):
    parts = (nethack_demos, others)
    assert_holds(mixed, list(zip(parts, (0.75, 0.25), strict=True)))
    for split in ("train", "dev"):
        share = [part.action_counts(split) / part.samples_in(split) for part in parts]
        wanted_counts = (0.75 * share[0] + 0.25 * share[1]) * mixed.samples_in(split)
        np.testing.assert_allclose(mixed.action_counts(split), wanted_counts, atol=0.51)
    last = mixed.read(len(mixed.episodes) - 1)
    np.testing.assert_array_equal(last.chars, others.read(len(others.episodes) - 1).chars)
    assert any("0.25 few" in line for line in mixed.lines())


def test_lanes_are_shared_by_the_weights(mixed, nethack_demos):
    policy = make_policy("nethack", 8, FRAME, 121, unroll=16)
    source = mixed.source("unit", "raw")
    feed = source.feed(policy, 64, 3, "cpu", torch.float32)
    first = len(nethack_demos.episodes)
    for k in range(4):
        games = feed._unrolls.take(k).games
        assert (games[:, :3] < first).all()
        assert (games[:, 3:] >= first).all()
    with pytest.raises(SpecError, match="share the 3 lanes of a batch as 2"):
        source.feed(policy, 48, 3, "cpu", torch.float32)


def test_a_study_of_a_mixture_tells_the_loss_of_each_part(mixed, tmp_path):
    spec = tiny_nethack_spec(demos=str(mixed.path), policy_options={"unroll": 12})
    study = Study.create(tmp_path / "study", spec)
    point = train_size(study, 2, 2e7)
    policy = load_checkpoint(study.path / point.checkpoint)
    found = dev_loss(policy, mixed.source(policy.encoder.kind, policy.encoder.layout), 200)
    (many, _), (few, _) = found.parts["many"], found.parts["few"]
    assert point.dev_loss == pytest.approx(found.mean)
    assert point.dev_loss == pytest.approx(0.75 * many + 0.25 * few)
    assert point.dev_loss_parts.startswith(f"many {many:.4f} ± ")


def test_what_cannot_be_mixed(mixed, nethack_demos, others, toy_demos, tmp_path):
    def mix(one, other):
        mixture({"a": (one, 0.5), "b": (other, 0.5)}, tmp_path / "demos")

    with pytest.raises(SpecError, match="is a mixture itself"):
        mix(mixed, others)
    with pytest.raises(SpecError, match="are of two kinds"):
        mix(nethack_demos, toy_demos)
    keys = dataclasses.replace(others, action_of_key=tuple(reversed(others.action_of_key)))
    with pytest.raises(SpecError, match="have other keys of actions"):
        mix(nethack_demos, keys)
    with pytest.raises(DataError, match="holds a mixture; give one of the demonstrations"):
        NldDemonstrations.open(mixed.path)
