from __future__ import annotations

import torch

from flywheel.model.neural_cf import NeuralCF


def test_a_catalogue_scored_in_pieces_has_the_scores_of_one_piece() -> None:
    torch.manual_seed(0)
    net = NeuralCF(3, 50, width=8, hidden=(6, 4)).eval()
    inputs = torch.tensor([1, 2, 0]), torch.tensor([[4, 9, 0], [0, 0, 0], [7, 0, 0]])
    whole = net(*inputs)
    net._piece = 7
    torch.testing.assert_close(net(*inputs), whole)


def test_the_first_layer_is_a_linear_layer_over_both_vectors() -> None:
    net = NeuralCF(3, 5, width=4, hidden=(6,)).eval()
    net.bias.data = torch.randn(5)
    user, item = net.layer_users.weight[1], net.layer_items.weight[3]
    joined = torch.cat([net.first_user.weight, net.first_item.weight], dim=1) @ torch.cat([user, item])
    product = (net.product_users.weight[1] * net.product_weight) @ net.product_items.weight[3]
    wanted = net.layers[-1].weight[0] @ torch.relu(joined + net.first_user.bias) + product + net.bias[2]
    scores = net(torch.tensor([1]), torch.zeros(1, 2, dtype=torch.int64))
    torch.testing.assert_close(scores[0, 2], wanted)
