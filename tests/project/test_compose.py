import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from flywheel.learner.task_check import check_task
from flywheel.project.compose import compose_params, compose_task, is_stale, write_params
from flywheel.project.config import TaskConfig
from flywheel.project.errors import ConfigError
from flywheel.project.instantiate import check_targets
from flywheel.sweep.search.command_line import compose_command_line

NO_DATA = "src/flywheel/source/__init__.py"


def test_committed_params_are_what_conf_composes_to(root: Path) -> None:
    assert (root / "params.yaml").read_text() == compose_params(root), "run `make params`"


def test_params_are_byte_for_byte_what_dvc_writes(project: Path) -> None:
    from dvc.utils.hydra import compose_and_dump

    compose_and_dump(project / "by_dvc.yaml", str(project / "conf"), None, "config", None, [])
    assert (project / "by_dvc.yaml").read_text() == compose_params(project)


SOURCES = {
    "[{uri: file:data/mine.csv}]": "data/mine.csv",
    "[{uri: file:/srv/mine}]": "/srv/mine",
    "[{uri: 'file:///srv/my%20own'}]": "/srv/my own",
    "[{uri: 'file:data/mine/{file}'}]": "data/mine",
    "[{uri: file:~/mine.csv}]": NO_DATA,
    "[{uri: https://host/mine.csv}]": NO_DATA,
    "[{uri: file:data/mine.csv}, {uri: https://host/mine.csv}]": NO_DATA,
}


@pytest.mark.parametrize(("sources", "watched"), SOURCES.items())
def test_the_only_source_is_watched_where_it_is_a_local_file(project: Path, sources: str, watched: str) -> None:
    file = project / "conf/data/digits.yaml"
    data = yaml.safe_load(file.read_text())
    data["download"] = {"sources": yaml.safe_load(sources)}
    for told in ({}, {"watch": None}, {"watch": NO_DATA}):  # the last is what files said before
        file.write_text(yaml.safe_dump(data | told))
        assert compose_task(project, ["task=digits"], check=check_task)["data"]["watch"] == watched
    file.write_text(yaml.safe_dump(data | {"watch": "data/other"}))
    assert compose_task(project, ["task=digits"], check=check_task)["data"]["watch"] == "data/other"


@pytest.mark.parametrize("by_dvc", [False, True])
def test_what_a_task_does_without_is_a_path_that_is_there(project: Path, root: Path, by_dvc: bool) -> None:
    """DVC refuses a dependency that is no path, and `dvc exp run` composes by itself."""
    from dvc.utils.hydra import compose_and_dump

    words = [
        "tasks.tweets.trainer.parent=null", "tasks.tweets.export.student=null", "tasks.tweets.model.watch=null",
        "tasks.fashion.trainer.parent=artifacts/tweets/model",
    ]  # fmt: skip
    if by_dvc:
        compose_and_dump(project / "by_dvc.yaml", str(project / "conf"), None, "config", None, words)
        text = (project / "by_dvc.yaml").read_text()
    else:
        text = compose_params(project, words, check=check_task)
    tasks = yaml.safe_load(text)["tasks"]
    for task in tasks.values():
        for path in (task["data"]["watch"], task["model"]["watch"], task["export"]["student"]):
            assert (root / path).is_file()
    assert (root / tasks["tweets"]["trainer"]["parent"]).is_file()
    assert tasks["fashion"]["trainer"]["parent"] == "artifacts/tweets/model"


def with_defaults(option: Path) -> Any:
    """An option's settings, over those of the options that it starts from."""
    own = OmegaConf.load(option)
    names = [name for name in own.pop("defaults", []) if isinstance(name, str) and name != "_self_"]
    started = [OmegaConf.create(with_defaults(option.with_name(f"{name}.yaml"))) for name in names]
    return OmegaConf.to_container(OmegaConf.merge(*started, own))


