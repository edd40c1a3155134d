from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from flywheel.modality.audio.data.spectrum import PADDING_VALUE, packed_meta
from flywheel.model.network import LoadedNetwork, Network
from flywheel.model.speech_cnn import SpeechCNN
from flywheel.model.speech_lstm import SpeechLSTM
from flywheel.registry.onnx_export import export_onnx
from flywheel.registry.onnx_model import OnnxModel

FRAMES, BANDS = 21, 10


def nets(num_outputs: int = 3) -> list[nn.Module]:
    """Both networks for spectrograms, with norms that have seen something."""
    torch.manual_seed(0)
    made: list[nn.Module] = [SpeechCNN(BANDS, num_outputs, PADDING_VALUE, widths=[4, 6])]
    made += [SpeechLSTM(BANDS, num_outputs, PADDING_VALUE, hidden=8, num_layers=2, stack=stack) for stack in (1, 3)]
    for net in made:
        net.train()(torch.randn(16, FRAMES, BANDS))
    return [net.eval() for net in made]


def padded(clip_TF: Tensor, num_frames: int) -> Tensor:
    """One clip as a batch, filled up on the right."""
    whole = torch.full((1, num_frames, clip_TF.shape[1]), PADDING_VALUE)
    whole[0, : len(clip_TF)] = clip_TF
    return whole


@pytest.mark.parametrize("length", [1, 2, 7, 20])
@torch.no_grad()
def test_no_amount_of_padding_changes_the_answer(length: int) -> None:
    clip = torch.randn(length, BANDS)
    for net in nets():
        bare = net(clip[None])
        for num_frames in (length + 1, length + 2, 40):
            torch.testing.assert_close(net(padded(clip, num_frames)), bare, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_rows_do_not_depend_on_each_other() -> None:
    clips = torch.cat([padded(torch.randn(length, BANDS), FRAMES) for length in (3, 21, 10)])
    for net in nets():
        torch.testing.assert_close(net(clips)[1:2], net(clips[1:2]), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_the_answer_depends_on_every_frame_and_a_clip_of_nothing_has_one() -> None:
    clip = torch.randn(1, FRAMES, BANDS)
    for net in nets():
        for frame in range(FRAMES):
            changed = clip.clone()
            changed[0, frame] += 2
            assert not torch.equal(net(changed), net(clip))
        assert net(torch.full((2, FRAMES, BANDS), PADDING_VALUE)).isfinite().all()


@torch.no_grad()
def test_one_output_is_one_number_a_row() -> None:
    for net in nets(num_outputs=1):
        assert net(torch.randn(5, FRAMES, BANDS)).shape == (5,)


@pytest.mark.parametrize("kind", [0, 2])
def test_the_exported_network_gives_the_same_scores_for_any_number_of_rows(kind: int, tmp_path: Path) -> None:
    meta = {"inputs": {"spectrogram": packed_meta(FRAMES, BANDS)}}
    network = Network(nets()[kind], meta["inputs"]).eval()
    loaded = LoadedNetwork(network, nn.Softmax(dim=-1), meta, {}, "0" * 64)
    export_onnx(loaded, tmp_path / "model.onnx", opset=20)
    stored = torch.randint(1, 256, (5, FRAMES, BANDS), dtype=torch.uint8)
    for row, length in enumerate((21, 1, 8, 0, 20)):
        stored[row, length:] = 0
    model = OnnxModel(tmp_path / "model.onnx", threads=1)
    expected = loaded.predict({"spectrogram": stored})
    for rows in (5, 1, 3):
        found = torch.from_numpy(model.scores({"spectrogram": stored[:rows].numpy()}))
        torch.testing.assert_close(found, expected[:rows], rtol=1e-4, atol=1e-5)
