from __future__ import annotations

import numpy as np
import pytest

from flywheel.modality.audio.data.spectrum import PADDING, PADDING_VALUE, Moments, clip_sums, pack, packed_meta, picture

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("clips", [[3, 4, 1, 8], [16], [1] * 16])
def test_moments_are_those_of_all_frames_to_the_last_bit_wherever_chunks_end(clips: list[int]) -> None:
    frames = RNG.normal(-5, 3, (16, 4)).astype(np.float32)
    whole, parts = Moments(), Moments()
    whole.add(clip_sums(frames, np.array(clips)), sum(clips))
    ends = np.cumsum(clips)
    for end, number in zip(ends, clips, strict=True):
        parts.add(clip_sums(frames[end - number : end], np.array([number])), number)
    assert whole.mean_and_std() == parts.mean_and_std()
    mean, std = whole.mean_and_std()
    np.testing.assert_allclose(mean, frames.mean(axis=0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(std, frames.std(axis=0, dtype=np.float64), rtol=1e-6)


def test_a_band_without_variation_has_deviation_1_and_no_clips_have_none() -> None:
    moments = Moments()
    assert moments.mean_and_std() == ([], [])
    moments.add(clip_sums(np.full((5, 2), 7.0, np.float32), np.array([5])), 5)
    assert moments.mean_and_std() == ([7.0, 7.0], [1.0, 1.0])


def test_the_network_gets_back_deviations_and_padding_alone_is_at_its_value() -> None:
    deviations = np.array([-100, -3.97, -1, 0, 0.5, 3.97, 100], np.float32)
    packed = pack(deviations)
    assert packed.dtype == np.uint8
    meta = packed_meta(100, 40)
    scaled = (packed - meta["mean"][0]) / meta["std"][0]
    np.testing.assert_allclose(scaled, np.clip(deviations, -127 / 32, 127 / 32), atol=1 / 64)
    assert scaled.min() > PADDING_VALUE == (PADDING - meta["mean"][0]) / meta["std"][0]
    assert PADDING not in packed


def test_a_picture_has_time_to_the_right_high_bands_above_and_white_padding() -> None:
    packed = np.full((6, 3), 1, np.uint8)
    packed[0, 2], packed[4:] = 255, PADDING
    drawn = picture(packed)
    assert drawn.shape == (6, 6, 3)
    assert drawn[0, 0].sum() > drawn[5, 0].sum()
    assert (drawn[:, 4:] == 255).all()
    assert (drawn[2, 1] == drawn[5, 3]).all()
