from __future__ import annotations

import torch

from flywheel.model.linear import Linear

# That either input may be missing is tested for both networks of tables in test_mlp_tabular.py.
NUMERIC = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
CODES = torch.tensor([[4], [4]], dtype=torch.int32)


def test_linear_is_linear() -> None:
    net = Linear(3, [5], 1)
    assert sum(weights.numel() for weights in net.parameters()) == 3 + 5 + 1
    x, y = NUMERIC[:1], NUMERIC[1:2]
    codes = CODES[:1]
    middle = net(numeric=(x + y) / 2, categories=codes)
    assert torch.allclose(middle, (net(numeric=x, categories=codes) + net(numeric=y, categories=codes)) / 2)
