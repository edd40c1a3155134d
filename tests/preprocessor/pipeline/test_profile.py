from __future__ import annotations

import numpy as np
import pytest

from flywheel.preprocessor.pipeline.profile import Range


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_moments_do_not_depend_on_how_values_arrive(dtype: type) -> None:
    values = np.random.default_rng(0).integers(0, 250, 5000).astype(dtype)
    whole, pieces = Range(), Range()
    whole.add(values)
    for piece in np.array_split(values, 13):
        pieces.add(piece.reshape(-1, 1))
    assert whole.to_json() == pieces.to_json()
    assert whole.to_json()["mean"] == pytest.approx(values.mean())
    assert whole.to_json()["std"] == pytest.approx(values.std())
    assert (whole.low, whole.high) == (values.min(), values.max())


def test_floats_have_a_range_only_as_their_sums_depend_on_the_order() -> None:
    found = Range()
    found.add(np.array([0.5, -2.0]))
    found.add(np.zeros(0))
    assert found.to_json() == {"min": -2.0, "max": 0.5}
