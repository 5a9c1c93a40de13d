"""Scales survive encoding: units, pixels of any range, codes of objects, large numbers."""

from __future__ import annotations

import numpy as np
import pytest

from isoclone.games import FrameSpec
from isoclone.policies.encode import fit_encoder

VECTOR = FrameSpec((3,), "float32", 1)


@pytest.mark.parametrize("unit", [1e-30, 1e-5, 1.0, 1e5, 1e30])
def test_a_vector_means_the_same_in_any_unit(unit):
    values = np.random.default_rng(0).normal(2, 1, (500, 3))
    plain, other = (
        fit_encoder("standardise", "rows", VECTOR, (values * u).astype(np.float32)).encode(
            (values * u).astype(np.float32)
        )
        for u in (1.0, unit)
    )
    np.testing.assert_allclose(other, plain, atol=1e-4)


@pytest.mark.parametrize("shape", [(12, 12), (7, 7, 3), (20,)])
def test_pixels_mean_the_same_in_any_range(shape):
    spec = FrameSpec(shape, "uint8", 1)
    lit = np.random.default_rng(0).random((500, *shape)) < np.linspace(0.002, 0.5, shape[-1])
    one, two = (
        fit_encoder("standardise", "rows", spec, lit * np.uint8(high)).encode(lit * np.uint8(high))
        for high in (1, 255)
    )
    assert np.abs(one.astype(int) - two).max() <= 24  # of 127: floors of a tenth and of 10 / 255
    assert (one[lit.reshape(500, -1)] > one.min()).all()


def test_a_channel_of_small_codes_is_not_lost_beside_a_bright_one():
    frames = np.zeros((200, 5, 5, 2), np.uint8)
    rng = np.random.default_rng(0)
    frames[..., 0] = rng.integers(0, 255, (200, 5, 5))
    frames[..., 1] = rng.integers(0, 3, (200, 5, 5))
    encoder = fit_encoder("standardise", "rows", FrameSpec((5, 5, 2), "uint8", 1), frames)
    codes = encoder.encode(frames).reshape(frames.shape)
    for code in range(3):
        mine = codes[..., 1][frames[..., 1] == code]
        assert np.ptp(mine) < 5  # the mean differs from pixel to pixel
    assert codes[..., 1].std() > 10


def test_large_numbers_keep_their_differences():
    spec = FrameSpec((1,), "float64", 1)
    seconds = 1.7e9 + np.random.default_rng(0).random((500, 1))
    encoder = fit_encoder("standardise", "rows", spec, seconds)
    codes = encoder.encode(seconds)
    assert codes.dtype == np.float32
    np.testing.assert_allclose(codes, (seconds - seconds.mean()) / seconds.std(), atol=1e-5)


def test_noise_of_rounding_is_not_blown_up():
    values = np.full((500, 3), 0.3, np.float32)
    values[::2] = np.nextafter(values[::2], 1)
    assert np.abs(fit_encoder("standardise", "rows", VECTOR, values).encode(values)).max() < 0.2


def test_what_never_changes_is_nothing():
    values = np.tile(np.float32([0, 5, -1e6]), (9, 1))
    encoder = fit_encoder("standardise", "rows", VECTOR, values)
    assert (encoder.encode(values) == 0).all()
    assert np.isfinite(encoder.inverse_sd).all()
