from __future__ import annotations

import pytest
import torch
from torch import Tensor

from flywheel.modality.audio.augment import AudioAugmentation

PADDING = -4.0
OFF = {"time_masks": 0, "band_masks": 0, "max_shift": 0, "noise": 0.0}
LENGTHS = [1, 2, 5, 12, 20, 20]
TARGET = torch.arange(6)


@pytest.fixture
def clips() -> Tensor:
    """Clips of several lengths, [6, 20, 8]; each value tells its frame and band."""
    made = 1 + torch.arange(20.0)[None, :, None] / 10 + torch.arange(8.0) / 100
    made = made.repeat(6, 1, 1)
    for row, length in enumerate(LENGTHS):
        made[row, length:] = PADDING
    return made


def change(clips: Tensor, **options: float) -> Tensor:
    changed, target = AudioAugmentation(PADDING, **{**OFF, **options})({"x": clips}, TARGET)  # type: ignore[arg-type]
    assert target is TARGET
    return changed["x"]


def test_nothing_is_changed_when_all_is_off_and_other_inputs_pass(clips: Tensor) -> None:
    assert torch.equal(change(clips), clips)
    table = torch.rand(6, 4)
    assert AudioAugmentation(PADDING)({"x": clips, "table": table}, TARGET)[0]["table"] is table


def test_time_masks_blank_one_stretch_no_longer_than_its_share(clips: Tensor) -> None:
    torch.manual_seed(0)
    widths = set()
    for _ in range(30):
        changed = change(clips, time_masks=1, time_mask_share=0.5)
        blank = (changed == 0).all(dim=2)
        assert torch.equal(torch.where(blank[:, :, None], clips, changed), clips)
        for row, length in enumerate(LENGTHS):
            frames = torch.flatten(blank[row].nonzero()).tolist()
            assert frames == list(range(frames[0], frames[-1] + 1)) if frames else True
            assert len(frames) <= 0.5 * length + 1
            assert not frames or frames[-1] < length
        widths.add(int(blank[4].sum()))
    assert len(widths) > 5


def test_band_masks_blank_neighbouring_bands_of_the_clip_and_not_of_its_padding(clips: Tensor) -> None:
    torch.manual_seed(0)
    found = set()
    for _ in range(30):
        changed = change(clips, band_masks=1, band_mask_size=3)
        for row, length in enumerate(LENGTHS):
            bands = torch.flatten((changed[row, :length] == 0).all(dim=0).nonzero()).tolist()
            assert len(bands) <= 3
            assert bands == list(range(bands[0], bands[-1] + 1)) if bands else True
            assert (changed[row, length:] == PADDING).all()
            found.update(bands)
    assert found == set(range(8))


def test_shifts_move_each_clip_on_its_own_with_its_padding(clips: Tensor) -> None:
    torch.manual_seed(0)
    seen = set()
    for _ in range(30):
        changed = change(clips, max_shift=3)
        for row, length in enumerate(LENGTHS):
            used = (changed[row] != PADDING).all(dim=1)
            shifted = int(used.sum())
            assert used[:shifted].all()
            first = changed[row, :shifted]
            later = int((first == 0).all(dim=1).sum())
            assert later <= 3
            kept = first[later:]
            earlier = round(float((kept[0, 0] - 1) * 10)) if len(kept) else 0
            assert torch.equal(kept, clips[row, earlier : earlier + len(kept)])
            assert 1 <= shifted <= 20
            assert min(20, length + later) - earlier == shifted
            seen.add(later - earlier)
    assert seen == set(range(-3, 4))


def test_noise_has_its_deviation_and_leaves_padding_alone(clips: Tensor) -> None:
    torch.manual_seed(0)
    used = clips != PADDING
    changed = change(clips.repeat(50, 1, 1), noise=0.3)
    difference = (changed - clips.repeat(50, 1, 1))[used.repeat(50, 1, 1)]
    assert difference.std().item() == pytest.approx(0.3, rel=0.05)
    assert abs(difference.mean().item()) < 0.01
    assert (changed[~used.repeat(50, 1, 1)] == PADDING).all()


def test_the_seed_fixes_the_draws_and_a_clip_of_nothing_stays_so(clips: Tensor) -> None:
    augmentation = AudioAugmentation(PADDING)
    clips[0] = PADDING
    results = []
    for _ in range(2):
        torch.manual_seed(7)
        results.append(augmentation({"x": clips}, TARGET)[0]["x"])
    assert torch.equal(results[0], results[1])
    assert (results[0][0] == PADDING).all()
    assert results[0].shape == clips.shape


@pytest.mark.parametrize("wrong", [{"max_shift": -1}, {"noise": -0.1}, {"time_mask_share": 1.5}, {"band_masks": -1}])
def test_values_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="required"):
        AudioAugmentation(PADDING, **wrong)  # type: ignore[arg-type]
