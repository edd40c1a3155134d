"""`flywheel adopt`: from a run in the store to the task's file, through the verb and the command line."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from flywheel.command.adopt import adopt, next_lines
from flywheel.command.task_file import with_choice, with_value, without
from flywheel.project.compose import compose_task
from flywheel.project.errors import ConfigError
from flywheel.project.params import task_from
from flywheel.project.tracked_run import TrackedRun
from flywheel.project.tracking import prepare, start_run
from flywheel.sweep.search.folder import SweepPlan
from flywheel.sweep.show.summary import open_parent

Run = Callable[..., subprocess.CompletedProcess[str]]
MODEL = "e" * 64

COMMENTED = """\
# @package _global_
# Digits, with remarks.
defaults:
  - /data: digits        # 8x8 pixels
  - /preprocess: image
  - /model: mlp          # small
  - /augment: none
  - /loss: cross_entropy
  - /optimizer: 'adam'
  - /scheduler: constant
  - /trainer: default
  - /metric: classification
  - /evaluate: classification
  - /export: onnx
  - /register: accuracy
  - _self_

name: "digits"
seed: 0
fold: null

trainer:
  max_epochs: 4          # enough
  batch_size: 64

# Of the optimizer
optimizer: {lr: 1e-2,  weight_decay: 0.0}   # found by hand

