import pytest
import torch

from flywheel.errors import ConfigError
from flywheel.instantiate import build, check_node


def test_builds_with_facts_from_meta() -> None:
    made = build(
        {"_target_": "torch.nn.Linear", "in_features": "meta.num_features", "out_features": 2},
        where="net",
        meta={"num_features": 5},
    )
    assert isinstance(made, torch.nn.Linear)
    assert made.in_features == 5


def test_builds_nested_nodes_first() -> None:
    made = build(
        {
            "_target_": "torch.nn.TransformerEncoder",
            "encoder_layer": {"_target_": "torch.nn.TransformerEncoderLayer", "d_model": 4, "nhead": 2},
            "num_layers": 1,
            "enable_nested_tensor": False,
        },
        where="net",
    )
    assert isinstance(made.layers[0], torch.nn.TransformerEncoderLayer)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "subprocess.run",
        "torch.hub.load",
        "torch.load",
        "flywheelx.evil",
        "flywheel.source.tool.run_tool",
        "flywheel.train.train",
        "flywheel.cli.main",
        "flywheel.stage.os.system",
        "flywheel.stage.shutil.rmtree",
        "torch.nn.modules.module.torch.load",
        "flywheel.lineage.subprocess.run",
        "torch.nn.__builtins__",
    ],
)
def test_nothing_outside_the_allow_list_is_reached(target: str) -> None:
    with pytest.raises(ConfigError):
        build({"_target_": target}, where="net")


def test_a_target_imported_into_an_allowed_module_is_refused() -> None:
    with pytest.raises(ConfigError, match="belongs to 'pathlib"):
        build({"_target_": "flywheel.model.network.Path"}, where="net")


def test_unknown_meta_key_names_the_nearest() -> None:
    node = {"_target_": "torch.nn.Linear", "in_features": "meta.num_feature", "out_features": 2}
    with pytest.raises(ConfigError, match=r"no 'num_feature'; did you mean 'num_features'"):
        build(node, where="net", meta={"num_features": 5})


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ({"_target_": "torch.nn.Linear", "in_feature": 1, "out_features": 1}, "did you mean 'in_features'"),
        ({"_target_": "torch.nn.Linear", "in_features": 1}, "missing key out_features"),
        ({"in_features": 1}, "has no _target_"),
        ({"_target_": "torch.nn.Liner"}, "did you mean 'Linear'"),
        ({"_target_": "flywheel.model.nothing.Net"}, "no module 'flywheel.model.nothing'"),
    ],
)
def test_mistakes_are_named(node: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build(node, where="model.net")


def test_constructor_refusals_become_configuration_errors() -> None:
    with pytest.raises(ConfigError, match="activation 'rely' is none of"):
        build(
            {"_target_": "flywheel.model.mlp.MLP", "num_features": 4, "num_outputs": 2, "activation": "rely"},
            where="model.net",
        )


def test_check_node_finds_a_wrong_argument_deep_inside_without_building() -> None:
    with pytest.raises(
        ConfigError, match=r"loss.criterion: unknown key 'label_smothing'; did you mean 'label_smoothing'"
    ):
        check_node({"criterion": {"_target_": "torch.nn.CrossEntropyLoss", "label_smothing": 0.1}}, "loss")
