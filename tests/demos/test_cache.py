"""From frames to batches: every shortcut equals the plain computation."""

from __future__ import annotations

import shutil
import time

import numpy as np
import pytest
import torch

from isoclone.base.errors import SpecError
from isoclone.demos import FrameDemonstrations, FrameEncoder, open_cache
from isoclone.demos.batches import Batches, gather_stacks
from isoclone.demos.order import Order
from isoclone.games import FrameSpec
from isoclone.policies.encode import fit_encoder
from isoclone.policies.observe import arrange, to_input
from isoclone.study.recording import expand
from isoclone.study.session import Observer, Session
from isoclone.study.study import Study

IMAGE = FrameSpec((12, 8), "uint8", 3)
VECTOR = FrameSpec((5,), "float32", 2)


def images(n=40):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (n, *IMAGE.shape)).astype(np.uint8)
    frames[:, 0] = 7  # a row that never changes
    return frames


def naive(frames, kind, spec):
    """What a policy is fed, one float at a time; int8 codes cost half a step at most."""
    frames = frames.astype(np.float64)
    if kind == "unit":
        return frames / 255 if spec.is_image else frames
    spread = np.maximum(frames.std(0), 10.0 if spec.is_image else 1e-3)
    return np.clip((frames - frames.mean(0)) / spread, -10, 10)


