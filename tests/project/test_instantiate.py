import pytest
import torch

from flywheel.project.errors import ConfigError
from flywheel.project.instantiate import build, check_node
from flywheel.project.kind import AUGMENTATION, CRITERION, LINK, METRIC, NET, OPTIMIZER, SCHEDULER, TARGET, Kind


def test_builds_with_facts_from_meta() -> None:
    made = build(
        {"_target_": "torch.nn.Linear", "in_features": "meta.num_features", "out_features": 2},
        NET,
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
        NET,
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
        "flywheel.learner.tracked.train",
        "flywheel.command.cli.main",
        "flywheel.project.stage.os.system",
        "flywheel.project.whole.shutil.rmtree",
        "torch.nn.modules.module.torch.load",
        "flywheel.project.lineage.subprocess.run",
        "torch.nn.__builtins__",
    ],
)
def test_nothing_outside_the_allow_list_is_reached(target: str) -> None:
    with pytest.raises(ConfigError):
        build({"_target_": target}, NET, where="net")


def test_a_target_imported_into_an_allowed_module_is_refused() -> None:
    with pytest.raises(ConfigError, match="belongs to 'pathlib"):
        build({"_target_": "flywheel.model.network.Path"}, NET, where="net")


def test_unknown_meta_key_names_the_nearest() -> None:
    node = {"_target_": "torch.nn.Linear", "in_features": "meta.num_feature", "out_features": 2}
    with pytest.raises(ConfigError, match=r"no 'num_feature'; did you mean 'num_features'"):
        build(node, NET, where="net", meta={"num_features": 5})


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
        build(node, NET, where="model.net")


def test_constructor_refusals_become_configuration_errors() -> None:
    with pytest.raises(ConfigError, match="activation 'rely' is not one of"):
        build(
            {"_target_": "flywheel.model.mlp.MLP", "num_features": 4, "num_outputs": 2, "activation": "rely"},
            NET,
            where="model.net",
        )


def test_check_node_finds_a_wrong_argument_deep_inside_without_building() -> None:
    with pytest.raises(
        ConfigError, match=r"loss.criterion: unknown key 'label_smothing'; did you mean 'label_smoothing'"
    ):
        check_node({"_target_": "torch.nn.CrossEntropyLoss", "label_smothing": 0.1}, CRITERION, where="loss.criterion")


RUNS_ANYTHING = {
    "_target_": "pytorch_lightning.cli.instantiate_class",
    "args": "id > pwned",
    "init": {"class_path": "os.system"},
}


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (AUGMENTATION, "pytorch_lightning.cli.instantiate_class"),
        (AUGMENTATION, "torch.nn.Linear"),
        (LINK, "torch.nn.Sequential"),
        (LINK, "flywheel.model.network.load_network"),
        (NET, "torch.nn.parallel.DistributedDataParallel"),
        (NET, "torch.nn.init.zeros_"),
        (NET, "torch.nn.utils.parametrize.torch"),
        (NET, "flywheel.model.network.load_file"),
        (NET, "flywheel.model.network.load_network"),
        (METRIC, "torchmetrics.text.bert.BERTScore"),
        (METRIC, "torchmetrics.image.fid.FrechetInceptionDistance"),
        (METRIC, "torchmetrics.MetricCollection"),
        (METRIC, "torchmetrics.wrappers.BootStrapper"),
        (OPTIMIZER, "torch.optim.lr_scheduler.LambdaLR"),
        (OPTIMIZER, "torch.optim.swa_utils.AveragedModel"),
        (SCHEDULER, "flywheel.learner.scheduler.LambdaLR.__init__"),
        (SCHEDULER, "flywheel.learner.scheduler._schedule"),
        (TARGET, "flywheel.preprocessor.task.load_preprocessor"),
        (TARGET, "flywheel.modality.text.data.preprocessor.TextPreprocessor"),
    ],
)
def test_a_place_takes_its_own_type_and_nothing_else(kind: Kind, target: str) -> None:
    with pytest.raises(ConfigError, match="name a subclass of"):
        build({"_target_": target}, kind, where="here")
    with pytest.raises(ConfigError, match="name a subclass of"):
        check_node({"_target_": target}, kind, where="here")


@pytest.mark.parametrize(
    ("node", "kind"),
    [
        ({"_target_": "torch.nn.Softmax", "dim": RUNS_ANYTHING}, LINK),
        ({"_target_": "torch.nn.Softmax", "dim": [{"deep": RUNS_ANYTHING}]}, LINK),
        ({"_target_": "torch.nn.ModuleList", "modules": [RUNS_ANYTHING]}, NET),
        ({"_target_": "torch.optim.SGD", "lr": {"_target_": "torch.nn.Linear"}}, OPTIMIZER),
        ({"_target_": "torch.nn.ModuleList", "modules": [{"_target_": "torch.optim.SGD"}]}, NET),
    ],
)
def test_an_argument_is_data_unless_its_kind_may_stand_there(node: dict[str, object], kind: Kind) -> None:
    for refuse in (build, check_node):
        with pytest.raises(ConfigError):
            refuse(node, kind, where="here")  # type: ignore[operator]


def test_what_meta_holds_is_data_whatever_it_looks_like() -> None:
    held = {"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1}
    made = build(
        {"_target_": "flywheel.preprocessor.target.ClassTarget", "classes": "meta.classes"},
        TARGET,
        where="target",
        meta={"classes": [held, "meta.classes"]},
    )
    assert made.classes == [str(held), "meta.classes"]


def test_a_file_of_results_names_a_class_by_its_own_module() -> None:
    alias = {"_target_": "torch.nn.modules.Softmax", "dim": -1}
    assert isinstance(build(alias, LINK, where="link"), torch.nn.Softmax)
    with pytest.raises(ConfigError, match="by another name"):
        build(alias, LINK, where="link", stored=True)
    assert isinstance(
        build({"_target_": "torch.nn.Softmax", "dim": -1}, LINK, where="link", stored=True), torch.nn.Softmax
    )
