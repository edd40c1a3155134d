from pathlib import Path

import pytest
import yaml

from flywheel.project.errors import ConfigError
from flywheel.project.params import home_root, load_params, load_task, project_root, task_from


def test_finds_the_project_from_a_folder_inside(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project / "conf" / "task")
    assert project_root() == project


def test_outside_a_project_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="not inside a Flywheel project"):
        project_root()


def test_in_an_experiment_copy_home_is_the_main_checkout(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert home_root() == tmp_path
    assert project_root() == project


def test_settings_are_typed(project: Path) -> None:
    task = load_task("fashion")
    assert task.trainer.max_epochs == 5
    assert task.data.download.sources[1].uri.startswith("apt:dataset-fashion-mnist")
    assert task.register.margin == 0.01


def test_unknown_task_names_the_nearest(project: Path) -> None:
    with pytest.raises(ConfigError, match="no task 'fashon'; did you mean 'fashion'"):
        load_task("fashon")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trainer": {"max_epoch": 1}}, "tasks.fashion.trainer: unknown key 'max_epoch'; did you mean 'max_epochs'"),
        ({"trainer": {"batch_size": "big"}}, "tasks.fashion.trainer.batch_size: 'big' is not a whole number"),
        ({"trainer": {"batch_size": True}}, "True is not a whole number"),
        ({"trainer": {"compile": 1}}, "1 is not true or false"),
        ({"register": {"margin": "wide"}}, "'wide' is not a number"),
        ({"model": None}, "tasks.fashion.model: None is not a mapping"),
        ({"register": {}}, "missing key metric"),
    ],
)
def test_wrong_values_are_one_line_with_the_key(project: Path, change: dict[str, object], said: str) -> None:
    raw = load_params()["tasks"]["fashion"]
    with pytest.raises(ConfigError) as error:
        task_from({**raw, **change}, "tasks.fashion")
    assert said in str(error.value)


@pytest.mark.parametrize("text", ["", "tasks: [", "seed: 1\n"])
def test_damaged_params_are_one_line(project: Path, text: str) -> None:
    (project / "params.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        load_params()
    assert "make params" in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_params_say_how_to_make_them(project: Path) -> None:
    (project / "params.yaml").unlink()
    with pytest.raises(ConfigError, match="run `make params`"):
        load_params()


def test_numbers_that_yaml_reads_as_text_are_numbers(project: Path) -> None:
    raw = load_params()["tasks"]["fashion"]
    raw["register"] = yaml.safe_load("{metric: accuracy, margin: 1e-2}")
    assert task_from(raw, "t").register.margin == 0.01