@pytest.mark.parametrize(
    "group", ["model", "augment", "loss", "optimizer", "scheduler", "metric", "preprocess", "data"]
)
def test_every_option_of_every_group_names_things_that_exist(root: Path, group: str) -> None:
    options = sorted((root / "conf" / group).glob("*.yaml"))
    assert options
    for option in options:
        check_targets(TaskConfig, {group: with_defaults(option)}, option.stem)


def test_every_task_composes(root: Path) -> None:
    for task in sorted((root / "conf/task").glob("*.yaml")):
        assert compose_task(root, [f"task={task.stem}"], check=check_task)["name"] == task.stem


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optimizer.lrr=1", "no key or group 'optimizer.lrr'; did you mean 'optimizer.lr'?"),
        ("modle=cnn", "no key or group 'modle'; did you mean 'model'?"),
        ("model=cn", "no 'cn' in conf/model/; did you mean 'cnn'?"),
        ("task=fashon", "no 'fashon' in conf/task/; did you mean 'fashion'?"),
        ("+trainer.max_epoch=3", "unknown key 'max_epoch'; did you mean 'max_epochs'?"),
        ("+model.net.droput=0.1", "unknown key 'droput'; did you mean 'dropout'?"),
        ("trainer.max_epochs=many", "'many' is not a whole number"),
        ("model.net._target_=os.system", "target 'os.system' is not allowed"),
        ("model.net._target_=flywheel.model.network.Path", "belongs to 'pathlib"),
        ("model.net._target_=flywheel.model.mlp.MPL", "has no 'MPL'; did you mean 'MLP'?"),
        ("model=mlp,cn", "no 'cn' in conf/model/"),
        ("optimizer.lr=[", "command line"),
        (
            "optimizer={_target_: torch.optim.SGD, lr: 0.1, momentum: 0.9}",
            "'optimizer' is a group, not a value; pick a file (optimizer=NAME)",
        ),
        ("name=a/../../b", "name: 'a/../../b' cannot name a task; use letters, digits, _ and -"),
        ("optimizer.lr=${nope}", "nope"),
    ],
)
def test_mistakes_on_the_command_line_are_one_clear_line(project: Path, override: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose_command_line(["task=digits", override]).check_targets()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_sweeps_pass_the_check(project: Path) -> None:
    words = ["task=digits", "model=mlp,cnn", "optimizer.lr=1e-3,3e-3", "hydra.verbose=true"]
    compose_command_line(words).check_targets()


def test_unknown_key_in_a_task_file_is_refused_with_the_nearest(project: Path) -> None:
    task = project / "conf/task/digits.yaml"
    task.write_text(task.read_text() + "\ntrainr:\n  max_epochs: 3\n")
    with pytest.raises(ConfigError, match="unknown key 'trainr'; did you mean 'trainer'"):
        compose_task(project, ["task=digits"], check=check_task)


def test_a_task_file_whose_first_line_is_not_the_package_says_so(project: Path) -> None:
    task = project / "conf/task/digits.yaml"
    task.write_text("# my task\n" + task.read_text())
    with pytest.raises(ConfigError, match="make `# @package _global_` its very first line"):
        compose_task(project, ["task=digits"], check=check_task)


EVIL = "{_target_: pytorch_lightning.cli.instantiate_class, args: touch pwned, init: {class_path: os.system}}"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (f"augment: {EVIL}", "augment: target 'pytorch_lightning.cli.instantiate_class' is not allowed"),
        (f"loss: {{link: {{_target_: torch.nn.Softmax, dim: {EVIL}}}}}", "loss.link.dim"),
        (f"metric: {{train: {{odd: {EVIL}}}}}", "metric.train.odd"),
        (f"export: {{variants: {{odd: {{make: {EVIL}}}}}}}", "export.variants.odd.make"),
        (f"trainer: {{devices: {EVIL}}}", "trainer.devices"),
        (f"metric: {{plots: {{odd: {{y: {{x: {EVIL}}}}}}}}}", "instantiate_class' cannot stand here"),
        (f"hydra: {{callbacks: {{odd: {EVIL}}}}}", "hydra.callbacks: is set by a task"),
        ("hydra: {job_logging: {handlers: {odd: {(): os.system, command: touch pwned}}}}", "hydra.job_logging"),
        ("hydra: {job: {env_set: {LD_PRELOAD: ./odd.so}}}", "hydra.job: is set by a task"),
        ("hydra: {verbose: true}", "hydra.verbose: is set by a task"),
        ("hydra: {launcher: {odd: 1}}", "task/digits"),
        ("hydra: {searchpath: [file:///tmp]}", "searchpath"),
        ("data: {title: '${oc.env:HOME}'}", "reads $HOME of the environment"),
        ("data: {title: '${oc.${name}:HOME}'}", ""),
        ("name: !!python/object/apply:os.system [touch pwned]", "conf"),
    ],
)
def test_a_task_file_runs_nothing_and_reads_no_secret(project: Path, lines: str, said: str) -> None:
    task = project / "conf/task/digits.yaml"
    text = "\n".join(line for line in task.read_text().splitlines() if not line.startswith("name:"))
    task.write_text(f"{text}\nname: digits\n" if not lines.startswith("name:") else text)
    key = lines.partition(":")[0]
    kept = yaml.safe_load(task.read_text())
    if key in kept and key != "name":  # YAML has each key once: the new lines go below the old ones
        kept.pop(key)
    task.write_text("# @package _global_\n" + yaml.safe_dump(kept, sort_keys=False) + lines + "\n")
    for compose in (
        lambda: compose_command_line(["task=digits"]).check_targets(),
        lambda: compose_task(project, ["task=digits"], check=check_task),
    ):
        with pytest.raises(ConfigError) as error:
            compose()
        assert said in str(error.value)
        assert "\n" not in str(error.value)
    assert not (project / "pwned").exists()


