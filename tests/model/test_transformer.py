"""The small Transformer: padding, order, learning, export."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flywheel.model.network import build_network, load_network, save_network
from flywheel.model.transformer import Transformer
from flywheel.registry.onnx_export import export_onnx
from flywheel.registry.onnx_model import OnnxModel

TOKENS = torch.tensor([[5, 9, 7, 2, 0, 0], [3, 3, 8, 11, 4, 6], [1, 0, 0, 0, 0, 0]], dtype=torch.int32)


def small(**changes: Any) -> Transformer:
    torch.manual_seed(0)
    arguments = {"num_outputs": 3, "vocabulary_size": 12, "sequence_length": 10, "width": 16, "num_heads": 2}
    return Transformer(**{**arguments, **changes}).eval()


@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_padding_on_the_right_changes_nothing(positions: str) -> None:
    net = small(positions=positions)
    longer = torch.nn.functional.pad(TOKENS, (0, 4))
    torch.testing.assert_close(net(longer), net(TOKENS), atol=1e-6, rtol=0)
    torch.testing.assert_close(net(TOKENS[2:, :1]), net(TOKENS[2:]), atol=1e-6, rtol=0)
    empty = net(torch.zeros(2, 5, dtype=torch.int32))
    assert empty.isfinite().all()
    torch.testing.assert_close(empty, net.classifier.bias.expand(2, 3))


def test_rows_do_not_depend_on_each_other_but_on_their_order_of_words() -> None:
    net = small()
    torch.testing.assert_close(net(TOKENS)[1:2], net(TOKENS[1:2]), atol=1e-6, rtol=0)
    assert not torch.allclose(net(TOKENS[:1, :4]), net(TOKENS[:1, :4].flip(1)), atol=1e-3)


def test_sinusoids_are_those_of_the_paper_and_no_weights() -> None:
    net = small()
    for position, dimension in ((0, 0), (3, 4), (9, 7), (9, 14)):
        angle = position / 10_000 ** (2 * (dimension // 2) / 16)
        wanted = math.sin(angle) if dimension % 2 == 0 else math.cos(angle)
        assert net.positions[position, dimension].item() == pytest.approx(wanted, abs=1e-6)
    assert "positions" not in net.state_dict()
    assert "positions" in small(positions="learned").state_dict()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """On small tensors, threads that wait for each other cost seconds where tests run side by side."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_it_learns_which_of_two_words_comes_first(one_thread: None) -> None:
    """A bag of words cannot: both kinds of row hold the same words."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(4, 12, (128, 6), generator=generator)
    target = torch.randint(0, 2, (128,), generator=generator)
    places = torch.rand(128, 6, generator=generator).argsort(1)[:, :2].sort(1).values
    for row, (early, late) in enumerate(places.tolist()):
        rows[row, early], rows[row, late] = (2, 3) if target[row] else (3, 2)
    net = small(num_outputs=1, dropout=0.0).train()
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(net(rows), target.float()).backward()
        optimizer.step()
    assert ((net(rows) > 0) == target.bool()).float().mean() > 0.95


@pytest.mark.parametrize(("changes", "words"), [
    ({"width": 15}, "not a multiple of num_heads"),
    ({"width": 15, "num_heads": 3}, "is odd"),
    ({"positions": "rotary"}, "positions must be one of sinusoidal, learned"),
])  # fmt: skip
def test_wrong_arguments_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        small(**changes)


def test_a_saved_one_exports_to_onnx_with_any_number_of_rows(tmp_path: Path) -> None:
    meta = {
        "inputs": {"tokens": {"dtype": "int32", "shape": [6], "padding": 0}},
        "vocabulary_size": 12, "sequence_length": 6, "num_outputs": 3,
    }  # fmt: skip
    node = {"_target_": "flywheel.model.transformer.Transformer", **{k: f"meta.{k}" for k in meta if k != "inputs"}}
    node |= {"width": 16, "num_heads": 2}
    link = {"_target_": "torch.nn.Softmax", "dim": -1}
    save_network(tmp_path, build_network(node, meta), {"task": "t", "net": node, "link": link, "meta": meta})
    loaded = load_network(tmp_path)
    export_onnx(loaded, tmp_path / "model.onnx", opset=20)
    model = OnnxModel(tmp_path / "model.onnx")
    for rows in (1, 3):
        wanted = loaded.predict({"tokens": TOKENS[:rows]}).numpy()
        np.testing.assert_allclose(model.scores({"tokens": TOKENS[:rows].numpy()}), wanted, atol=1e-6)
