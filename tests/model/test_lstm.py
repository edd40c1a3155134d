from typing import cast

import pytest
import torch
from torch import nn

from flywheel.model.lstm import LSTM


def test_it_is_pytorch_s_own_lstm_on_packed_texts() -> None:
    torch.manual_seed(0)
    net = LSTM(20, 2, embedding=4, hidden=3, bidirectional=True).eval()
    own = nn.LSTM(4, 3, batch_first=True, bidirectional=True)
    for name, weight in net.forwards[0].named_parameters():
        getattr(own, name).data = weight.data
        getattr(own, f"{name}_reverse").data = getattr(net.backwards[0], name).data
    tokens = torch.tensor([[3, 4, 5, 6], [7, 8, 0, 0], [9, 0, 0, 0]])
    packed = nn.utils.rnn.pack_padded_sequence(net.embedding(tokens), torch.tensor([4, 2, 1]), batch_first=True)
    state = own(packed)[1][0]
    torch.testing.assert_close(net(tokens), net.head(torch.cat([state[0], state[1]], dim=1)))


def test_the_reference_network_has_its_published_size() -> None:
    net = LSTM(10_000, 1, embedding=64, hidden=64, layers=2)
    assert sum(p.numel() for p in net.parameters()) == 10_000 * 64 + 2 * (4 * 64 * (64 + 64) + 8 * 64) + 64 + 1


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="pooling must be last or max"):
        LSTM(9, 2, pooling="mean")
    with pytest.raises(ValueError, match="layers"):
        LSTM(9, 2, layers=0)


def test_padding_is_read_before_the_text_where_it_is_asked_to() -> None:
    """As Keras' pad_sequences and LSTM do without a mask; how far a batch was cut makes no difference."""
    torch.manual_seed(0)
    net = LSTM(20, 2, embedding=4, hidden=3, padded_length=6).eval()
    first = cast(nn.LSTM, net.forwards[0])
    for text in ([3, 4, 5], [9], [3, 4, 5, 6, 7, 8]):
        state = first(net.embedding(torch.tensor([[0] * (6 - len(text)) + text])))[1][0]
        for width in range(len(text), 7):
            tokens = torch.tensor([text + [0] * (width - len(text))])
            torch.testing.assert_close(net(tokens), net.head(state[0]))
