import pytest
import torch

from flywheel.learner.augmentation.none import NoAugmentation
from flywheel.modality.image.augment import ImageAugmentation

TARGET = torch.arange(6)


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.arange(6 * 3 * 9 * 7, dtype=torch.float32).reshape(6, 3, 9, 7)


def test_none_changes_nothing(pictures: torch.Tensor) -> None:
    inputs, target = NoAugmentation()({"image": pictures}, TARGET)
    assert inputs["image"] is pictures
    assert target is TARGET


def test_a_sure_flip_is_the_mirror_image(pictures: torch.Tensor) -> None:
    flipped = ImageAugmentation(max_shift=0, flip=1.0)({"image": pictures}, TARGET)[0]["image"]
    assert torch.equal(flipped, pictures.flip(3))


def test_shifts_move_each_picture_on_its_own_and_stay_within_bounds(pictures: torch.Tensor) -> None:
    torch.manual_seed(0)
    moved = ImageAugmentation(max_shift=2)({"image": pictures}, TARGET)[0]["image"]
    found = set()
    for before, after in zip(pictures, moved, strict=True):
        fits = [
            (dy, dx)
            for dy in range(-2, 3)
            for dx in range(-2, 3)
            if torch.equal(after[:, 2:-2, 2:-2], before[:, 2 + dy : 7 + dy, 2 + dx : 5 + dx])
        ]
        assert len(fits) == 1
        found.add(fits[0])
    assert len(found) > 1


def test_a_sure_erasure_blanks_one_square_of_the_stated_size() -> None:
    torch.manual_seed(0)
    erased = ImageAugmentation(max_shift=0, erase=1.0, erase_size=0.5)({"image": torch.ones(5, 2, 8, 8)}, TARGET)[0][
        "image"
    ]
    assert (erased == 0).flatten(1).sum(1).tolist() == [2 * 4 * 4] * 5


def test_inputs_that_are_no_pictures_pass(pictures: torch.Tensor) -> None:
    table = torch.rand(6, 4)
    assert ImageAugmentation()({"image": pictures, "table": table}, TARGET)[0]["table"] is table


def test_the_seed_fixes_the_draws(pictures: torch.Tensor) -> None:
    augmentation = ImageAugmentation(max_shift=2, flip=0.5, erase=0.5)
    results = []
    for _ in range(2):
        torch.manual_seed(7)
        results.append(augmentation({"image": pictures}, TARGET)[0]["image"])
    assert torch.equal(results[0], results[1])


@pytest.mark.parametrize("wrong", [{"max_shift": -1}, {"flip": 1.5}, {"erase": -0.1}, {"erase_size": 0.0}])
def test_values_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="required"):
        ImageAugmentation(**wrong)
