from __future__ import annotations

import numpy as np
import pytest

from flywheel.modality.audio.data.codebook import (
    FrameSample,
    codebook_from_json,
    codebook_to_json,
    fit_codebook,
    nearest_codes,
)

RNG = np.random.default_rng(0)
FRAMES = np.concatenate([RNG.normal(centre, 0.1, (300, 3)) for centre in (-2, 0, 3)]).astype(np.float32)


def test_the_codebook_finds_the_groups_and_is_the_same_again() -> None:
    codebook = fit_codebook(FRAMES, 3, seed=0)
    assert codebook.dtype == np.float32
    np.testing.assert_allclose(np.sort(codebook[:, 0]), [-2, 0, 3], atol=0.1)
    np.testing.assert_array_equal(fit_codebook(FRAMES, 3, seed=0), codebook)
    codes = nearest_codes(FRAMES, codebook)
    assert [len(set(codes[start : start + 300])) for start in (0, 300, 600)] == [1, 1, 1]


def test_fewer_different_frames_than_codes_give_fewer_codes() -> None:
    assert len(fit_codebook(np.repeat(np.eye(3, dtype=np.float32), 4, axis=0), 10, seed=0)) == 3


def test_nearest_is_the_nearest_and_of_two_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    codebook = RNG.normal(size=(20, 3)).astype(np.float32)
    expected = [int(((codebook - frame) ** 2).sum(axis=1).argmin()) for frame in FRAMES]
    assert nearest_codes(FRAMES, codebook).tolist() == expected
    monkeypatch.setattr("flywheel.modality.audio.data.codebook.BLOCK_FRAMES", 7)
    assert nearest_codes(FRAMES, codebook).tolist() == expected
    assert nearest_codes(np.zeros((1, 1), np.float32), np.array([[1], [-1]], np.float32)).tolist() == [0]


@pytest.mark.parametrize("chunk", [1, 7, 64, 900])
def test_the_sample_thins_out_evenly_wherever_chunks_end(chunk: int) -> None:
    sample = FrameSample(limit=100)
    numbers = np.arange(900, dtype=np.float32)[:, None]
    for start in range(0, 900, chunk):
        sample.add(numbers[start : start + chunk])
    assert sample.frames()[:, 0].tolist() == list(range(0, 900, 16))


def test_json_keeps_every_bit() -> None:
    codebook = RNG.normal(size=(5, 3)).astype(np.float32)
    np.testing.assert_array_equal(codebook_from_json(codebook_to_json(codebook)), codebook)
    with pytest.raises(ValueError, match="reshape"):
        codebook_from_json({**codebook_to_json(codebook), "shape": [4, 3]})
