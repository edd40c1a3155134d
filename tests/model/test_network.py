import json
from pathlib import Path

import pytest
import torch

from flywheel.model.cnn import CNN
from flywheel.model.initialise import initialise
from flywheel.model.mlp import MLP
from flywheel.model.network import Network, build_network, load_network, save_network
from flywheel.project.errors import ConfigError, ModelError

INPUTS = {"image": {"dtype": "uint8", "shape": [3, 8, 8], "mean": [10.0, 20.0, 30.0], "std": [1.0, 2.0, 4.0]}}
META = {"inputs": INPUTS, "num_features": 192, "num_classes": 4, "num_outputs": 4, "num_channels": 3}
NET = {"_target_": "flywheel.model.mlp.MLP", "num_features": "meta.num_features", "num_outputs": "meta.num_outputs"}
LINK = {"_target_": "torch.nn.Softmax", "dim": -1}


def saved(folder: Path) -> Network:
    torch.manual_seed(0)
    network = build_network(NET, META)
    save_network(folder, network, {"task": "t", "net": NET, "link": LINK, "meta": META})
    return network


def test_scaling_is_per_channel_and_leaves_the_stored_inputs_alone() -> None:
    network = Network(MLP(192, 4), INPUTS)
    image = torch.full((2, 3, 8, 8), 50, dtype=torch.uint8)
    scaled = network.scale({"image": image})["image"]
    assert scaled[0, :, 0, 0].tolist() == [40.0, 15.0, 5.0]
    assert image.unique().tolist() == [50]
    as_floats = image.float()
    assert torch.equal(network.scale({"image": as_floats})["image"], scaled)
    assert as_floats.unique().tolist() == [50.0]


def test_inputs_without_constants_pass_as_they_are() -> None:
    network = Network(MLP(4, 2), {"x": {"dtype": "float32", "shape": [4]}})
    x = torch.rand(3, 4)
    assert network.scale({"x": x})["x"] is x


@pytest.mark.parametrize(
    ("net", "said"),
    [
        ({"_target_": "flywheel.model.text_cnn.TextCNN", "vocabulary_size": "meta.vocabulary_size",
          "num_outputs": "meta.num_outputs"}, "TextCNN needs 'vocabulary_size'"),
        ({"_target_": "flywheel.model.text_cnn.TextCNN", "vocabulary_size": 9, "num_outputs": 4},
         "TextCNN takes 'tokens'"),
        ({"_target_": "flywheel.model.mlp_tabular.MLPTabular", "num_numeric": 3, "cardinalities": [], "num_outputs": 4},
         "MLPTabular takes 'numeric' and 'categories'"),
    ],
)  # fmt: skip
def test_a_net_for_other_inputs_says_what_does_not_fit(net: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        build_network(net, META)
    assert f"{said}, and the data of this task are 'image' (3 x 8 x 8)" in str(error.value)


def test_a_mistyped_fact_of_the_data_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no 'num_clases'; did you mean 'num_classes'"):
        build_network({**NET, "num_outputs": "meta.num_clases"}, META)


def test_a_saved_network_comes_back_the_same(tmp_path: Path) -> None:
    network = saved(tmp_path)
    loaded = load_network(tmp_path)
    image = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    expected = torch.softmax(network.eval()(image=image), dim=-1)
    assert torch.equal(loaded.predict({"image": image}), expected)
    assert loaded.predict({"image": image}).sum(1).tolist() == pytest.approx([1.0] * 5)
    assert len(loaded.model_sha256) == 64


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        saved(tmp_path / name)
    for file in ("model.safetensors", "model.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_missing_and_damaged_models_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no trained model; run `dvc repro`"):
        load_network(tmp_path)
    saved(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:100])
    with pytest.raises(ModelError, match="damaged"):
        load_network(tmp_path)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    description = json.loads((tmp_path / "model.json").read_text())
    description["meta"]["num_outputs"] = 5
    (tmp_path / "model.json").write_text(json.dumps(description))
    with pytest.raises(ModelError, match="weights do not fit: size mismatch"):
        load_network(tmp_path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(ModelError, match="format 99, not 1"):
        load_network(tmp_path)


def test_a_model_file_cannot_run_code(tmp_path: Path) -> None:
    saved(tmp_path)
    description = json.loads((tmp_path / "model.json").read_text())
    description["net"] = {"_target_": "os.system", "command": f"touch {tmp_path}/owned"}
    (tmp_path / "model.json").write_text(json.dumps(description))
    with pytest.raises(ConfigError, match="not allowed"):
        load_network(tmp_path)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("how", ["xavier", "kaiming", "normal"])
def test_initialisations_draw_anew_and_zero_the_biases(how: str) -> None:
    net = CNN(3, 4, widths=[8])
    before = net.head[-1].weight.clone()
    initialise(net, how)
    assert not torch.equal(net.head[-1].weight, before)
    assert net.head[-1].bias.abs().sum() == 0


def test_default_initialisation_is_pytorch_s_own() -> None:
    net = MLP(4, 2)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    initialise(net, "default")
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
