"""Training: the same numbers however often it stops, D exact, averages by the formula."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from support import assert_identical

from isoclone.agents.checkpoint import load_checkpoint, load_tensors, save_tensors
from isoclone.base.errors import CheckpointError, SpecError
from isoclone.base.records import Run
from isoclone.policies import make_policy, policy_layout
from isoclone.policies.kernels import compiler
from isoclone.training.device import check_device
from isoclone.training.loop import Diverged, Trainer
from isoclone.training.recipes import Recipe, recipe

LEAN = recipe("lean", precision="float32")


pytestmark = pytest.mark.usefixtures("one_thread")


def make_run(demos, policy="mlp", width=4, the_recipe=LEAN, **fields) -> Run:
    return Run(
        demos.game_name, demos.fingerprint, policy, width, {}, the_recipe.to_json(), 0, **fields
    )


def trainer(demos, folder, policy="mlp", **fields) -> Trainer:
    run = make_run(demos, policy, **fields)
    layout = policy_layout(policy, run.width, demos.frame, demos.n_actions)
    source = demos.source(run.recipe["frames"], layout)
    return Trainer(run, source, demos.n_actions, folder).resume()


def everything(made: Trainer) -> dict[str, torch.Tensor]:
    made.save()
    return load_tensors(made.state_path)[0]


@pytest.mark.parametrize("policy", ["mlp", "cnn"])
def test_resumed_training_is_bit_identical(toy_demos, breakout_demos, tmp_path, policy):
    """Weights, Adam's moments and the average; stopped at odd moments, in new objects."""
    demos = toy_demos if policy == "mlp" else breakout_demos
    whole = trainer(demos, tmp_path / "whole", policy)
    step = whole.flops_per_sample * whole.recipe.batch_size
    whole.train_until(60 * step)
    for stop in (0, 7, 8, 33, 60):
        part = trainer(demos, tmp_path / "parts", policy)
        part.train_until(stop * step)
        part.save()
    resumed = trainer(demos, tmp_path / "parts", policy)
    assert resumed.progress == whole.progress
    assert resumed.progress.step == 60
    assert_identical(everything(resumed), everything(whole))


@pytest.mark.skipif(compiler() is None, reason="no C++ compiler here")
def test_training_by_kernels_goes_on_and_plays_to_the_same_bits(breakout_demos, tmp_path):
    kernels = {"policy": "cnn", "the_recipe": replace(LEAN, compiled_to=4)}
    whole = trainer(breakout_demos, tmp_path / "whole", **kernels)
    assert whole.module.kernels
    step = whole.flops_per_sample * whole.recipe.batch_size
    whole.train_until(20 * step)
    for stop in (7, 20):
        part = trainer(breakout_demos, tmp_path / "parts", **kernels)
        part.train_until(stop * step)
        part.save()
    assert_identical(everything(part), everything(whole))
    whole.save_checkpoint(tmp_path / "checkpoint.safetensors")
    loaded = load_checkpoint(tmp_path / "checkpoint.safetensors")
    x = torch.randint(-128, 128, (5, 21, 21, 64)).float()
    assert torch.equal(loaded.logits(x), whole.trained().logits(x))


@pytest.mark.parametrize("compiled_to", [0, 3])
def test_other_sizes_take_torchs_convolutions(breakout_demos, tmp_path, compiled_to):
    made = replace(LEAN, compiled_to=compiled_to)
    assert trainer(breakout_demos, tmp_path, "cnn", the_recipe=made).module.kernels is None


def as_saved_formerly(made: Trainer) -> None:
    """Write a trainer's state as it was written before it told parameters apart."""
    made.save()
    tensors, metadata = load_tensors(made.state_path)
    kept = {name: t for name, t in tensors.items() if not name.startswith(("average", "adam."))}
    adam = {f"adam.{name}": t for name, t in made.optimiser.state.items()}
    save_tensors(made.state_path, {**kept, "average": made.average, **adam}, metadata)


