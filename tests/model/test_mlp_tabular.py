from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from flywheel.model.linear import Linear
from flywheel.model.mlp_tabular import MLPTabular

NUMERIC = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
CODES = torch.tensor([[0, 1], [1, 2], [2, 3], [3, 3], [4, 0], [4, 1]], dtype=torch.int32)


@pytest.mark.parametrize("kind", [MLPTabular, Linear])
@pytest.mark.parametrize("num_outputs", [1, 4])
@pytest.mark.parametrize(
    ("numbers", "cardinalities", "inputs"),
    [
        (3, [5, 4], {"numeric": NUMERIC, "categories": CODES}),
        (3, [], {"numeric": NUMERIC}),
        (0, [5, 4], {"categories": CODES}),
    ],
)
def test_either_input_may_be_missing(
    kind: type[nn.Module], num_outputs: int, numbers: int, cardinalities: list[int], inputs: dict[str, Tensor]
) -> None:
    net = kind(num_numeric=numbers, cardinalities=cardinalities, num_outputs=num_outputs)
    logits = net(**inputs)
    assert logits.shape == ((6,) if num_outputs == 1 else (6, num_outputs))
    logits.square().sum().backward()
    # A code's weights begin at zero, which stops the gradient of nothing but what lies below them.
    assert all(weights.grad is not None for weights in net.parameters())
    one = {name: x[:1] for name, x in inputs.items()}
    assert torch.allclose(net.eval()(**one), net(**inputs)[:1], atol=1e-6)


def test_the_mlp_has_the_layers_that_were_asked_for() -> None:
    net = MLPTabular(3, [5], 2, hidden=[8, 4], embedding=6, dropout=0.5, batch_norm=True, activation="gelu")
    kinds = [type(layer).__name__ for layer in net.layers]
    assert kinds == ["Linear", "BatchNorm1d", "GELU", "Dropout", "Linear", "BatchNorm1d", "GELU", "Dropout", "Linear"]
    assert net.layers[0].in_features == 3 + 6


def test_codes_that_train_may_never_show_begin_at_the_mean() -> None:
    for weights in (MLPTabular(0, [9], 2).embeddings[0].weight, Linear(0, [9], 2).codes[0].weight):
        assert isinstance(weights, Tensor)
        assert not weights[:2].any()


@pytest.mark.parametrize("kind", [MLPTabular, Linear])
def test_a_table_without_columns_is_refused(kind: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match="neither numbers nor categories"):
        kind(num_numeric=0, cardinalities=[], num_outputs=2)


def test_unknown_activation() -> None:
    with pytest.raises(ValueError, match="activation 'swish' is not one of"):
        MLPTabular(3, [], 2, activation="swish")
