from __future__ import annotations

import torch

from flywheel.model.matrix_factorization import MatrixFactorization


def test_a_score_is_the_product_of_two_vectors_and_the_items_bias() -> None:
    net = MatrixFactorization(2, 3, width=4, user_dropout=0.0)
    net.bias.data = torch.tensor([0.5, -1.0, 0.0])
    scores = net(torch.tensor([2]), torch.zeros(1, 2, dtype=torch.int32))[0]
    for column in range(3):
        wanted = net.users.weight[2] @ net.items.weight[column + 1] + net.bias[column]
        torch.testing.assert_close(scores[column], wanted)


def test_a_known_users_history_only_rules_out_and_an_unknown_ones_is_folded_in() -> None:
    net = MatrixFactorization(2, 3, width=4, user_dropout=0.0)
    user, history = torch.tensor([1, 1, 0]), torch.tensor([[1, 2], [2, 0], [1, 2]])
    scores = net(user, history)
    torch.testing.assert_close(scores[0, 2], scores[1, 2])
    folded = (net.items.weight[1] + net.items.weight[2]) / 2
    torch.testing.assert_close(scores[2, 2], folded @ net.items.weight[3] + net.bias[2])
