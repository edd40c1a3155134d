from __future__ import annotations

import torch

from flywheel.model.two_tower import TwoTower


def test_the_order_of_the_history_counts() -> None:
    torch.manual_seed(0)
    net = TwoTower(2, 9, width=8, window=4).eval()
    scores = net(torch.tensor([1, 1]), torch.tensor([[1, 2, 3], [3, 2, 1]]))
    assert not torch.allclose(scores[0, 3:], scores[1, 3:])


def test_items_before_the_window_only_rule_out() -> None:
    torch.manual_seed(0)
    net = TwoTower(2, 9, width=8, window=2).eval()
    scores = net(torch.tensor([1, 1]), torch.tensor([[5, 1, 2], [6, 1, 2]]))
    torch.testing.assert_close(scores[0, [2, 3, 6, 7, 8]], scores[1, [2, 3, 6, 7, 8]])


def test_before_training_a_user_is_near_the_last_items() -> None:
    torch.manual_seed(0)
    net = TwoTower(2, 9, width=64, window=2).eval()
    user = net._user(torch.tensor([0]), torch.tensor([[1, 2]]))[0]
    near = torch.nn.functional.cosine_similarity(user, net.items.weight[1:], dim=1)
    assert near.topk(2).indices.tolist() == [1, 0]
