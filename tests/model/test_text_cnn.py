import pytest
import torch

from flywheel.model.text_cnn import TextCNN


def test_it_finds_a_phrase_wherever_it_stands() -> None:
    net = TextCNN(30, 2, embedding=5, filters=6, widths=[3]).eval()
    tokens = torch.full((3, 12), 7)
    for row, place in enumerate((2, 5, 8)):
        tokens[row, place : place + 2] = torch.tensor([11, 12])
    torch.testing.assert_close(net(tokens), net(tokens[:1]).expand(3, -1))


def test_widths_are_checked() -> None:
    for widths in ([], [0]):
        with pytest.raises(ValueError, match="widths"):
            TextCNN(9, 2, widths=widths)