# nothing follows
"""


@pytest.fixture
def task_file(project: Path, with_tasks: Callable[..., None]) -> Path:
    """The file of `digits`, with remarks; the pipeline has this task alone."""
    file = project / "conf/task/digits.yaml"
    file.write_text(COMMENTED)
    with_tasks("digits")
    return file


def trained(
    *overrides: str, name: str = "try", parent: str | None = None, sha256: str = MODEL, ended: bool = True
) -> str:
    """A run as `python -m flywheel.train` leaves it; its id."""
    composed = compose_task(Path.cwd(), [word for word in overrides if not word.startswith("+sweep")])
    tags = {"flywheel.task": composed["name"], "flywheel.overrides": shlex.join(overrides)}
    tags |= {"mlflow.parentRunId": parent} if parent else {}
    run = start_run(composed["name"], name=name, resume_key=sha256[:16], resume=False, tags=tags)
    run.log_text(yaml.safe_dump(asdict(task_from(composed, "")), sort_keys=False), "config.yaml")
    if ended:
        run.set_tags({"model_sha256": sha256})
    run.end("FINISHED" if ended else "FAILED")
    return run.run_id


def swept(
    folder: Path, *trials: tuple[str, ...], best: int | None = None, mean: tuple[str, ...] | None = None
) -> list[str]:
    """A sweep's parent run, its folder and its children; their ids, the parent's first."""
    parent = open_parent(folder, "digits", ["task=digits"], SweepPlan("i", "digits/s", "a command", 1, [], []))
    ids = [parent]
    for number, overrides in enumerate(trials):
        ids.append(trained(*overrides, name=" ".join(overrides), parent=parent, sha256=f"{number:064x}"))
        (folder / str(number)).mkdir()
        result = {"overrides": list(overrides), "model_sha256": f"{number:064x}", "score": 0.5}
        (folder / str(number) / "result.json").write_text(json.dumps(result))
    run = TrackedRun(prepare(), parent)
    if best is not None:
        run.set_tags({"flywheel.best": shlex.join(trials[best]), "flywheel.best_model_sha256": f"{best:064x}"})
    if mean is not None:
        run.set_tags({"flywheel.best": shlex.join(mean)})
    run.end()
    return ids


def settings(task: str = "digits") -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(Path("params.yaml").read_text())["tasks"][task]
    return found


# What is written


def test_values_and_groups_are_written_and_nothing_else_is_touched(task_file: Path) -> None:
    overrides = [
        "task=digits", "model=cnn", "optimizer.lr=3e-3", "model.net.widths=[16,8]", "trainer.max_epochs=3",
        "trainer.keep=last", "seed=7", "scheduler=cosine",
    ]  # fmt: skip
    done = adopt(trained(*overrides))
    text = task_file.read_text()
    expected = (
        COMMENTED.replace("/model: mlp  ", "/model: cnn  ")
        .replace("/scheduler: constant", "/scheduler: cosine")
        .replace("seed: 0", "seed: 7")
        .replace("max_epochs: 4", "max_epochs: 3")
        .replace("batch_size: 64\n", "batch_size: 64\n  keep: last\n")
        .replace("lr: 1e-2", "lr: 3e-3")
        .replace("# found by hand\n", "# found by hand\nmodel:\n  net:\n    widths: [16, 8]\n")
    )
    assert text == expected
    assert settings() == compose_task(Path.cwd(), overrides)
    assert done.diff.startswith("--- a/conf/task/digits.yaml\n+++ b/conf/task/digits.yaml\n@@ ")
    assert "-  - /model: mlp          # small\n+  - /model: cnn          # small" in done.diff
    assert next_lines(done, written=True)[-1] == f"next:  dvc repro    # trains the weights {MODEL[:12]}... again"


def test_the_same_again_changes_nothing(task_file: Path) -> None:
    run = trained("task=digits", "optimizer.lr=0.003", "+loss.criterion.reduction=sum")
    assert adopt(run).diff
    before, stamp = task_file.read_bytes(), task_file.stat().st_mtime_ns
    again = adopt(run)
    assert not again.diff
    assert (task_file.read_bytes(), task_file.stat().st_mtime_ns) == (before, stamp)
    assert "says all of it already" in next_lines(again, written=True)[0]


def test_what_holds_already_is_not_written(task_file: Path) -> None:
    done = adopt(trained("task=digits", "model=mlp", "optimizer.lr=0.01", "trainer.batch_size=64", "seed=1"))
    assert task_file.read_text() == COMMENTED.replace("seed: 0", "seed: 1")
    assert done.diff.count("\n+") == 2  # the header, and the seed


def test_a_dry_run_writes_nothing(task_file: Path) -> None:
    params = Path("params.yaml").read_bytes()
    done = adopt(trained("task=digits", "optimizer.lr=0.003"), dry_run=True)
    assert "+optimizer: {lr: 0.003,  weight_decay: 0.0}   # found by hand" in done.diff
    assert task_file.read_text() == COMMENTED
    assert Path("params.yaml").read_bytes() == params
    assert next_lines(done, written=False) == ["nothing is written"]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("+loss.criterion.ignore_index=-1", "loss:\n  criterion:\n    ignore_index: -1\n"),
        ("preprocess.inputs.normalise=unit", "    normalise: unit"),
        ("trainer.steps_per_call='1e-3'", "  steps_per_call: '1e-3'"),
        ("trainer.steps_per_call=null", "  steps_per_call: null"),
        ("trainer.steps_per_call=3.0", "  steps_per_call: 3.0"),
        ("trainer.steps_per_call=1e-05", "  steps_per_call: 1e-05"),
        ("trainer.steps_per_call='a, b'", "  steps_per_call: 'a, b'"),
        ("trainer.steps_per_call='no: #1'", "  steps_per_call: 'no: #1'"),
        ("trainer.steps_per_call=yes", "  steps_per_call: 'yes'"),
        ("trainer.steps_per_call=TRUE", "  steps_per_call: TRUE"),
        ("trainer.steps_per_call=[a,'1',2]", "  steps_per_call: [a, '1', 2]"),
        ("trainer.steps_per_call={}", "  steps_per_call: {}"),
        ("+trainer.steps_per_call={a:1,b:[x]}", None),
        ("metric.train.accuracy={average: macro}", "      average: macro"),
        ("++loss={l1: 1e-4, l2: 0.5}", "  l1: 0.0001"),
        ("data.download.sources.0.uri=file:a b", "    sources: [{uri: file:a b}]"),
    ],
)
def test_values_keep_the_types_that_hydra_gives_them(task_file: Path, override: str, line: str | None) -> None:
    overrides = ["task=digits", override]
    expected = compose_task(Path.cwd(), overrides)
    adopt(trained(*overrides))
    assert settings() == expected
    assert line is None or line in task_file.read_text()


def test_a_key_that_a_run_took_away_is_taken_out_of_the_file_or_refused(task_file: Path) -> None:
    task_file.write_text(COMMENTED.replace("trainer:\n", "loss:\n  criterion:\n    ignore_index: -1\n\ntrainer:\n"))
    run = trained("task=digits", "~loss.criterion.ignore_index")
    adopt(run)
    assert task_file.read_text() == COMMENTED.replace("trainer:\n", "\ntrainer:\n")
    assert not adopt(run).diff
    with pytest.raises(ConfigError, match=r"'loss\.l2' is not set there; take it out of conf/ by hand"):
        adopt(trained("task=digits", "~loss.l2", name="other"))
    with pytest.raises(ConfigError, match=r"trainer\.batch_size \(the run has none, the file 32\)"):
        adopt(trained("task=digits", "~trainer.batch_size", name="another"))


def test_a_group_within_a_group_gets_an_item_of_its_own(task_file: Path) -> None:
    Path("conf/model/size").mkdir()
    mlp = Path("conf/model/mlp.yaml").read_text().replace("  hidden: [64, 64]\n", "")
    Path("conf/model/mlp.yaml").write_text("defaults:\n  - size@net: small\n  - _self_\n" + mlp)
    Path("conf/model/size/small.yaml").write_text("hidden: [8]\n")
    Path("conf/model/size/large.yaml").write_text("hidden: [99]\n")
    override = "model/size@model.net=large"
    expected = compose_task(Path.cwd(), ["task=digits", override])
    adopt(trained("task=digits", override))
    assert expected["model"]["net"]["hidden"] == [99]
    assert settings() == expected
    assert "  - override /model/size@model.net: large\n  - _self_\n" in task_file.read_text()
    adopt(trained("task=digits", "model/size@model.net=small", name="back"))
    assert task_file.read_text().count("/model/size") == 1


def test_a_task_outside_the_pipeline_is_written_and_its_line_is_told(task_file: Path) -> None:
    params = Path("params.yaml").read_bytes()
    done = adopt(trained("task=mnist5k", "optimizer.lr=0.003"))
    assert (
        Path("conf/task/mnist5k.yaml")
        .read_text()
        .endswith("rows: the interval of a difference is about 0.012 wide each way\noptimizer:\n  lr: 0.003\n")
    )
    assert Path("params.yaml").read_bytes() == params
    lines = next_lines(done, written=True)
    assert "  - task@tasks.mnist5k: mnist5k" in lines
    assert lines[-1].startswith("next:  flywheel params && dvc repro register@mnist5k")


INHERITING = "# @package _global_\n# Digits, longer.\ndefaults:\n  - digits{place}\n  - _self_\n\nname: longer\n"


def test_a_task_that_starts_from_another_takes_another_group(task_file: Path, with_tasks: Callable[..., None]) -> None:
    file = task_file.with_name("longer.yaml")
    file.write_text(INHERITING.format(place="@_here_"))
    with_tasks("digits", "longer")
    overrides = ["task=longer", "model=cnn", "model.net.dropout=0.2", "scheduler=cosine"]
    expected = compose_task(Path.cwd(), overrides)
    done = adopt(trained(*overrides))
    assert done.in_pipeline
    assert settings("longer") == compose_task(Path.cwd(), ["task=longer"]) == expected
    assert "  - override /model@model: cnn\n  - override /scheduler@scheduler: cosine\n  - _self_" in file.read_text()
    assert task_file.read_text() == COMMENTED
    assert settings() == compose_task(Path.cwd(), ["task=digits"])


def test_a_task_that_starts_from_another_without_its_place_is_told_so(
    task_file: Path, with_tasks: Callable[..., None]
) -> None:
    """Hydra would mount the other one's settings beside the tasks, where no stage reads them."""
    file = task_file.with_name("longer.yaml")
    file.write_text(INHERITING.format(place=""))
    run = trained("task=longer", "model=cnn")
    with pytest.raises(ConfigError, match="digits@_here_"):
        with_tasks("digits", "longer")
    with pytest.raises(ConfigError, match="digits@_here_"):
        adopt(run)
    assert file.read_text() == INHERITING.format(place="")


