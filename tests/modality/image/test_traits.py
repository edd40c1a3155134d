from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from flywheel.modality.image.data.preprocessor import ImagePreprocessor
from flywheel.monitor.trait.base import row_traits


def traits(pictures: list[Any]) -> dict[str, np.ndarray[Any, Any]]:
    inputs = ImagePreprocessor()
    frame = pd.DataFrame({"image": np.fromiter([np.asarray(one, np.uint8) for one in pictures], object)})
    inputs.fit([inputs.clean(frame)[0]])
    return row_traits(inputs, frame)


def test_light_edges_and_noise_are_told_apart() -> None:
    dark, light = np.zeros((8, 8)), np.full((8, 8), 255)
    stripes = np.tile([0, 255], (8, 4))
    noise = np.random.default_rng(0).integers(0, 256, (8, 8))
    found = traits([dark, light, stripes, stripes.T, noise])
    assert found["brightness"][:2].tolist() == [0, 1]
    assert found["dark share"][:3].tolist() == [1, 0, 0.5]
    assert (found["edges across"][2], found["edges down"][2]) == (1, 0)
    assert (found["edges across"][3], found["edges down"][3]) == (0, 1)
    assert found["grain"][2] == 0 < found["grain"][4]


def test_areas_say_where_it_is_bright() -> None:
    corner = np.zeros((8, 8))
    corner[:2, :2] = 255
    found = traits([corner, np.rot90(corner, -1)])
    assert found["area 1.1"].tolist() == [1, 0]
    assert found["area 1.4"].tolist() == [0, 1]
    assert sum(name.startswith("area") for name in found) == 16


def test_small_pictures_have_no_areas_and_colours_have_colourfulness() -> None:
    colour = np.zeros((3, 3, 3))
    colour[..., 0] = 255
    found = traits([colour, np.full((3, 3, 3), 99)])
    assert not any(name.startswith("area") for name in found)
    assert found["colourfulness"][0] > found["colourfulness"][1] == 0