@pytest.mark.parametrize("policy", ["mlp", "cnn", "cnn-lstm"])
@pytest.mark.parametrize("cut", [False, True])
def test_a_state_written_formerly_goes_on_to_the_same_bits(
    toy_demos, breakout_demos, tmp_path, policy, cut
):
    """Weights of pictures that are cut into blocks lie otherwise in memory than in the file."""
    demos, steps = breakout_demos if cut else toy_demos, [5, 12]
    whole, part = (trainer(demos, tmp_path / name, policy) for name in ("whole", "part"))
    samples = [n * whole.flops_per_sample * whole.recipe.batch_size for n in steps]
    whole.train_until(samples[1])
    part.train_until(samples[0])
    as_saved_formerly(part)
    again = trainer(demos, tmp_path / "part", policy)
    assert again.progress.step == steps[0]
    again.train_until(samples[1])
    assert_identical(everything(again), everything(whole))


@pytest.mark.parametrize("kind", ["average", "adam.exp_avg", "adam.exp_avg_sq"])
def test_a_state_holds_each_parameters_part_and_is_refused_without_one(toy_demos, tmp_path, kind):
    made = trainer(toy_demos, tmp_path)
    made.train_until(3 * made.flops_per_sample * made.recipe.batch_size)
    tensors, metadata = everything(made), load_tensors(made.state_path)[1]
    shapes = {name: p.shape for name, p in made.module.named_parameters()}
    assert {name: tensors[f"{kind}.{name}"].shape for name in shapes} == shapes
    del tensors[f"{kind}.{next(iter(shapes))}"]
    save_tensors(made.state_path, tensors, metadata)
    with pytest.raises(CheckpointError, match="does not fit the run"):
        trainer(toy_demos, tmp_path)


class Separate(torch.optim.Adam):
    """Torch's own optimiser of separate tensors, which is told the rate as ours is."""

    @property
    def rate(self):
        return self.param_groups[0]["lr"]

    @rate.setter
    def rate(self, rate):
        self.param_groups[0]["lr"] = rate


def test_one_long_vector_trains_as_the_separate_tensors_would(breakout_demos, tmp_path):
    flat, plain = (trainer(breakout_demos, tmp_path / name, "cnn") for name in "ab")
    parameters = plain.module.parameters()
    plain.optimiser = Separate(parameters, betas=LEAN.betas, foreach=False)
    for made in (flat, plain):
        made.train_until(20 * made.flops_per_sample * made.recipe.batch_size)
    for name, value in flat.weights().items():
        torch.testing.assert_close(value, plain.weights()[name], atol=1e-5, rtol=1e-4)


