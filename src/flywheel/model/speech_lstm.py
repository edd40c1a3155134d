"""An LSTM over the frames of a spectrogram."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from flywheel.model.recurrent import lstm_states


class SpeechLSTM(nn.Module):
    """LSTM (Hochreiter & Schmidhuber 1997) from the first frame to the last; then the mean of its outputs.

    It only looks back, so what follows a clip changes none of its outputs; the mean leaves padding out. Any amount of
    padding gives the same answer.

    Args:
        num_bands: Number of values in a frame.
        num_outputs: Number of outputs.
        padding_value: Value of frames of padding, in every band; no sound has it.
        hidden: Width of the LSTM.
        num_layers: LSTMs on top of each other.
        stack: Neighbouring frames that are joined into one step: it is so many times faster.
        dropout: Probability of dropping an output of an LSTM.
    """

    def __init__(
        self,
        num_bands: int,
        num_outputs: int,
        padding_value: float,
        hidden: int = 96,
        num_layers: int = 1,
        stack: int = 2,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.padding_value, self.num_outputs, self.stack = padding_value, num_outputs, stack
        widths = [num_bands * stack] + [hidden] * (num_layers - 1)
        self.layers = nn.ModuleList([nn.LSTM(width, hidden, batch_first=True) for width in widths])
        self.dropout, self.head = nn.Dropout(dropout), nn.Linear(hidden, num_outputs)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Map spectrograms, float32 [B, T, F], to logits [B, num_outputs], or [B] where there is one output."""
        used_BT = (spectrogram != self.padding_value).any(dim=2)
        x_BTF = spectrogram * used_BT[:, :, None]  # padding becomes 0, a band's mean, also within a joined step
        missing = -x_BTF.shape[1] % self.stack
        x_BTF = nn.functional.pad(x_BTF, (0, 0, 0, missing))
        x_BSF = x_BTF.reshape(-1, x_BTF.shape[1] // self.stack, x_BTF.shape[2] * self.stack)
        used_BS = used_BT[:, :: self.stack].to(x_BSF.dtype)
        for layer in self.layers:
            x_BSF = self.dropout(lstm_states(cast(nn.LSTM, layer), x_BSF))
        num_steps = used_BS.sum(dim=1, keepdim=True).clamp(min=1.0)
        mean_BH = (x_BSF * used_BS[:, :, None]).sum(dim=1) / num_steps
        logits: Tensor = self.head(mean_BH)
        return logits.flatten(0) if self.num_outputs == 1 else logits
