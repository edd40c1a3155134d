"""Random changes to pictures, made on the device, all pictures of a batch at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ImageAugmentation(nn.Module):
    """Shift, mirror and blank out parts of pictures, each picture on its own.

    Erasing: Zhong et al. 2017, arXiv:1708.04896 (a square, filled with the mean). Draws from PyTorch's global
    generator of the device, so a training's seed fixes it.

    Args:
        max_shift: Largest shift in pixels, each way; what comes in at the edge repeats the border.
        flip: Probability of a mirror image, left to right.
        erase: Probability that a square is blanked out.
        erase_size: The square's side as a share of the picture's, in (0, 1].

    Raises:
        ValueError: A value is out of its range.
    """

    def __init__(self, max_shift: int = 2, flip: float = 0.0, erase: float = 0.0, erase_size: float = 0.25) -> None:
        super().__init__()
        if max_shift < 0 or not 0 <= flip <= 1 or not 0 <= erase <= 1 or not 0 < erase_size <= 1:
            raise ValueError("max_shift >= 0, flip and erase in [0, 1], erase_size in (0, 1] are required")
        self.max_shift = max_shift
        self.flip = flip
        self.erase = erase
        self.erase_size = erase_size

    def forward(self, inputs: dict[str, Tensor], target: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Change every input that is a picture, float32 [N, C, H, W]; other inputs and the target pass."""
        return {name: self._change(x) if x.ndim == 4 else x for name, x in inputs.items()}, target

    def _change(self, x_NCHW: Tensor) -> Tensor:
        if self.max_shift or self.flip:
            x_NCHW = self._moved(x_NCHW)
        if self.erase:
            x_NCHW = self._erased(x_NCHW)
        return x_NCHW

    def _moved(self, x_NCHW: Tensor) -> Tensor:
        """Gather each picture's pixels from their shifted and mirrored places."""
        n, _, height, width = x_NCHW.shape
        device, reach = x_NCHW.device, self.max_shift
        shift_y = torch.randint(-reach, reach + 1, (n, 1), device=device)
        shift_x = torch.randint(-reach, reach + 1, (n, 1), device=device)
        rows_NH = (torch.arange(height, device=device) + shift_y).clamp(0, height - 1)
        columns_NW = (torch.arange(width, device=device) + shift_x).clamp(0, width - 1)
        if self.flip:
            mirrored = torch.rand(n, 1, device=device) < self.flip
            columns_NW = torch.where(mirrored, columns_NW.flip(1), columns_NW)
        picture = torch.arange(n, device=device)[:, None, None]
        # Advanced indexes around a slice put the indexed axes first: [N, H, W, C].
        moved = x_NCHW[picture, :, rows_NH[:, :, None], columns_NW[:, None, :]]
        return moved.permute(0, 3, 1, 2).contiguous()

    def _erased(self, x_NCHW: Tensor) -> Tensor:
        n, _, height, width = x_NCHW.shape
        device = x_NCHW.device
        side_y, side_x = max(1, round(height * self.erase_size)), max(1, round(width * self.erase_size))
        top = torch.randint(0, height - side_y + 1, (n, 1), device=device)
        left = torch.randint(0, width - side_x + 1, (n, 1), device=device)
        rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
        in_rows = (rows >= top) & (rows < top + side_y)
        in_columns = (columns >= left) & (columns < left + side_x)
        chosen = torch.rand(n, 1, 1, device=device) < self.erase
        blank_NHW = in_rows[:, :, None] & in_columns[:, None, :] & chosen
        return x_NCHW.masked_fill(blank_NHW[:, None], 0.0)