def test_flattened_parameters_keep_their_values_shapes_and_layouts(breakout_demos, tmp_path):
    made = trainer(breakout_demos, tmp_path, "cnn")
    with torch.random.fork_rng():
        torch.manual_seed(made.run.seed)
        fresh = make_policy("cnn", made.run.width, breakout_demos.frame, breakout_demos.n_actions)
    for ours, other in zip(made.module.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(ours, other)
        assert ours.stride() == other.stride()
        assert ours.untyped_storage().data_ptr() == made.flat.values.untyped_storage().data_ptr()


def test_the_state_is_saved_along_the_way(toy_demos, tmp_path, monkeypatch):
    monkeypatch.setattr("isoclone.training.loop.SAVE_SECONDS", 0.0)
    made = trainer(toy_demos, tmp_path)
    made.train_until(5 * made.flops_per_sample * made.recipe.batch_size)
    assert trainer(toy_demos, tmp_path).progress.step == 5


def test_samples_are_counted_exactly(toy_demos, tmp_path):
    made = trainer(toy_demos, tmp_path)
    for budget in (1e5, 1e6, 1.234e6):
        made.train_until(budget)
        batch, per_sample = made.recipe.batch_size, made.flops_per_sample
        steps = math.ceil(math.ceil(budget / per_sample) / batch)
        assert made.progress.samples == steps * batch
        assert made.progress.samples == made.progress.step * batch
        assert budget <= made.flops < budget + batch * per_sample


def test_every_training_row_is_seen_once_an_epoch(toy_demos, tmp_path):
    made, seen = trainer(toy_demos, tmp_path), []
    batches, cache = made.feed._batches, made.source.cache
    gather = batches.gather
    batches.gather = lambda rows: seen.append(rows) or gather(rows)
    count = len(cache.train)
    made.train_until(2.5 * count * made.flops_per_sample)
    rows = np.concatenate(seen)
    assert sorted(rows[:count]) == sorted(rows[count : 2 * count]) == sorted(cache.train)
    assert not set(rows) & set(cache.dev)
    assert len(rows) / count == pytest.approx(2.5, abs=0.1)


def test_the_average_weighs_step_s_as_s_to_the_power(toy_demos, tmp_path):
    made, seen, losses = trainer(toy_demos, tmp_path), [], []
    for _ in range(20):
        made.step()
        seen.append([p.detach().clone() for p in made.module.parameters()])
        losses.append(made.progress.train_loss)
    power = made.recipe.average
    shares = np.array([s ** (power + 1) - (s - 1) ** (power + 1) for s in range(1, 21)])
    shares = shares / shares.sum()
    averages = made.flat.views(made.average)
    for i, average in enumerate(averages.values()):
        wanted = sum(share * step[i].double() for share, step in zip(shares, seen, strict=True))
        torch.testing.assert_close(average.double(), wanted, atol=1e-6, rtol=1e-5)
    assert list(averages) == [name for name, _ in made.module.named_parameters()]
    assert all(torch.equal(made.weights()[name], value) for name, value in averages.items())


def test_without_averaging_the_weights_are_the_last_ones(toy_demos, tmp_path):
    made = trainer(toy_demos, tmp_path, the_recipe=replace(LEAN, average=0.0))
    made.train_until(1e5)
    for name, value in made.module.state_dict().items():
        assert torch.equal(made.weights()[name], value)


def test_the_rate_warms_up_and_then_stays(toy_demos, tmp_path):
    made = trainer(toy_demos, tmp_path)
    rates = []
    for _ in range(80):
        made.step()
        rates.append(made.optimiser.rate)
    peak, warm = LEAN.rate_at(4), LEAN.warmup_samples / LEAN.batch_size
    np.testing.assert_allclose(rates, [peak * min(1, (k + 1) / warm) for k in range(80)])


def test_a_cosine_ends_at_its_budget_and_is_another_run(toy_demos, tmp_path):
    falling = replace(LEAN, schedule="cosine", warmup_samples=0)
    short = trainer(toy_demos, tmp_path / "a", the_recipe=falling, horizon_flops=1e7)
    long = trainer(toy_demos, tmp_path / "b", the_recipe=falling, horizon_flops=2e7)
    assert len({short.run.id, long.run.id, make_run(toy_demos).id}) == 3
    short.train_until(1e7)
    low = short.optimiser.rate / falling.rate_at(4)
    assert low == pytest.approx(falling.final_share, abs=0.02)
    long.train_until(1e7)
    half = long.optimiser.rate / falling.rate_at(4)
    assert half == pytest.approx((1 + falling.final_share) / 2, abs=0.03)


def test_a_loss_that_is_not_finite_ends_the_run(toy_demos, tmp_path):
    wild = replace(LEAN, learning_rate=1e30, warmup_samples=0)
    made = trainer(toy_demos, tmp_path, the_recipe=wild)
    with pytest.raises(Diverged, match=r"training loss was (nan|inf) after [\d,]+ samples"):
        made.train_until(1e7)


@pytest.mark.parametrize("policy", ["mlp", "cnn"])
def test_bfloat16_learns_the_same_within_its_precision(toy_demos, breakout_demos, tmp_path, policy):
    demos = toy_demos if policy == "mlp" else breakout_demos
    losses = {}
    for precision in ("float32", "bfloat16"):
        the_recipe = replace(LEAN, precision=precision)
        made = trainer(demos, tmp_path / precision, policy, the_recipe=the_recipe)
        made.train_until(60 * made.flops_per_sample * LEAN.batch_size)
        assert all(p.dtype == torch.float32 for p in made.module.parameters())
        losses[precision] = made.progress.train_loss
    assert losses["bfloat16"] == pytest.approx(losses["float32"], abs=0.05)
    assert losses["bfloat16"] != losses["float32"]


def test_another_seed_or_width_starts_elsewhere(toy_demos, tmp_path):
    first, again = (trainer(toy_demos, tmp_path / n) for n in "ab")
    other = Trainer(replace(first.run, seed=1), first.source, 3, tmp_path / "c")
    assert_identical(first.weights(), again.weights())
    assert not torch.equal(*(next(iter(t.weights().values())) for t in (first, other)))


def test_a_state_of_another_run_is_refused(toy_demos, tmp_path):
    trainer(toy_demos, tmp_path).save()
    with pytest.raises(CheckpointError, match="belongs to another run"):
        trainer(toy_demos, tmp_path, width=5)


def test_training_leaves_torchs_own_chance_alone(toy_demos, tmp_path):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    trainer(toy_demos, tmp_path).train_until(1e5)
    assert torch.equal(before, torch.random.get_rng_state())


# ---------------------------------------------------------------------- checkpoints


@pytest.fixture
def checkpoint(toy_demos, tmp_path):
    made = trainer(toy_demos, tmp_path)
    made.train_until(1e6)
    made.save_checkpoint(tmp_path / "policy.safetensors")
    return made, tmp_path / "policy.safetensors"


def test_a_checkpoint_comes_back_as_it_was(checkpoint):
    made, path = checkpoint
    there, here = load_checkpoint(path), made.trained()
    assert there.run == made.run
    assert there.samples == made.progress.samples
    inputs = torch.randn(9, 2, 12, 12)
    assert torch.equal(there.logits(inputs), here.logits(inputs))
    frames = np.random.default_rng(0).integers(0, 256, (5, 12, 12)).astype(np.uint8)
    assert (there.encoder.encode(frames) == here.encoder.encode(frames)).all()


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "flip", "gone", "folder"])
def test_a_damaged_checkpoint_is_named(checkpoint, damage):
    _, path = checkpoint
    data = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "gone":
        ruined = {"empty": b"", "cut": data[:-50], "text": b"not weights", "flip": b"\xff" + data}
        path.write_bytes(ruined[damage])
    with pytest.raises(CheckpointError, match=r"policy\.safetensors"):
        load_checkpoint(path)


