from __future__ import annotations

import numpy as np
import torch

from flywheel.model.trees import Trees, exact

NAN = float("nan")


def trees(**changed: torch.Tensor) -> Trees:
    """Two trees: a number at most 0.5 (missing: yes) then a category in {2, 3}; and a single split on the number."""
    net = Trees(1)
    state = {
        "branches": torch.tensor([[1, ~2], [~0, ~1], [~3, ~4]], dtype=torch.int32),
        "feature": torch.tensor([0, 1, 0], dtype=torch.int32),
        "threshold": torch.tensor([0.5, 0.0, -1.0], dtype=torch.float64),
        "missing_first": torch.tensor([True, False, False]),
        "category_set": torch.tensor([-1, 0, -1], dtype=torch.int32),
        "sets": torch.tensor([[False, False, True, True]]),
        "roots": torch.tensor([0, 2], dtype=torch.int32),
        "tree_output": torch.tensor([0, 0], dtype=torch.int32),
        "leaf": torch.tensor([1.0, 2.0, 3.0, 10.0, 20.0], dtype=torch.float64),
    }
    net.load_state_dict({**state, **changed})
    return net


def answers(net: Trees, *rows: tuple[float, int]) -> list[float]:
    numeric = torch.tensor([[number] for number, _ in rows])
    categories = torch.tensor([[code] for _, code in rows], dtype=torch.int32)
    return net(numeric=numeric, categories=categories).tolist()


def test_a_row_follows_numbers_sets_of_categories_and_missing_values() -> None:
    rows = [(0.5, 2), (0.5, 1), (0.6, 2), (-1.0, 3), (NAN, 3), (0.0, 99)]
    assert answers(trees(), *rows) == [21.0, 22.0, 23.0, 11.0, 21.0, 22.0]


def test_rows_do_not_depend_on_each_other_nor_on_how_many_are_followed_at_once() -> None:
    net = trees()
    generator = np.random.default_rng(0)
    rows = list(zip(generator.normal(size=50), generator.integers(0, 5, 50), strict=True))
    assert answers(net, *rows) == [answers(net, row)[0] for row in rows]


def test_one_output_a_tree() -> None:
    net = Trees(3)
    net.load_state_dict(trees(tree_output=torch.tensor([2, 1], dtype=torch.int32)).state_dict())
    logits = net(numeric=torch.tensor([[0.5]]), categories=torch.tensor([[2]], dtype=torch.int32))
    assert logits.tolist() == [[0.0, 20.0, 1.0]]


def test_leaves_add_up_to_the_same_bits_in_any_order() -> None:
    generator = np.random.default_rng(0)
    leaves = generator.normal(size=1000) * 10.0 ** generator.integers(-6, 3, 1000)
    rounded = exact(leaves, 1000)
    assert np.abs(rounded - leaves).max() < 1e-9
    sums = {float(np.add.accumulate(generator.permutation(rounded))[-1]) for _ in range(20)}
    assert len(sums) == 1
    assert len({float(np.add.accumulate(generator.permutation(leaves))[-1]) for _ in range(20)}) > 1
    assert exact(np.zeros(3), 3).tolist() == [0.0, 0.0, 0.0]
