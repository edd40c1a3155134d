import pytest
import torch
from torch import nn

from flywheel.model.transformer_classifier import TransformerClassifier


def test_the_reference_network_has_its_published_size() -> None:
    net = TransformerClassifier(2, 20_000, 200)
    attention, feed_forward, norms = 4 * (32 * 32 + 32), 2 * (32 * 32 + 32), 2 * 2 * 32
    head = 32 * 20 + 20 + 20 * 2 + 2
    assert sum(p.numel() for p in net.parameters()) == 20_200 * 32 + attention + feed_forward + norms + head


def test_it_is_pytorch_s_own_layer_with_the_norm_last() -> None:
    torch.manual_seed(0)
    net = TransformerClassifier(3, 30, 7, width=8, num_heads=2, feed_forward=6).eval()
    own = nn.TransformerEncoderLayer(8, 2, 6, batch_first=True, layer_norm_eps=1e-6).eval()
    parts = (net.query, net.key, net.value)
    own.self_attn.in_proj_weight.data = torch.cat([part.weight for part in parts]).data
    own.self_attn.in_proj_bias.data = torch.cat([part.bias for part in parts]).data
    own.self_attn.out_proj.load_state_dict(net.out.state_dict())
    own.linear1.load_state_dict(net.feed_forward[0].state_dict())
    own.linear2.load_state_dict(net.feed_forward[2].state_dict())
    own.norm1.load_state_dict(net.attention_norm.state_dict())
    own.norm2.load_state_dict(net.feed_forward_norm.state_dict())
    tokens = torch.tensor([[3, 4, 5, 6, 7, 8, 9], [3, 4, 0, 0, 0, 0, 0]])
    expected = net.head(own(net.words(tokens) + net.positions.weight).mean(1))
    torch.testing.assert_close(net(tokens), expected)


def test_how_far_a_batch_was_cut_makes_no_difference() -> None:
    net = TransformerClassifier(1, 30, 7, width=8).eval()
    torch.testing.assert_close(net(torch.tensor([[3, 4]])), net(torch.tensor([[3, 4, 0, 0, 0, 0, 0]])))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="width 6 is not a multiple of num_heads 4"):
        TransformerClassifier(2, 9, 5, width=6, num_heads=4)
