"""One LSTM layer over sequences, in training and in ONNX alike."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def lstm_states(layer: nn.LSTM, x_BTF: Tensor) -> Tensor:
    """Give the state after each step, [B, T, H], of a layer that is `batch_first`, of one direction and one depth.

    The exporter would write each of the T steps into the ONNX file, which takes minutes; there one node says the same.
    """
    if not torch.onnx.is_in_onnx_export():
        states: Tensor = layer(x_BTF)[0]
        return states
    weights = {name: _onnx_order(parameter) for name, parameter in layer.named_parameters()}
    bias = torch.cat([weights["bias_ih_l0"], weights["bias_hh_l0"]])[None]
    states_TDBH = torch.onnx.ops.symbolic(
        "LSTM",
        (x_BTF.transpose(0, 1), weights["weight_ih_l0"][None], weights["weight_hh_l0"][None], bias),
        attrs={"hidden_size": layer.hidden_size},
        dtype=x_BTF.dtype,
        shape=(x_BTF.shape[1], 1, x_BTF.shape[0], layer.hidden_size),
    )
    return states_TDBH.squeeze(1).transpose(0, 1)


def _onnx_order(gates: Tensor) -> Tensor:
    """PyTorch's gates are input, forget, cell, output; ONNX's are input, output, forget, cell."""
    into, forget, cell, out = gates.chunk(4)
    return torch.cat([into, out, forget, cell])
