"""Turns LightGBM's trees into the arrays of `flywheel.model.trees.Trees`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flywheel.model.trees import exact


@dataclass
class _Arrays:
    """What has been read of the trees so far, node by node and leaf by leaf."""

    branches: list[list[int]] = field(default_factory=list)
    feature: list[int] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)
    missing_first: list[bool] = field(default_factory=list)
    category_set: list[int] = field(default_factory=list)
    sets: list[list[int]] = field(default_factory=list)
    leaf: list[float] = field(default_factory=list)

    def add_tree(self, root: dict[str, Any]) -> int:
        """Add a tree as `dump_model` describes it, and give the number of its first node."""
        if "split_feature" not in root:  # a tree without a split: ONNX wants a node all the same
            place = self._add_node(0, 0.0, missing_first=True)
            self.branches[place] = [self._add_leaf(root)] * 2
            return place
        return self._add(root)

    def _add(self, top: dict[str, Any]) -> int:
        # A loop, as LightGBM's trees may be deeper than Python's stack.
        first = len(self.branches)
        waiting = [(top, -1, 0)]
        while waiting:
            node, parent, side = waiting.pop()
            place = self._add_split(node) if "split_feature" in node else self._add_leaf(node)
            if parent >= 0:
                self.branches[parent][side] = place
            if "split_feature" in node:
                waiting += [(node["right_child"], place, 1), (node["left_child"], place, 0)]
        return first

    def _add_split(self, node: dict[str, Any]) -> int:
        if node["decision_type"] == "==":
            self.sets.append([int(code) for code in str(node["threshold"]).split("||")])
            return self._add_node(node["split_feature"], 0.0, missing_first=False, chosen=len(self.sets) - 1)
        threshold = float(node["threshold"])
        # LightGBM takes a missing number for 0 where train had none in this column.
        missing_first = node["default_left"] if node["missing_type"] == "NaN" else threshold >= 0.0
        return self._add_node(node["split_feature"], threshold, missing_first=bool(missing_first))

    def _add_node(self, feature: int, threshold: float, *, missing_first: bool, chosen: int = -1) -> int:
        self.branches.append([0, 0])
        self.feature.append(feature)
        self.threshold.append(threshold)
        self.missing_first.append(missing_first)
        self.category_set.append(chosen)
        return len(self.branches) - 1

    def _add_leaf(self, node: dict[str, Any]) -> int:
        self.leaf.append(float(node["leaf_value"]))
        return ~(len(self.leaf) - 1)


def arrays(booster: Any, num_rounds: int, num_outputs: int) -> dict[str, Tensor]:
    """The state of `Trees` that holds a LightGBM booster's first rounds.

    Args:
        booster: A trained `lightgbm.Booster`.
        num_rounds: Rounds to take.
        num_outputs: Outputs of the net; two of them and one tree a round: the tree is of the second.
    """
    found, dumped = _Arrays(), booster.dump_model(num_iteration=num_rounds)
    trees = [tree["tree_structure"] for tree in dumped["tree_info"]]
    roots = [found.add_tree(tree) for tree in trees]
    per_round = int(dumped["num_tree_per_iteration"])
    outputs = [place % per_round + (num_outputs - per_round) for place in range(len(trees))]
    num_codes = max((max(codes) + 1 for codes in found.sets), default=0)
    sets = np.zeros((len(found.sets), num_codes), dtype=np.bool_)
    for place, codes in enumerate(found.sets):
        sets[place, codes] = True
    return {
        "branches": torch.tensor(found.branches, dtype=torch.int32),
        "feature": torch.tensor(found.feature, dtype=torch.int32),
        "threshold": torch.tensor(found.threshold, dtype=torch.float64),
        "missing_first": torch.tensor(found.missing_first, dtype=torch.bool),
        "category_set": torch.tensor(found.category_set, dtype=torch.int32),
        "sets": torch.from_numpy(sets),
        "roots": torch.tensor(roots, dtype=torch.int32),
        "tree_output": torch.tensor(outputs, dtype=torch.int32),
        "leaf": torch.from_numpy(exact(np.array(found.leaf), len(trees) // per_round)),
    }
