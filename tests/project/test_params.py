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


def test_a_reader_that_is_named_as_older_settings_name_it_is_taken(project: Path) -> None:
    raw = load_params()["tasks"]["fashion"]
    reader = {"name": "idx", **raw["data"]["reader"]}
    task = task_from({**raw, "data": {**raw["data"], "reader": reader}}, "tasks.fashion")
    assert task.data.reader.read == load_task("fashion").data.reader.read


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


AT_MOST_1 = "use at least 0 and at most 1"
OF_MAGNITUDE = {"method": "magnitude"}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("trainer.max_epochs", 0, "0 is out of range; use at least 1"),
        ("trainer.devices", "two", "'two' is out of range; use a whole number, at least 1 or auto or all"),
        ("trainer.devices", True, "True is out of range; use a whole number, at least 1 or auto or all"),
        ("trainer.steps_per_call", 0, "0 is out of range; use a whole number, at least 1 or auto"),
        ("trainer.gradient_clip_norm", float("nan"), "nan is out of range; use at least 0"),
        ("trainer.keep", "lst", "'lst' is not known; did you mean 'last'?"),
        ("trainer.prune", {"share": 1.0}, ".share: 1.0 is out of range; use above 0 and below 1"),
        ("trainer.prune", {"until": 0.0}, ".until: 0.0 is out of range; use above 0 and at most 1"),
        ("trainer.prune", OF_MAGNITUDE, "tasks.fashion.trainer.keep: 'best' may keep an epoch that has too few zeros"),
        ("loss.l1", -0.1, "-0.1 is out of range; use at least 0"),
        ("loss.distil", {"alpha": 1.5}, f".alpha: 1.5 is out of range; {AT_MOST_1}"),
        ("loss.distil", {"temperature": 0.0}, ".temperature: 0.0 is out of range; use above 0"),
        ("loss.distil", {"answer": "class"}, ".answer: 'class' is not known; did you mean 'classes'?"),
        ("model.init", "kaimin", "'kaimin' is not known; did you mean 'kaiming'?"),
        ("preprocess.validation", 1.0, "1.0 is out of range; use above 0 and below 1"),
        ("preprocess.test", 0.0, "0.0 is out of range"),
        ("preprocess.max_dropped", 2.0, f"2.0 is out of range; {AT_MOST_1}"),
        ("preprocess.chunk_rows", 0, "0 is out of range"),
        ("preprocess.seed", -1, "-1 is out of range"),
        ("preprocess.num_folds", 1, "1 is out of range; use 0 or a whole number, at least 2"),
        ("preprocess.engine", "rey", "'rey' is not known; did you mean 'ray'?"),
        ("preprocess.overlap", "drp", "'drp' is not known; did you mean 'drop'?"),
        ("data.download.sources", [{"uri": "file:a", "unpack": "gzib"}], "[0].unpack: 'gzib' is not known"),
        ("export.max_loss", -1.0, "-1.0 is out of range"),
        ("export.variants", {"a": {"make": {}, "max_loss": -0.1}}, ".a.max_loss: -0.1 is out of range"),
        ("export.variants", {"a": {"make": {}, "min_shrink": -2.0}}, ".a.min_shrink: -2.0 is out of range"),
        ("metric.plots", {"odd": {"x": "epoch"}}, ".odd.y: names no file to draw; write `y:"),
        ("register.mode", "most", "'most' is not known; "),
        ("register.confidence", 95.0, "95.0 is out of range; use above 0 and below 1"),
        ("register.margin", -0.1, "-0.1 is out of range"),
        ("feedback.keep", "all", "'all' is not known; did you mean 'full'?"),
        ("feedback.keep", False, "'False' is not known; use full, reference, hash"),
        ("feedback.conflict", "mean", "'mean' is not known"),
        ("feedback.mask", ["email", "names"], "[1]: 'names' is not known"),
        ("feedback.min_agreement", 0.5, "0.5 is out of range; use above 0.5 and at most 1"),
        ("feedback.max_share", 1.0, "1.0 is out of range"),
        ("feedback.max_class_share", -1.0, "-1.0 is out of range"),
        ("feedback.min_client_rows", -1, "-1 is out of range"),
    ],
)
def test_values_that_cannot_be_meant_are_one_line_with_the_key(
    project: Path, key: str, value: object, said: str
) -> None:
    raw = load_params()["tasks"]["fashion"]
    section, name = key.rsplit(".", 1)
    holder = raw
    for part in section.split("."):
        holder = holder.setdefault(part, {})
    inner = name in ("prune", "distil")
    holder[name] = {**holder.get(name, {}), **value} if inner and isinstance(value, dict) else value
    with pytest.raises(ConfigError) as error:
        task_from(raw, "tasks.fashion")
    where = "" if said.startswith("tasks.") else f"tasks.fashion.{key}" + ("" if said[0] in ".[" else ": ")
    assert str(error.value).startswith(where + said)


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