# What is refused: nothing is written then


@pytest.fixture
def untouched(task_file: Path) -> Callable[[], None]:
    """Says that neither the task's file nor params.yaml has changed."""
    before = [task_file.read_bytes(), Path("params.yaml").read_bytes()]

    def check() -> None:
        assert [task_file.read_bytes(), Path("params.yaml").read_bytes()] == before
        assert not list(Path().rglob("*.part"))

    return check


def test_a_conf_that_has_changed_since_the_run_is_named(task_file: Path) -> None:
    run = trained("task=digits", "optimizer.lr=0.003")
    task_file.write_text(COMMENTED.replace("max_epochs: 4", "max_epochs: 5"))
    changed = task_file.read_bytes()
    said = r"conf/ has changed since this run: trainer.max_epochs \(then 4, now 5\); take that back .* --force"
    with pytest.raises(ConfigError, match=said):
        adopt(run)
    assert task_file.read_bytes() == changed
    done = adopt(run, force=True)
    assert settings()["trainer"]["max_epochs"] == 5  # type: ignore[index]
    assert "lr: 0.003" in task_file.read_text()
    assert "again" not in next_lines(done, written=True)[-1]


def test_a_run_whose_settings_are_lost_needs_force(task_file: Path) -> None:
    tags = {"flywheel.task": "digits", "flywheel.overrides": "task=digits seed=3", "model_sha256": MODEL}
    run = start_run("digits", name="lost", resume_key="k", resume=False, tags=tags)
    with pytest.raises(ConfigError, match=r"its config.yaml is not in the MLflow store; .* --force"):
        adopt(run.run_id)
    assert adopt(run.run_id, force=True).diff


