"""Random changes to spectrograms, all of a batch at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AudioAugmentation(nn.Module):
    """Shift clips in time, add noise, and blank out bands and stretches of time, each clip on its own.

    Blanking is SpecAugment without its time warping (Park et al. 2019, arXiv:1904.08779): what is masked becomes 0, the
    mean of the band. Padding stays what it is, apart from the frames that a shift moves. Draws from PyTorch's global
    generator of the device, so a training's seed fixes it.

    Args:
        padding_value: Value of padding frames, in every band (`meta.padding_value`).
        time_masks: Stretches of time that are blanked out.
        time_mask_share: Longest of them, as a share of the clip's length.
        band_masks: Groups of neighbouring bands that are blanked out.
        band_mask_size: Most bands in one of them.
        max_shift: Largest shift in frames, each way: later, after frames of the bands' mean, or earlier, losing the
            first ones; never so far that nothing is left.
        noise: Standard deviation of normal noise that is added to every value, in standard deviations of a band.

    Raises:
        ValueError: A value is out of its range.
    """

    def __init__(
        self,
        padding_value: float,
        time_masks: int = 1,
        time_mask_share: float = 0.2,
        band_masks: int = 1,
        band_mask_size: int = 8,
        max_shift: int = 4,
        noise: float = 0.1,
    ) -> None:
        super().__init__()
        if min(time_masks, band_masks, band_mask_size, max_shift) < 0 or noise < 0 or not 0 <= time_mask_share <= 1:
            raise ValueError("numbers, sizes and noise >= 0, time_mask_share in [0, 1] are required")
        self.padding_value = padding_value
        self.time_masks, self.time_mask_share = time_masks, time_mask_share
        self.band_masks, self.band_mask_size = band_masks, band_mask_size
        self.max_shift, self.noise = max_shift, noise

    def forward(self, inputs: dict[str, Tensor], target: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Change every input that is a spectrogram, float [B, T, F]; others, and the target, pass."""
        return {name: self._change(x) if x.ndim == 3 else x for name, x in inputs.items()}, target

    def _change(self, x_BTF: Tensor) -> Tensor:
        length_B = self._lengths(x_BTF)
        if self.max_shift:
            x_BTF, length_B = self._shifted(x_BTF, length_B)
        used_BT = torch.arange(x_BTF.shape[1], device=x_BTF.device) < length_B[:, None]
        blank_BTF = torch.zeros_like(x_BTF, dtype=torch.bool)
        for _ in range(self.time_masks):
            blank_BTF |= self._time_mask(length_B, x_BTF.shape[1])[:, :, None]
        for _ in range(self.band_masks):
            blank_BTF |= self._band_mask(len(x_BTF), x_BTF.shape[2], x_BTF.device)[:, None, :]
        if self.noise:
            x_BTF = x_BTF + self.noise * torch.randn_like(x_BTF)
        x_BTF = x_BTF.masked_fill(blank_BTF, 0.0)
        return torch.where(used_BT[:, :, None], x_BTF, self.padding_value)

    def _lengths(self, x_BTF: Tensor) -> Tensor:
        """Frames of each clip up to the last one that is not padding, int64 [B]."""
        used_BT = (x_BTF != self.padding_value).any(dim=2)
        return (torch.arange(1, x_BTF.shape[1] + 1, device=x_BTF.device) * used_BT).amax(dim=1)

    def _shifted(self, x_BTF: Tensor, length_B: Tensor) -> tuple[Tensor, Tensor]:
        """Move each clip; one that is moved later grows as far as the batch has frames."""
        batch, num_frames, _ = x_BTF.shape
        device, reach = x_BTF.device, self.max_shift
        earlier_B = torch.randint(-reach, reach + 1, (batch,), device=device)
        earlier_B = torch.minimum(earlier_B, (length_B - 1).clamp(min=0))
        earlier_B = torch.where(length_B > 0, earlier_B, 0)
        from_BT = torch.arange(num_frames, device=device) + earlier_B[:, None]
        moved = x_BTF[torch.arange(batch, device=device)[:, None], from_BT.clamp(0, num_frames - 1)]
        moved = moved.masked_fill((from_BT < 0)[:, :, None], 0.0)
        return moved, (length_B - earlier_B).clamp(max=num_frames)

    def _time_mask(self, length_B: Tensor, num_frames: int) -> Tensor:
        """Choose a stretch of each clip: bool [B, T]."""
        draw = torch.rand(2, len(length_B), device=length_B.device)
        width_B = (draw[0] * (self.time_mask_share * length_B + 1)).floor()
        start_B = (draw[1] * (length_B - width_B + 1)).floor()
        frames = torch.arange(num_frames, device=length_B.device)
        return (frames >= start_B[:, None]) & (frames < (start_B + width_B)[:, None])

    def _band_mask(self, batch: int, num_bands: int, device: torch.device) -> Tensor:
        """Choose neighbouring bands of each clip: bool [B, F]."""
        widest = min(self.band_mask_size, num_bands)
        width_B = torch.randint(0, widest + 1, (batch,), device=device)
        start_B = (torch.rand(batch, device=device) * (num_bands - width_B + 1)).floor()
        bands = torch.arange(num_bands, device=device)
        return (bands >= start_B[:, None]) & (bands < (start_B + width_B)[:, None])
