"""The backbone against a forward pass written out, where its weights come from, and what pictures it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from flywheel.learner.settings import check_settings
from flywheel.model.initialise import initialise
from flywheel.model.network import Network, build_network, load_network, save_network
from flywheel.project.compose import compose_task
from flywheel.project.digest import sha256_of
from flywheel.project.errors import ConfigError, ModelError, SourceError
from flywheel.project.params import task_from
from flywheel.registry.onnx_export import export_onnx
from flywheel.registry.onnx_model import OnnxModel
from flywheel.source.pretrained import pretrained_file

WIDTH = 0.1
BLOCKS = [  # kernel, stride, expansion, channels of the whole network's sixteen blocks
    (3, 1, 1, 16), (3, 2, 6, 24), (3, 1, 6, 24), (5, 2, 6, 40), (5, 1, 6, 40), (3, 2, 6, 80), (3, 1, 6, 80),
    (3, 1, 6, 80), (5, 1, 6, 112), (5, 1, 6, 112), (5, 1, 6, 112), (5, 2, 6, 192), (5, 1, 6, 192), (5, 1, 6, 192),
    (5, 1, 6, 192), (3, 1, 6, 320),
]  # fmt: skip
LINK = {"_target_": "torch.nn.Softmax", "dim": -1}


def narrow(channels: int) -> int:
    """A tenth, to a multiple of eight, and not below nine tenths of it."""
    tenth = channels * WIDTH
    nearest = max(8, int(tenth + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * tenth else nearest + 8


def lite_weights() -> dict[str, Tensor]:
    """A random, narrow Lite0 under the names of the published file, with its classifier."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    weights: dict[str, Tensor] = {"_fc.weight": draw(7, 1280), "_fc.bias": draw(7)}

    def layer(conv: str, norm: str, *shape: int) -> None:
        weights[f"{conv}.weight"] = draw(*shape) / (shape[1] * shape[2] * shape[3]) ** 0.5
        weights[f"{norm}.weight"], weights[f"{norm}.bias"] = 1.5 + 0.1 * draw(shape[0]), 0.3 * draw(shape[0])
        weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"] = (
            0.1 * draw(shape[0]),
            draw(shape[0]).abs() + 0.5,
        )
        weights[f"{norm}.num_batches_tracked"] = torch.tensor(9)

    layer("_conv_stem", "_bn0", 32, 3, 3, 3)
    before = 32
    for number, (kernel, _, expansion, channels) in enumerate(BLOCKS):
        at, inner = f"_blocks.{number}.", before * expansion
        if expansion > 1:
            layer(f"{at}_expand_conv", f"{at}_bn0", inner, before, 1, 1)
        layer(f"{at}_depthwise_conv", f"{at}_bn1", inner, 1, kernel, kernel)
        before = narrow(channels)
        layer(f"{at}_project_conv", f"{at}_bn2", before, inner, 1, 1)
    layer("_conv_head", "_bn1", 1280, before, 1, 1)
    return weights


