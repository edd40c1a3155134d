"""What both networks for spectrograms have in common is in test_speech_cnn.py."""

from __future__ import annotations

import torch

from flywheel.model.speech_lstm import SpeechLSTM


@torch.no_grad()
def test_joined_frames_make_fewer_steps_and_are_averaged_over_them() -> None:
    net = SpeechLSTM(4, 3, -4.0, hidden=5, stack=3, dropout=0.0).eval()
    clip = torch.randn(2, 9, 4)
    outputs, _ = net.layers[0](clip.reshape(2, 3, 12))
    torch.testing.assert_close(net(clip), net.head(outputs.mean(dim=1)))


@torch.no_grad()
def test_order_matters() -> None:
    torch.manual_seed(0)
    net = SpeechLSTM(4, 3, -4.0, hidden=5).eval()
    clip = torch.randn(1, 8, 4)
    assert not torch.allclose(net(clip), net(clip.flip(1)))