def blocks(frames):
    """(n, h, w) -> (n, h/4, w/4, 16), by loops."""
    n, h, w = frames.shape
    out = np.empty((n, h // 4, w // 4, 16), frames.dtype)
    for i in range(h):
        for j in range(w):
            out[:, i // 4, j // 4, 4 * (i % 4) + j % 4] = frames[:, i, j]
    return out


@pytest.mark.parametrize("kind", ["unit", "standardise"])
@pytest.mark.parametrize("layout", ["rows", "blocks4"])
def test_encoded_images_equal_the_plain_computation(kind, layout):
    frames = images()
    encoder = fit_encoder(kind, layout, IMAGE, frames)
    fed = to_input(torch.from_numpy(encoder.encode(frames)), encoder, torch.float32).numpy()
    if layout == "blocks4":  # the policy is told what a code is worth
        fed = fed * encoder.scale
    wanted = naive(frames, kind, IMAGE)
    wanted = blocks(wanted) if layout == "blocks4" else wanted
    step = 10 / 127 if kind == "standardise" else 1e-6
    assert np.abs(fed - wanted.reshape(len(frames), -1)).max() <= step / 2 + 1e-6


@pytest.mark.parametrize("kind", ["unit", "standardise"])
def test_encoded_vectors_equal_the_plain_computation(kind):
    frames = np.random.default_rng(1).normal(3, 2, (50, 5)).astype(np.float32)
    frames[:, 2] = 1.5
    encoder = fit_encoder(kind, "rows", VECTOR, frames)
    fed = to_input(torch.from_numpy(encoder.encode(frames)), encoder, torch.float32).numpy()
    np.testing.assert_allclose(fed, naive(frames, kind, VECTOR), atol=1e-3)


def test_outliers_are_clipped():
    encoder = fit_encoder("standardise", "rows", IMAGE, np.full((9, *IMAGE.shape), 5, np.uint8))
    codes = encoder.encode(np.full((1, *IMAGE.shape), 255, np.uint8))
    assert (codes == 127).all()


def test_what_cannot_be_encoded_is_refused():
    with pytest.raises(SpecError, match="not 'centre'"):
        fit_encoder("centre", "rows", IMAGE, images())
    with pytest.raises(SpecError, match="4x4 blocks"):
        fit_encoder("unit", "blocks4", VECTOR, np.zeros((3, 5), np.float32))


@pytest.mark.parametrize("kind", ["unit", "standardise"])
@pytest.mark.parametrize("layout", ["rows", "blocks4"])
def test_gathered_stacks_equal_a_loop(kind, layout):
    """Every row of two episodes, their beginnings included."""
    frames = images(20)
    encoder = fit_encoder(kind, layout, IMAGE, frames)
    codes = encoder.encode(frames)
    starts = np.repeat([0, 8], [8, 12])
    index = np.array([[max(t - back, starts[t]) for back in (2, 1, 0)] for t in range(len(frames))])
    stacks = gather_stacks(torch.from_numpy(codes), torch.from_numpy(index))
    got = arrange(stacks, encoder).numpy()
    plain = FrameEncoder(kind, "rows", IMAGE, encoder.mean, encoder.inverse_sd).encode(frames)
    plain = plain.reshape(len(frames), *IMAGE.shape)
    for t, rows in enumerate(index):
        if layout == "rows":
            wanted = plain[rows]
        else:  # (h/4, w/4, stack x 16)
            wanted = np.concatenate(list(blocks(plain[rows])), axis=2)
        assert (got[t] == wanted).all()


@pytest.mark.parametrize("layout", ["rows", "blocks4"])
def test_a_cache_holds_the_demonstrations(breakout_demos, layout):
    cache = open_cache(breakout_demos, "unit", layout)
    at = 0
    for info, episode in zip(breakout_demos.episodes, breakout_demos, strict=True):
        part = slice(at, at + info.length)
        assert (cache.actions[part] == episode.actions).all()
        assert (cache.starts[part] == at).all()
        assert (cache.episodes[part] == info.index).all()
        wanted = blocks(episode.frames) if layout == "blocks4" else episode.frames
        assert (cache.codes[part] == wanted.reshape(info.length, -1)).all()
        at += info.length
    assert at == len(cache.codes)
    dev = {int(e) for e in cache.episodes[cache.dev]}
    assert dev == set(breakout_demos.dev_episodes)
    assert sorted([*cache.train, *cache.dev]) == list(range(at))


def test_batches_are_the_frames_that_were_seen(breakout_demos):
    cache = open_cache(breakout_demos, "unit", "rows")
    rows = np.array([0, 1, 2, 3, int(cache.starts[-1]), int(cache.starts[-1]) + 1])
    codes, actions = Batches(cache).gather(rows)
    frames = np.concatenate([episode.frames for episode in breakout_demos])
    for k, row in enumerate(rows):
        wanted = [max(row - back, cache.starts[row]) for back in (3, 2, 1, 0)]
        assert (arrange(codes, cache.encoder)[k].numpy() == frames[wanted]).all()
        assert actions[k] == cache.actions[row]


def test_statistics_come_from_training_frames_alone(breakout_demos):
    cache = open_cache(breakout_demos, "standardise", "rows")
    train = [i.index for i in breakout_demos.episodes if i.index not in breakout_demos.dev_episodes]
    frames = np.concatenate([breakout_demos.read(i).frames for i in train]).astype(np.float64)
    np.testing.assert_allclose(cache.encoder.mean, frames.mean(0), atol=1e-3)


def test_an_unfinished_cache_is_made_again(toy_demos):
    cache = open_cache(toy_demos, "unit", "rows")
    before = np.array(cache.codes)
    folder = toy_demos.path / "cache" / f"{toy_demos.fingerprint}-unit-rows"
    (folder / "done.json").unlink()
    (folder / "codes.bin").write_bytes(b"half")
    assert (np.array(open_cache(toy_demos, "unit", "rows").codes) == before).all()


@pytest.mark.parametrize("rows", [np.arange(10), np.array([5, 7, 9, 100])])
def test_each_epoch_sees_each_row_once(rows):
    order = Order(rows, seed=3)
    for epoch in range(4):
        seen = order.take(epoch * len(rows), len(rows))
        assert sorted(seen) == sorted(rows)
    first, second = (Order(rows, 3).take(e * len(rows), len(rows)).tolist() for e in (0, 1))
    assert first != second


def test_sample_i_does_not_depend_on_how_training_got_there():
    whole = Order(np.arange(7), seed=0).take(0, 100)
    order, parts = Order(np.arange(7), seed=0), []
    for start, count in ((0, 1), (1, 20), (21, 30), (51, 49)):
        parts.append(order.take(start, count))
    assert np.concatenate(parts).tolist() == whole.tolist()
    assert Order(np.arange(7), seed=0).take(64, 5).tolist() == whole[64:69].tolist()
    assert Order(np.arange(7), seed=1).take(0, 100).tolist() != whole.tolist()


@pytest.mark.parametrize("where", [0, 0.5, 1])
def test_a_wrong_byte_in_a_cache_is_noticed_and_the_cache_made_again(toy_demos, tmp_path, where):
    bare = shutil.ignore_patterns("cache")
    demos = FrameDemonstrations.open(shutil.copytree(toy_demos.path, tmp_path / "d", ignore=bare))
    told = []
    before = np.array(open_cache(demos, "unit", "rows", lambda *said: told.append(said[0])).codes)
    assert set(told) == {"expand"}
    path = next(demos.path.glob("cache/*/codes.bin"))
    time.sleep(0.2)
    open_cache(demos, "unit", "rows")  # found sound by this process, and still looked at again
    data = bytearray(path.read_bytes())
    data[int(where * (len(data) - 1))] ^= 1
    path.write_bytes(data)
    after = open_cache(demos, "unit", "rows", lambda *said: told.append(said[0]))
    assert (np.array(after.codes) == before).all()
    assert set(told) == {"expand", "expand again"}


def test_a_study_says_that_a_cache_was_made_again(study_copy):
    class Listening(Observer):
        def trouble(self, message):
            heard.append(message)

    heard: list[str] = []
    path = next(study_copy.glob("demos/cache/*/codes.bin"))
    data = bytearray(path.read_bytes())
    data[7] ^= 255
    path.write_bytes(data)
    study = Study.open(study_copy)
    expand(study, study.demos(), Session(observer=Listening()))
    assert heard == ["the cache of frames was damaged: it is made again"]
    data[7] ^= 255
    assert path.read_bytes() == data