def features_of(weights: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """What the published network makes of levels of 0 to 255, [B, 3, H, W], a step at a time in float64."""
    w = {name: weight.double() for name, weight in weights.items()}

    def layer(x: Tensor, conv: str, norm: str, stride: int = 1, groups: int = 1) -> Tensor:
        kernel = w[f"{conv}.weight"]
        steps = -(-x.shape[2] // stride)  # of an odd number of missing pixels, more are added below and on the right
        missing = max((steps - 1) * stride + kernel.shape[2] - x.shape[2], 0)
        x = F.pad(x, (missing // 2, missing - missing // 2) * 2)
        x = F.conv2d(x, kernel, stride=stride, groups=groups)
        scale = w[f"{norm}.weight"] / (w[f"{norm}.running_var"] + 1e-3).sqrt()
        shift = w[f"{norm}.bias"] - w[f"{norm}.running_mean"] * scale
        return x * scale[:, None, None] + shift[:, None, None]

    x = layer((pixels.double() - 127) / 128, "_conv_stem", "_bn0", stride=2).clamp(0, 6)
    for number, (_, stride, expansion, _) in enumerate(BLOCKS):
        at, before = f"_blocks.{number}.", x
        if expansion > 1:
            x = layer(x, f"{at}_expand_conv", f"{at}_bn0").clamp(0, 6)
        x = layer(x, f"{at}_depthwise_conv", f"{at}_bn1", stride, groups=x.shape[1]).clamp(0, 6)
        x = layer(x, f"{at}_project_conv", f"{at}_bn2")
        x = x + before if x.shape == before.shape else x
    return layer(x, "_conv_head", "_bn1").clamp(0, 6).mean((2, 3))


@pytest.fixture
def pretrained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The random network as a `.pth`, with the sum of its tensors as safetensors, and a store for it."""
    from safetensors.torch import save_file

    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "home"))
    monkeypatch.delenv("FLYWHEEL_MIRROR", raising=False)
    torch.save(lite_weights(), tmp_path / "lite.pth")
    save_file(lite_weights(), tmp_path / "sum")
    sums = {"sha256": sha256_of(tmp_path / "sum"), "pickle_sha256": sha256_of(tmp_path / "lite.pth")}
    return {"uri": f"file:{tmp_path / 'lite.pth'}"} | sums


def meta_of(channels: int = 3, size: tuple[int, int] = (64, 64), outputs: int = 3) -> dict[str, Any]:
    scaling = {"mean": [100.0, 110.0, 120.0][:channels], "std": [50.0, 60.0, 70.0][:channels]}
    return {"inputs": {"image": {"dtype": "uint8", "shape": [channels, *size], **scaling}}, "num_outputs": outputs}


def network_of(meta: dict[str, Any], **changes: Any) -> Network:
    network = build_network(net_node(**changes), meta)
    initialise(network, "default")
    return network


def net_node(**changes: Any) -> dict[str, Any]:
    return {
        "_target_": "flywheel.model.efficientnet_lite0.EfficientNetLite0",
        "num_outputs": "meta.num_outputs",
        "inputs": "meta.inputs",
        "resolution": 64,
        "width": WIDTH,
        **changes,
    }


def pictures(rows: int, channels: int = 3, size: tuple[int, int] = (64, 64)) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (rows, channels, *size), generator=generator, dtype=torch.uint8)


def features(network: Network, image: Tensor) -> Tensor:
    net: Any = network.eval().net
    found: Tensor = net.frozen_features(**network.scale({"image": image}))["features"]
    return found


def test_features_are_those_of_the_published_network_however_pixels_were_scaled(pretrained: dict[str, str]) -> None:
    image = pictures(17)
    wanted = features_of(lite_weights(), image).float()
    assert wanted.std() > 0.1
    torch.testing.assert_close(features(network_of(meta_of(), pretrained=pretrained), image), wanted, atol=1e-4, rtol=0)
    unit = meta_of()
    unit["inputs"]["image"] |= {"mean": [0.0] * 3, "std": [255.0] * 3}
    torch.testing.assert_close(features(network_of(unit, pretrained=pretrained), image), wanted, atol=1e-4, rtol=0)


def test_grey_pictures_are_the_same_as_such_pictures_in_colour(pretrained: dict[str, str]) -> None:
    grey = pictures(2, channels=1)
    found = features(network_of(meta_of(channels=1), pretrained=pretrained), grey)
    torch.testing.assert_close(
        found, features_of(lite_weights(), grey.expand(-1, 3, -1, -1)).float(), atol=1e-4, rtol=0
    )


@pytest.mark.slow
def test_a_model_takes_its_pictures_own_size_in_pytorch_and_in_onnx(
    pretrained: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels, size = 1, (28, 96)  # of the 64 x 64 that the network is asked for, fewer rows and more columns
    node, meta = net_node(pretrained=pretrained), meta_of(channels, size)
    network = network_of(meta, pretrained=pretrained)
    save_network(tmp_path, network, {"task": "t", "net": node, "link": LINK, "meta": meta})
    (tmp_path / "lite.pth").unlink()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "elsewhere"))  # another machine: nothing in the store either
    loaded = load_network(tmp_path)
    image = pictures(3, channels, size)
    wanted = loaded.predict({"image": image}).numpy()
    np.testing.assert_allclose(torch.softmax(network.eval()(image=image), -1).detach(), wanted, atol=1e-6)
    export_onnx(loaded, tmp_path / "model.onnx", opset=20)
    model = OnnxModel(tmp_path / "model.onnx")
    for rows in (1, 3):
        np.testing.assert_allclose(model.scores({"image": image[:rows].numpy()}), wanted[:rows], atol=1e-4)
    with pytest.raises(SourceError, match=r"pretrained file lite\.pth: no source gave it"):
        network_of(meta, pretrained=pretrained)


def test_frozen_only_the_head_is_trained_and_fine_tuned_all_of_it_by_the_pretrained_statistics(
    pretrained: dict[str, str],
) -> None:
    image = {"image": pictures(2)}
    for is_frozen in (True, False):
        network = network_of(meta_of(), pretrained=pretrained, is_frozen=is_frozen, hidden=5).train()
        statistics = {name: value.clone() for name, value in network.named_buffers()}
        network(**image).square().sum().backward()
        trained = {name for name, weight in network.named_parameters() if weight.grad is not None}
        assert trained == {name for name, _ in network.named_parameters() if not is_frozen or "classifier" in name}
        assert all(torch.equal(value, statistics[name]) for name, value in network.named_buffers())
    drawn = network_of(meta_of(), is_frozen=False).train()
    drawn(**image)
    assert drawn.state_dict()["net.backbone.stem.norm.num_batches_tracked"] == 1
    assert network_of(meta_of(outputs=1)).eval()(**image).shape == (2,)


def test_a_pickle_is_proved_before_it_is_read_and_kept_as_safetensors_alone(
    pretrained: dict[str, str], tmp_path: Path
) -> None:
    kept = pretrained_file(**pretrained)
    assert sha256_of(kept) == pretrained["sha256"]
    stored = (tmp_path / "home/.flywheel/store").rglob("*")
    assert [file for file in stored if file.is_file() and file.parent.name != "lock"] == [kept]
    kept.unlink()
    with pytest.raises(SourceError, match=r"lite\.pth: no source gave it: .*promised was 0000"):
        pretrained_file(**(pretrained | {"pickle_sha256": "0" * 64}))
    with pytest.raises(ConfigError, match="'abc' is not a sha256"):
        pretrained_file(**(pretrained | {"pickle_sha256": "abc"}))
    torch.save({"a": tmp_path}, tmp_path / "lite.pth")
    with pytest.raises(SourceError, match="is no pickle of tensors by name") as raised:
        pretrained_file(**(pretrained | {"pickle_sha256": sha256_of(tmp_path / "lite.pth")}))
    assert "\n" not in str(raised.value)


def test_what_does_not_fit_is_one_line(pretrained: dict[str, str], tmp_path: Path) -> None:
    without = {"uri": pretrained["uri"], "sha256": pretrained["pickle_sha256"]}
    other = {"uri": f"file:{tmp_path / 'other'}"}
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "other")
    for changes, words in (
        ({"pretrained": pretrained, "width": 1.0}, r"'_blocks.0._project_conv.weight' has shape \[8, 32, 1, 1\]"),
        ({"pretrained": without}, "no safetensors: .*give pretrained.pickle_sha256"),
        ({"pretrained": other | {"sha256": sha256_of(tmp_path / "other")}}, "has no weights '_conv_stem.weight'"),
    ):
        with pytest.raises(ModelError, match=words) as raised:
            network_of(meta_of(), **changes)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("changes", "words"), [
    ({"inputs": {"tokens": {}}}, "takes pictures, and the inputs are tokens"),
    ({"pretrained": {"uri": "file:a"}}, "pretrained needs uri and sha256"),
    ({"resolution": 16}, "resolution of 32 pixels or more"),
])  # fmt: skip
def test_wrong_arguments_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_network(net_node(**changes), meta_of())


def test_frozen_features_are_not_augmented(root: Path) -> None:
    words = ["task=mnist5k", "model=efficientnet_lite0", "augment=image"]
    with pytest.raises(ConfigError, match=r"^augment: .*cannot be augmented; choose augment: none, or set model.net"):
        check_settings(task_from(compose_task(root, words), ""))
    check_settings(task_from(compose_task(root, [*words, "model.net.is_frozen=false"]), ""))
    check_settings(task_from(compose_task(root, [*words, "augment=none"]), ""))