def test_broken_yaml_is_one_line(project: Path) -> None:
    (project / "conf/model/cnn.yaml").write_text("name: [cnn\n")
    with pytest.raises(ConfigError) as error:
        compose_params(project, check=check_task)
    assert "\n" not in str(error.value)


def test_write_params_writes_only_what_changed(project: Path) -> None:
    assert not write_params(project, check_task)
    before = (project / "params.yaml").stat().st_mtime_ns
    (project / "conf/task/fashion.yaml").write_text(
        (project / "conf/task/fashion.yaml").read_text().replace("max_epochs: 5", "max_epochs: 2")
    )
    assert is_stale(project)
    assert write_params(project, check_task)
    assert (project / "params.yaml").stat().st_mtime_ns > before
    assert not is_stale(project)
    assert yaml.safe_load((project / "params.yaml").read_text())["tasks"]["fashion"]["trainer"]["max_epochs"] == 2


def test_hand_edited_params_are_stale(project: Path) -> None:
    assert not is_stale(project)
    (project / "params.yaml").write_text((project / "params.yaml").read_text().replace("seed: 0", "seed: 1", 1))
    assert is_stale(project)


def test_params_check_says_so_with_exit_code_1(project: Path, run_flywheel) -> None:
    good: subprocess.CompletedProcess[str] = run_flywheel("command.cli", "params", "--check")
    assert good.returncode == 0, good.stderr
    (project / "params.yaml").write_text("tasks: {}\n")
    stale = run_flywheel("command.cli", "params", "--check")
    assert stale.returncode == 1
    assert "run `make params`" in stale.stderr


def test_the_check_refuses_a_wrong_target_that_params_yaml_agrees_with(project: Path, run_flywheel) -> None:
    bad = "{_target_: pytorch_lightning.cli.instantiate_class, args: 'id > pwned', init: {class_path: os.system}}"
    file = project / "conf/task/fashion.yaml"
    file.write_text(file.read_text().replace("  - /augment: none\n", "") + f"augment: {bad}\n")
    (project / "params.yaml").write_text(compose_params(project))
    done = run_flywheel("command.cli", "params", "--check")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "flywheel: error: tasks.fashion.augment: target 'pytorch_lightning.cli.instantiate_class' is not"
    )
    assert not (project / "pwned").exists()