def test_a_checkpoint_that_is_not_the_policy_it_says_is_refused(checkpoint):
    import json

    _, path = checkpoint
    tensors, metadata = load_tensors(path)
    said = "does not hold the policy it says"
    for change, message in (
        ({"width": 7}, said),
        ({"policy": "cnn"}, said),
        ({"policy": "nobody"}, r"policy\.safetensors: unknown policy 'nobody'.*registers it first"),
    ):
        other = {**metadata, "run": {**metadata["run"], **change}}
        save_tensors(path, tensors, other)
        with pytest.raises(CheckpointError, match=message):
            load_checkpoint(path)
    save_tensors(path, tensors, {**metadata, "format": 99})
    with pytest.raises(CheckpointError, match="update isoclone"):
        load_checkpoint(path)
    save_tensors(path, tensors, json.loads("[1]"))
    with pytest.raises(CheckpointError, match=r"policy\.safetensors"):
        load_checkpoint(path)


def test_weights_that_are_not_numbers_are_refused(checkpoint):
    _, path = checkpoint
    tensors, metadata = load_tensors(path)
    tensors["encoder.mean"] = torch.full_like(tensors["encoder.mean"], math.nan)
    save_tensors(path, tensors, metadata)
    with pytest.raises(CheckpointError, match="statistics"):
        load_checkpoint(path)


def test_a_device_that_is_not_here_is_named():
    assert check_device("cpu") == "cpu"
    with pytest.raises(SpecError, match="device 'quantum' is not available here"):
        check_device("quantum")


# ---------------------------------------------------------------------- recipes


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rate": 0},
        {"batch_size": 0},
        {"schedule": "zigzag"},
        {"frames": "raw"},
        {"average": -1},
        {"precision": "float8"},
    ],
)
def test_a_recipe_names_the_field_that_is_wrong(wrong):
    with pytest.raises(SpecError, match=next(iter(wrong))):
        recipe("lean", **wrong)


def test_recipes_come_back_from_json():
    assert Recipe.from_json(LEAN.to_json()) == LEAN
    with pytest.raises(SpecError, match="wobble"):
        recipe("lean", wobble=1)
    with pytest.raises(SpecError, match="wobble"):
        Recipe.from_json({**LEAN.to_json(), "wobble": 1})
