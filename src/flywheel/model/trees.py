"""An ensemble of decision trees as arrays: no pickle, no library of boosting, and the same bits in PyTorch and ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_LESS_OR_EQUAL, _MEMBER, _SUM = 0, 6, 1  # of that operator's modes and aggregations
_PAIRS = 1 << 20
"""Pairs of a row and a tree that are followed at a time, so that memory does not grow with the rows."""


class Trees(nn.Module):
    """Sums, for each output, the leaves that a row reaches in the trees of that output.

    A split sends a row to its first child if its number is at most the threshold, or if its category's code is in a
    set; a missing number (NaN) goes where the split has learnt to send it. Thresholds are in the units of the table,
    so the inputs are taken as they are stored. An estimator fills in the arrays; they are empty before.

    Args:
        num_outputs: Outputs.
    """

    takes_stored = True
    """Of a net whose inputs `Network` does not scale."""
    ONNX_OPERATOR = ("ai.onnx.ml", "TreeEnsemble", 5)
    """The operator that the exporter completes with `onnx_attributes`."""

    branches: Tensor
    feature: Tensor
    missing_first: Tensor
    category_set: Tensor
    sets: Tensor
    roots: Tensor
    tree_output: Tensor

    def __init__(self, num_outputs: int) -> None:
        super().__init__()
        self.num_outputs = num_outputs
        self.threshold = nn.Parameter(torch.zeros(0, dtype=torch.float64), requires_grad=False)
        self.leaf = nn.Parameter(torch.zeros(0, dtype=torch.float64), requires_grad=False)
        for name, shape in (("branches", (0, 2)), ("feature", (0,)), ("category_set", (0,)), ("roots", (0,)),
                            ("tree_output", (0,))):  # fmt: skip
            self.register_buffer(name, torch.zeros(shape, dtype=torch.int32))
        self.register_buffer("missing_first", torch.zeros(0, dtype=torch.bool))
        self.register_buffer("sets", torch.zeros((0, 0), dtype=torch.bool))

    def forward(self, numeric: Tensor | None = None, categories: Tensor | None = None) -> Tensor:
        """Map numbers, float32 [B, F], and codes, int32 [B, C], to logits [B, num_outputs], or [B] for one output."""
        given = [part.double() for part in (numeric, categories) if part is not None]
        columns_BF = torch.cat(given, dim=1)
        if torch.onnx.is_in_onnx_export():
            sums_BO = self._onnx_node(columns_BF)
        else:
            rows = max(1, _PAIRS // max(1, len(self.roots)))
            sums_BO = torch.cat([self._sums(part) for part in torch.split(columns_BF, rows)])
        logits = sums_BO.float()
        return logits.flatten() if self.num_outputs == 1 else logits

    def _sums(self, columns_BF: Tensor) -> Tensor:
        """Follow every tree for every row, and sum the leaves, float64 [B, num_outputs]."""
        num_rows, num_trees = len(columns_BF), len(self.roots)
        reached = torch.empty(num_rows * num_trees, dtype=torch.int64, device=columns_BF.device)
        pair = torch.arange(len(reached), device=columns_BF.device)
        node = self.roots.long().repeat(num_rows)
        while len(pair):
            first = self._goes_first(columns_BF, pair // num_trees, node)
            node = self.branches[node, torch.where(first, 0, 1)].long()
            ended = node < 0
            reached[pair[ended]] = ~node[ended]
            pair, node = pair[~ended], node[~ended]
        leaves_BT = self.leaf[reached].reshape(num_rows, num_trees)
        sums_BO = torch.zeros((num_rows, self.num_outputs), dtype=torch.float64, device=columns_BF.device)
        return sums_BO.index_add_(1, self.tree_output.long(), leaves_BT)

    def _goes_first(self, columns_BF: Tensor, row: Tensor, node: Tensor) -> Tensor:
        """Whether each pair of a row and a node goes on to the node's first child."""
        value = columns_BF[row, self.feature[node].long()]
        first = (value <= self.threshold[node]) | (value.isnan() & self.missing_first[node])
        if not len(self.sets):
            return first
        chosen, num_codes = self.category_set[node].long(), self.sets.shape[1]
        known = (value >= 0) & (value < num_codes)
        code = torch.where(known, value, 0).long()
        return torch.where(chosen >= 0, known & self.sets[chosen.clamp(min=0), code], first)

    def _onnx_node(self, columns_BF: Tensor) -> Tensor:
        domain, name, version = self.ONNX_OPERATOR
        sums: Tensor = torch.onnx.ops.symbolic(
            f"{domain}::{name}", (columns_BF,), {}, dtype=torch.float64,
            shape=(columns_BF.shape[0], self.num_outputs), version=version,
        )  # fmt: skip
        return sums

    def onnx_attributes(self) -> dict[str, Any]:
        """The trees as attributes of ONNX's operator, which the exporter adds to its node: lists, and arrays."""
        sets = self.category_set.tolist()
        first, second = self.branches.long().unbind(dim=1)
        members = [[*map(float, np.flatnonzero(self.sets[place])), float("nan")] for place in sets if place >= 0]

        def place_of(child: Tensor) -> list[int]:
            return torch.where(child < 0, ~child, child).tolist()

        found: dict[str, Any] = {
            "n_targets": self.num_outputs,
            "aggregate_function": _SUM,
            "post_transform": 0,
            "tree_roots": self.roots.tolist(),
            "nodes_featureids": self.feature.tolist(),
            "nodes_modes": np.array([_LESS_OR_EQUAL if place < 0 else _MEMBER for place in sets], dtype=np.uint8),
            "nodes_splits": self.threshold.detach().numpy(),
            "nodes_truenodeids": place_of(first),
            "nodes_trueleafs": (first < 0).int().tolist(),
            "nodes_falsenodeids": place_of(second),
            "nodes_falseleafs": (second < 0).int().tolist(),
            "nodes_missing_value_tracks_true": self.missing_first.int().tolist(),
            "leaf_targetids": self._leaf_outputs().tolist(),
            "leaf_weights": self.leaf.detach().numpy(),
        }
        if members:
            found["membership_values"] = np.array([code for codes in members for code in codes])
        return found

    def _leaf_outputs(self) -> Tensor:
        """The output that each leaf is of, int64 [leaves]: nodes and leaves stand tree by tree."""
        outputs = torch.zeros(len(self.leaf), dtype=torch.int64)
        bounds = [*self.roots.tolist(), len(self.branches)]
        for tree, output in enumerate(self.tree_output.tolist()):
            children = self.branches[bounds[tree] : bounds[tree + 1]].long()
            outputs[~children[children < 0]] = output
        return outputs

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *rest: Any) -> None:
        """Take arrays of any length: how many trees there are, only their fit knows."""
        for name, value in (*self.named_parameters(), *self.named_buffers()):
            if (found := state_dict.get(prefix + name)) is not None and found.ndim == value.ndim:
                value.data = torch.empty_like(found, dtype=value.dtype)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def exact(leaves: np.ndarray[Any, Any], num_trees: int) -> np.ndarray[Any, Any]:
    """Round leaves, float64, to multiples of a power of two so small that no sum of `num_trees` of them is rounded.

    Floating-point addition is exact where all terms are multiples of one unit and sums stay below 2**53 units. Then a
    row has the same logits in whatever order a runtime adds up its leaves.
    """
    largest = float(np.abs(leaves).max(initial=0.0)) * max(1, num_trees)
    if largest == 0.0:
        return leaves
    unit = 2.0 ** (np.ceil(np.log2(largest)) - 52)
    return np.asarray(np.round(leaves / unit) * unit)
