from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flywheel.preprocessor.pipeline.pictures import draw_classes, draw_samples
from flywheel.project.types import Preview

RED = np.full((8, 8, 3), (255, 0, 0), dtype=np.uint8)


def pixels(path: Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert "Software" not in image.info
        return np.asarray(image.convert("RGB"))


def red_share(path: Path) -> float:
    return float((pixels(path) == (255, 0, 0)).all(axis=2).mean())


def test_samples_show_the_pictures_and_keep_their_proportions(tmp_path: Path) -> None:
    draw_samples(tmp_path / "square.png", {"a": [Preview(image=RED)] * 10, "b": [Preview(image=RED)] * 10}, "Toy")
    draw_samples(tmp_path / "tall.png", {"a": [Preview(image=RED[:, :4])] * 10, "b": [Preview(image=RED)] * 10}, "Toy")
    assert red_share(tmp_path / "tall.png") == pytest.approx(0.75 * red_share(tmp_path / "square.png"), rel=0.05)


def test_no_more_than_twenty_classes_are_drawn(tmp_path: Path) -> None:
    for count in (20, 21, 60):
        names = [f"c{i:02}" for i in range(count)]
        draw_samples(tmp_path / f"samples{count}.png", {name: [Preview(image=RED)] for name in names}, "Toy")
        numbers = {"train": {name: 10 + i for i, name in enumerate(names)}, "test": dict.fromkeys(names, 3)}
        draw_classes(tmp_path / f"classes{count}.png", numbers, "Toy")
    for kind in ("samples", "classes"):
        heights = [pixels(tmp_path / f"{kind}{count}.png").shape[0] for count in (20, 21, 60)]
        assert heights[0] == heights[1] == heights[2]
        assert (tmp_path / f"{kind}20.png").read_bytes() != (tmp_path / f"{kind}60.png").read_bytes()


def test_texts_and_long_names_fit(tmp_path: Path) -> None:
    previews = [Preview(text="a very long text " * 10)] * 3
    draw_samples(tmp_path / "a.png", {"": previews, "n" * 80: previews}, "much wider than the cells " * 4)
    assert (pixels(tmp_path / "a.png")[:, :10] == 255).all()
    assert (pixels(tmp_path / "a.png")[:, -10:] == 255).all()


def test_same_data_same_bytes(tmp_path: Path, contents: Callable[[Path], dict[str, bytes]]) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        draw_samples(tmp_path / name / "samples.png", {"a": [Preview(image=RED)]}, "Toy")
        counts = {"train": {"a": 3, "b": 0}, "validation": {"a": 0, "b": 0}}
        draw_classes(tmp_path / name / "classes.png", counts, "Toy")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