def test_settings_that_conf_no_longer_knows_are_one_line(task_file: Path, untouched: Callable[[], None]) -> None:
    run = trained("task=digits", "model=cnn", "model.net.dropout=0.3")
    Path("conf/model/cnn.yaml").rename("conf/model/cnn2.yaml")
    with pytest.raises(ConfigError, match=r"does not compose with conf/ as it is: .*no 'cnn' in conf/model/") as raised:
        adopt(run)
    assert "\n" not in str(raised.value)
    untouched()


def test_if_params_cannot_be_composed_the_file_comes_back(
    task_file: Path, untouched: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained("task=digits", "optimizer.lr=0.003")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr("flywheel.project.compose._remember", full)  # the very last step: params.yaml is written by then
        adopt(run)
    untouched()
    Path("conf/task/fashion.yaml").write_text("# @package _global_\nnope: task\n")
    config = Path("conf/config.yaml")
    config.write_text(config.read_text().replace("  - _self_", "  - task@tasks.fashion: fashion\n  - _self_"))
    with pytest.raises(ConfigError, match=r"params.yaml does not compose with it: tasks.fashion: unknown key 'nope'"):
        adopt(run)
    untouched()


def test_settings_of_the_pipeline_s_own_are_seen(task_file: Path, untouched: Callable[[], None]) -> None:
    config = Path("conf/config.yaml")
    config.write_text(config.read_text() + "tasks:\n  digits:\n    optimizer:\n      lr: 0.5\n")
    with pytest.raises(ConfigError, match=r"optimizer.lr \(the run 0.003, params.yaml 0.5\)"):
        adopt(trained("task=digits", "optimizer.lr=0.003"))
    untouched()


def test_a_value_that_yaml_shares_is_refused(task_file: Path) -> None:
    task_file.write_text(
        COMMENTED.replace("max_epochs: 4", "max_epochs: &n 4").replace("batch_size: 64", "batch_size: *n")
    )
    with pytest.raises(ConfigError, match=r"'batch_size' has the value of another place; write it out"):
        adopt(trained("task=digits", "trainer.batch_size=8"))
    with pytest.raises(ConfigError, match=r"conf/task/digits.yaml cannot say it: .*undefined alias"):
        adopt(trained("task=digits", "trainer.max_epochs=8", name="other"))


# Which run is meant


def test_a_run_is_known_by_id_part_of_it_and_name(task_file: Path) -> None:
    run = trained("task=digits", "seed=3", name='it\'s "mine" [16]')
    for name in (run, run[:6], 'it\'s "mine" [16]'):
        assert adopt(name, dry_run=True).winner.run_id == run
    twice = trained("task=digits", "seed=3", name='it\'s "mine" [16]')
    assert adopt('it\'s "mine" [16]', dry_run=True).winner.run_id == twice
    trained("task=digits", "seed=4", name='it\'s "mine" [16]', sha256="f" * 64)
    with pytest.raises(ConfigError, match=r"can mean [0-9a-f]{10} .*; give more of the id"):
        adopt('it\'s "mine" [16]')


@pytest.mark.slow
def test_a_sweep_s_best_is_found_by_name_folder_and_run(task_file: Path) -> None:
    folder = Path(".flywheel/sweeps/digits/night").absolute()
    parent, first, best = swept(
        folder, ("task=digits", "seed=1"), ("+sweep=tpe", "task=digits", "model=cnn", "seed=2"), best=1
    )
    for name in ("night", "digits/night", ".flywheel/sweeps/digits/night", f"{folder}/", parent, parent[:8]):
        winner = adopt(name, dry_run=True).winner
        assert (winner.run_id, winner.model_sha256) == (best, f"{1:064x}")
    for name in (f"{folder}/0", ".flywheel/sweeps/digits/night/0", first):
        assert adopt(name, dry_run=True).winner.run_id == first
    assert "model: cnn" in adopt("night").diff
    assert "sweep" not in task_file.read_text()


def test_two_sweeps_of_one_name_need_their_task(task_file: Path) -> None:
    for task in ("digits", "mnist5k"):
        swept(Path(f".flywheel/sweeps/{task}/night").absolute(), (f"task={task}", "seed=1"), best=0)
    with pytest.raises(ConfigError, match=r"night: is the name of 2 sweeps \(digits, mnist5k\); say which with --task"):
        adopt("night")
    assert adopt("night", task="digits", dry_run=True).winner.task == "digits"


def test_the_best_mean_over_folds_is_adopted_without_its_folds(task_file: Path) -> None:
    jobs = [("task=digits", f"model={model}", f"fold={fold}") for model in ("mlp", "cnn") for fold in (0, 1)]
    swept(Path(".flywheel/sweeps/digits/cv").absolute(), *jobs, mean=("task=digits", "model=cnn"))
    done = adopt("cv")
    assert "model: cnn" in task_file.read_text()
    assert "fold: null" in task_file.read_text()
    assert next_lines(done, written=True)[-1] == "next:  dvc repro"


def test_one_fold_of_a_sweep_is_adopted_as_the_pipeline_validates(task_file: Path) -> None:
    done = adopt(trained("task=digits", "model=cnn", "fold=2"))
    assert settings()["fold"] is None
    lines = next_lines(done, written=True)
    assert any(line.startswith("left out: fold=2;") for line in lines)
    assert lines[-1] == "next:  dvc repro"


def test_a_run_that_its_sweep_stopped_early_is_not_promised_again(task_file: Path) -> None:
    run = trained("task=digits", "model=cnn")
    for epochs in (4, 2):
        client = prepare()
        client.delete_run(run)
        run = trained("task=digits", "model=cnn")
        for epoch in range(epochs):
            client.log_metric(run, "validation/loss", 0.5, step=epoch)
        lines = next_lines(adopt(run, dry_run=True), written=True)
        assert ("the sweep stopped this run after 2 epochs; the pipeline trains them all" in lines) == (epochs == 2)
        assert ("again" in lines[-1]) == (epochs == 4)


def test_what_has_no_winner_is_one_line(task_file: Path, untouched: Callable[[], None]) -> None:
    sweeps = Path(".flywheel/sweeps/digits").absolute()
    swept(
        sweeps / "folds",
        *[("task=digits", "seed=5", f"fold={fold}") for fold in range(3)],
        mean=("task=digits", "seed=5"),
    )
    swept(sweeps / "failed", ("task=digits", "seed=1"), ("task=digits", "seed=2", "model=cnn"))
    (sweeps / "failed/1/result.json").write_text('{"error": "the training loss is no longer finite"}')
    failed = trained("task=digits", "seed=6", ended=False)
    own = start_run("digits", name="mlp-1234", resume_key="k", resume=False, tags={"model_sha256": MODEL}).run_id
    said = {
        "folds": "varies only folds and seeds, so that no setting has won",
        "failed": "the sweep has no winner, its run is FINISHED",
        f"{sweeps}/failed/1": "has no model: the training loss is no longer finite",
        failed: "has no model: its run is FAILED",
        own: "is a run of the pipeline, without overrides to adopt",
        "fold": "no run and no sweep has this name; did you mean 'folds'?",
        "abcdef": "no run and no sweep has this name",
        "what % ' _": "no run and no sweep has this name; give a run's id",
    }
    for name, words in said.items():
        with pytest.raises(ConfigError) as raised:
            adopt(name)
        assert words in str(raised.value)
        assert "\n" not in str(raised.value)
    with pytest.raises(ConfigError, match=r"--task: no runs of a task 'digit'; did you mean 'digits'\?"):
        adopt("folds", task="digit")
    untouched()


def test_a_run_of_a_task_that_is_gone_is_one_line(task_file: Path) -> None:
    run = trained("task=digits", "seed=1")
    task_file.rename(task_file.with_name("digits8.yaml"))
    with pytest.raises(ConfigError, match=r"its task 'digits' has no file in conf/task/; did you mean 'digits8'\?"):
        adopt(run)


# The text


def test_places_of_yaml_that_are_not_plain() -> None:
    assert with_value("a:\n", ["a"], 1) == "a: 1\n"
    assert with_value("a: {}", ["a", "b", "c"], 1) == "a: {b: {c: 1}}"
    assert with_value("a: {b: 1,}\n", ["a", "c"], "x") == "a: {b: 1, c: x}\n"
    assert with_value("a: null  # none\n", ["a", "b"], 1) == "a: {b: 1}  # none\n"
    assert with_value("a:   # two\n  - 1\n  - 2   # last\n\n# b\nb: 1\n", ["a"], [3]) == "a: [3]   # two\n\n# b\nb: 1\n"
    assert with_value("a: |\n  # x\n  y\nb: 1\n", ["a"], "z") == "a: z\nb: 1\n"
    assert with_value("a:\n    b: 1\r\n# c\r\n", ["d", "e"], 1.5).endswith("b: 1\r\nd:\r\n    e: 1.5\r\n# c\r\n")
    assert with_value("a:\n  b: 1  # one", ["a", "c"], None) == "a:\n  b: 1  # one\n  c: null\n"
    assert with_value("a: 'é 😀'\nb: 1\n", ["b"], "${a}") == "a: 'é 😀'\nb: \"${a}\"\n"
    assert without("a:\n  b:\n    c: 1  # one\n# d\nd: 2\n", ["a", "b", "c"]) == "# d\nd: 2\n"
    assert without("a: 1\nb:\n  - 1\n\nc: 2\n", ["b"]) == "a: 1\n\nc: 2\n"
    with pytest.raises(ConfigError, match="in a mapping on one line"):
        without("a: {b: 1, c: 2}\n", ["a", "b"])


def test_items_of_the_defaults_list() -> None:
    assert with_choice("defaults:\n- /model: mlp # x\n", "model", "cnn") == "defaults:\n- /model: cnn # x\n"
    assert (
        with_choice("defaults:\n- override /model@model: a\n", "model", "b")
        == "defaults:\n- override /model@model: b\n"
    )
    assert with_choice("defaults:\n  - base\n", "model", "b") == "defaults:\n  - base\n  - override /model@model: b\n"
    for text in ("a: 1\n", "defaults: [/model: a]\n", "defaults: []\n"):
        with pytest.raises(ConfigError, match="no defaults list of one item a line"):
            with_choice(text, "model", "b")


# The command line


@pytest.mark.slow
def test_the_command_prints_the_diff_and_ends_with_2_for_an_error(task_file: Path, run_flywheel: Run) -> None:
    run = trained("task=digits", "optimizer.lr=0.003")
    dry = run_flywheel("command.cli", "adopt", run, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "+optimizer: {lr: 0.003" in dry.stdout
    assert dry.stdout.endswith("nothing is written\n")
    done = run_flywheel("command.cli", "adopt", run, "--task", "digits")
    assert "lr: 0.003" in task_file.read_text()
    assert done.stdout.splitlines()[-1].startswith("next:  dvc repro")
    wrong = run_flywheel("command.cli", "adopt", "nothing")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("flywheel: error: nothing: no run and no sweep has this name")
    assert wrong.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_pipeline_trains_the_very_weights_of_the_adopted_run(
    project: Path, run_flywheel: Run, with_tasks: Callable[..., None]
) -> None:
    with_tasks("digits")
    done = run_flywheel("train", "task=digits", "optimizer.lr=0.003", "trainer.max_epochs=2")
    assert done.returncode == 0, done.stderr
    (result,) = project.glob(".flywheel/runs/digits/*/result.json")
    adopted = run_flywheel("command.cli", "adopt", str(result.parent))
    assert adopted.returncode == 0, adopted.stderr
    for verb in ("download", "preprocess", "train"):
        stage = run_flywheel(verb, "--task", "digits")
        assert stage.returncode == 0, stage.stderr
    from flywheel.project.digest import sha256_of

    wanted = json.loads(result.read_text())["model_sha256"]
    assert sha256_of(project / "artifacts/digits/model/model.safetensors") == wanted
    assert wanted[:12] in adopted.stdout
    again = run_flywheel("command.cli", "adopt", "task=digits optimizer.lr=0.003 trainer.max_epochs=2")
    assert "says all of it already" in again.stdout, again.stderr
