from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flywheel.model.network import LoadedNetwork, build_network, load_network, save_network
from flywheel.project.errors import ConfigError, ModelError
from flywheel.registry.onnx_export import export_onnx
from flywheel.registry.onnx_model import OnnxModel

META = {
    "inputs": {
        "photo_image": {"dtype": "uint8", "shape": [1, 8, 8], "mean": [70.0], "std": [50.0]},
        "title_tokens": {"dtype": "int32", "shape": [5], "padding": 0},
        "table_numbers": {"dtype": "float32", "shape": [3]},
    },
    "photo_num_channels": 1,
    "title_vocabulary_size": 11,
    "num_outputs": 4,
}
CNN = {"_target_": "flywheel.model.cnn.CNN", "num_channels": "meta.photo_num_channels", "num_outputs": 6,
       "widths": [4, 4]}  # fmt: skip
TEXT = {"_target_": "flywheel.model.bag_of_embeddings.BagOfEmbeddings", "vocabulary_size": "meta.title_vocabulary_size",
        "num_outputs": 6, "embedding": 3, "hidden": 0}  # fmt: skip
TABLE = {"_target_": "flywheel.model.mlp.MLP", "num_features": 3, "num_outputs": 6, "hidden": [5]}
PARTS = {"photo": CNN, "title": TEXT, "table": TABLE}


def node(**given: Any) -> dict[str, Any]:
    plain = {"width": 6, "num_outputs": "meta.num_outputs", "hidden": [7]}
    return {"_target_": "flywheel.model.joint.Joint", "parts": PARTS, **plain, **given}


def example(rows: int = 3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "photo_image": torch.randint(0, 256, (rows, 1, 8, 8), generator=generator, dtype=torch.uint8),
        "title_tokens": torch.randint(1, 11, (rows, 5), generator=generator, dtype=torch.int32),
        "table_numbers": torch.randn(rows, 3, generator=generator),
    }


@pytest.mark.parametrize(("num_outputs", "shape"), [(4, (3, 4)), (1, (3,))])
def test_every_modality_goes_through_its_own_net_into_one_head(num_outputs: int, shape: tuple[int, ...]) -> None:
    network = build_network(node(num_outputs=num_outputs), META).eval()
    assert network(**example()).shape == shape


@pytest.mark.parametrize("name", list(META["inputs"]))
def test_every_input_counts_and_every_weight_learns(name: str) -> None:
    torch.manual_seed(0)
    network = build_network(node(hidden=[], activation="tanh"), META)
    changed = {**example(), name: torch.flip(example()[name], [0])}
    network.eval()
    assert not torch.allclose(network(**example()), network(**changed))
    network.train()
    network(**example()).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_a_part_sees_its_own_inputs_only() -> None:
    network = build_network(node(), META).eval()
    one = network.net.parts[2](tokens=example()["title_tokens"])
    seen: list[torch.Tensor] = []
    network.net.head.register_forward_pre_hook(lambda head, given: seen.append(given[0]))
    network(**example())
    assert torch.equal(seen[0][:, 12:18], one)


def test_it_is_stored_and_exported_like_any_other(tmp_path: Path) -> None:
    network = build_network(node(), META)
    link = {"_target_": "torch.nn.Softmax", "dim": -1}
    save_network(tmp_path, network, {"net": node(), "link": link, "meta": META})
    loaded = load_network(tmp_path)
    assert isinstance(loaded, LoadedNetwork)
    export_onnx(loaded, tmp_path / "model.onnx", opset=20)
    for rows in (1, 5):
        inputs = example(rows)
        wanted = loaded.predict(inputs).numpy()
        got = OnnxModel(tmp_path / "model.onnx").scores({name: x.numpy() for name, x in inputs.items()})
        np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_the_order_of_the_parts_is_not_kept_and_not_needed() -> None:
    networks = []
    for parts in (PARTS, dict(reversed(PARTS.items()))):
        networks.append(build_network(node(parts=parts), META).eval())
    networks[1].load_state_dict(networks[0].state_dict())
    turned = dict(reversed(example().items()))
    assert torch.equal(networks[0](**example()), networks[1](**turned))


def test_a_part_without_inputs_is_named() -> None:
    network = build_network(node(parts={"photo": CNN, "sound": TEXT}), META)
    with pytest.raises(ModelError, match=r"model\.net\.parts\.sound: has no inputs.*photo_image, title_tokens"):
        network(**example())


@pytest.mark.parametrize("num_outputs", [1, 5])
def test_a_part_of_another_width_is_named(num_outputs: int) -> None:
    network = build_network(node(parts={**PARTS, "table": {**TABLE, "num_outputs": num_outputs}}), META)
    with pytest.raises(ModelError, match=r"parts\.table: gives .* outputs a row, not \[6\]"):
        network(**example())


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"parts": {}}, "parts are empty"),
        ({"parts": {"a": 3}}, "part 'a' is not a net but a int"),
        ({"width": 1}, "width 1 is too narrow"),
        ({"activation": "relo"}, "activation 'relo' is not one of relu"),
    ],
)
def test_settings_that_cannot_be_are_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        build_network(node(**given), META)
