"""`flywheel adopt`: from a run in the store to a derived task, through the verb and the command line."""

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
from flywheel.project.compose import compose_params, compose_task
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


ADOPTED = "conf/task/digits_adopted.yaml"


def adopted(task: str = "digits") -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(Path(f"conf/task/{task}_adopted.yaml").read_text())
    return found


# What is written


def test_values_and_groups_are_written_into_a_task_that_starts_from_the_other(task_file: Path) -> None:
    config = Path("conf/config.yaml")
    config.write_text(config.read_text().replace("tasks.digits: digits", "tasks.digits:  digits  # mine"))
    before = config.read_text()
    overrides = [
        "task=digits", "model=cnn", "optimizer.lr=3e-3", "model.net.widths=[16,8]", "trainer.max_epochs=3",
        "trainer.keep=last", "seed=7", "scheduler=cosine",
    ]  # fmt: skip
    done = adopt(trained(*overrides))
    assert Path(ADOPTED).read_text().splitlines()[2:] == [
        "defaults:", "- digits@_here_", "- override /model@model: cnn", "- override /scheduler@scheduler: cosine",
        "- _self_", "optimizer:", "  lr: 0.003", "model:", "  net:", "    widths:", "    - 16", "    - 8", "trainer:",
        "  max_epochs: 3", "  keep: last", "seed: 7",
    ]  # fmt: skip
    assert task_file.read_text() == COMMENTED
    assert config.read_text() == before.replace("digits  # mine", "digits_adopted  # mine")
    assert settings() == compose_task(Path.cwd(), overrides) == compose_task(Path.cwd(), ["task=digits_adopted"])
    assert done.diff.startswith("--- /dev/null\n+++ b/conf/task/digits_adopted.yaml\n@@ ")
    assert "\n-  - task@tasks.digits:  digits  # mine\n+  - task@tasks.digits:  digits_adopted  # mine" in done.diff
    assert next_lines(done, written=True)[-1] == f"next:  dvc repro    # trains the weights {MODEL[:12]}... again"


def test_the_same_again_changes_nothing(task_file: Path) -> None:
    run = trained("task=digits", "optimizer.lr=0.003", "+loss.criterion.reduction=sum")
    assert adopt(run).diff
    file = Path(ADOPTED)
    before, stamp = file.read_bytes(), file.stat().st_mtime_ns
    again = adopt(run)
    assert not again.diff
    assert (file.read_bytes(), file.stat().st_mtime_ns) == (before, stamp)
    assert "is up to date already" in next_lines(again, written=True)[0]


def test_what_holds_already_is_not_written(task_file: Path) -> None:
    adopt(trained("task=digits", "model=mlp", "optimizer.lr=0.01", "trainer.batch_size=64", "seed=1"))
    assert adopted() == {"defaults": ["digits@_here_", "_self_"], "seed": 1}


def test_a_run_with_the_task_s_own_settings_takes_an_adoption_back(task_file: Path) -> None:
    config = Path("conf/config.yaml").read_text()
    run = trained("task=digits", "optimizer.lr=0.01")
    assert not adopt(run).diff
    assert not Path(ADOPTED).exists()
    adopt(trained("task=digits", "seed=3", name="other"))
    assert settings()["seed"] == 3
    adopt(run)
    assert settings()["seed"] == 0
    assert Path("conf/config.yaml").read_text() == config


def test_a_second_adoption_adds_to_the_first_or_replaces_it(task_file: Path) -> None:
    adopt(trained("task=digits", "model=cnn", "optimizer.lr=0.003", "+loss.criterion.ignore_index=-1"))
    words = ["task=digits_adopted", "model.net.dropout=0.3", "optimizer.lr=0.01", "~loss.criterion.ignore_index"]
    expected = compose_task(Path.cwd(), words)
    run = trained(*words, name="on top")
    adopt(run)
    assert settings() == expected
    assert adopted() == {  # the rate is the task's own again
        "defaults": ["digits@_here_", {"override /model@model": "cnn"}, "_self_"],
        "model": {"net": {"dropout": 0.3}},
    }
    assert not adopt(run).diff
    adopt(trained("task=digits", "seed=2", name="from the task"))
    assert adopted() == {"defaults": ["digits@_here_", "_self_"], "seed": 2}
    assert task_file.read_text() == COMMENTED


def test_an_adoption_is_undone_by_git(task_file: Path) -> None:
    """Deleting the file and the line's change is all."""
    config, params = Path("conf/config.yaml").read_bytes(), Path("params.yaml").read_bytes()
    adopt(trained("task=digits", "optimizer.lr=0.003"))
    Path(ADOPTED).unlink()
    Path("conf/config.yaml").write_bytes(config)
    assert compose_params(Path.cwd()).encode() == params


def test_a_task_of_one_s_own_is_not_overwritten(task_file: Path) -> None:
    Path(ADOPTED).write_text("# @package _global_\ndefaults:\n  - digits@_here_\n  - _self_\n")
    with pytest.raises(
        ConfigError, match=r"conf/task/digits_adopted.yaml: is a task of your own; give it another name"
    ):
        adopt(trained("task=digits", "optimizer.lr=0.003"))


def test_a_dry_run_writes_nothing(task_file: Path) -> None:
    params = Path("params.yaml").read_bytes()
    done = adopt(trained("task=digits", "optimizer.lr=0.003"), dry_run=True)
    assert "+optimizer:\n+  lr: 0.003" in done.diff
    assert task_file.read_text() == COMMENTED
    assert not Path(ADOPTED).exists()
    assert Path("params.yaml").read_bytes() == params
    assert next_lines(done, written=False) == ["nothing was written"]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("+loss.criterion.ignore_index=-1", "loss:\n  criterion:\n    ignore_index: -1\n"),
        ("preprocess.inputs.normalise=unit", "    normalise: unit"),
        ("+metric.plots.loss.odd='1e-3'", "      odd: '1e-3'"),
        ("+metric.plots.loss.odd=null", "      odd: null"),
        ("+metric.plots.loss.odd=3.0", "      odd: 3.0"),
        ("+metric.plots.loss.odd=1e-05", "      odd: 1.0e-05"),
        ("+metric.plots.loss.odd='a, b'", "      odd: a, b"),
        ("+metric.plots.loss.odd='no: #1'", "      odd: 'no: #1'"),
        ("+metric.plots.loss.odd=yes", "      odd: 'yes'"),
        ("+metric.plots.loss.odd=TRUE", "      odd: true"),
        ("+metric.plots.loss.odd=[a,'1',2]", "      odd:\n      - a\n      - '1'\n      - 2"),
        ("+metric.plots.loss.odd={}", "      odd: {}"),
        ("+metric.plots.loss.odd={a:1,b:[x]}", None),
        ("metric.train.accuracy={average: macro}", "      average: macro"),
        ("++loss={l1: 1e-4, l2: 0.5}", "  l1: 0.0001"),
        ("data.download.sources.0.uri=file:a b", "    - uri: file:a b"),
    ],
)
def test_values_keep_the_types_that_hydra_gives_them(task_file: Path, override: str, line: str | None) -> None:
    overrides = ["task=digits", override]
    expected = compose_task(Path.cwd(), overrides)
    adopt(trained(*overrides))
    assert settings() == expected
    assert line is None or line in Path(ADOPTED).read_text()


def test_a_key_that_a_run_took_away_is_left_out_or_refused(task_file: Path) -> None:
    """A file that starts from another takes nothing from it, so what the other says is repeated without the key."""
    mine = COMMENTED.replace("trainer:\n", "loss:\n  criterion:\n    ignore_index: -1\n\ntrainer:\n")
    task_file.write_text(mine)
    run = trained("task=digits", "~loss.criterion.ignore_index", "model=cnn")
    expected = compose_task(Path.cwd(), ["task=digits", "~loss.criterion.ignore_index", "model=cnn"])
    adopt(run)
    assert settings() == expected
    assert "/model: cnn" in Path(ADOPTED).read_text()
    assert task_file.read_text() == mine
    assert not adopt(run).diff
    with pytest.raises(ConfigError, match=r"loss\.l2 \(the run has none, the file 0\.0\); write it into conf/ by hand"):
        adopt(trained("task=digits", "~loss.l2", name="other"))
    with pytest.raises(ConfigError, match=r"trainer\.batch_size \(the run has none, the file 32\)"):
        adopt(trained("task=digits", "~trainer.batch_size", name="another"))


def test_another_model_leaves_the_settings_of_the_task_s_own(task_file: Path) -> None:
    task_file.write_text(COMMENTED + "model:\n  net:\n    hidden: [9]\n    dropout: 0.1\n    activation: relu\n")
    words = ["task=digits", "model=cnn", "~model.net.hidden", "~model.net.activation"]
    expected = compose_task(Path.cwd(), words)
    adopt(trained(*words))
    assert settings() == expected
    assert expected["model"]["net"]["dropout"] == 0.1


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
    assert {"override /model/size@model.net": "large"} in adopted()["defaults"]  # type: ignore[operator]
    adopt(trained("task=digits_adopted", "model/size@model.net=small", name="back"))
    assert Path(ADOPTED).read_text().count("/model/size") == 1


def test_a_task_outside_the_pipeline_is_written_and_its_line_is_told(task_file: Path) -> None:
    params = Path("params.yaml").read_bytes()
    done = adopt(trained("task=mnist5k", "optimizer.lr=0.003"))
    assert adopted("mnist5k") == {"defaults": ["mnist5k@_here_", "_self_"], "optimizer": {"lr": 0.003}}
    assert Path("params.yaml").read_bytes() == params
    lines = next_lines(done, written=True)
    assert "  - task@tasks.mnist5k: mnist5k_adopted" in lines
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
    assert settings("longer") == compose_task(Path.cwd(), ["task=longer_adopted"]) == expected
    assert file.read_text() == INHERITING.format(place="@_here_")
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
    """Says that neither conf/ nor params.yaml has changed."""
    files = [task_file, Path("params.yaml")]
    before = [file.read_bytes() for file in files]

    def check() -> None:
        assert not Path(ADOPTED).exists()
        assert [file.read_bytes() for file in files] == before
        assert not list(Path().rglob("*.part"))

    return check


def test_a_conf_that_has_changed_since_the_run_is_named(task_file: Path) -> None:
    run = trained("task=digits", "optimizer.lr=0.003")
    task_file.write_text(COMMENTED.replace("max_epochs: 4", "max_epochs: 5"))
    changed = task_file.read_bytes()
    said = r"conf/ has changed since this run: trainer.max_epochs \(then 4, now 5\); revert that .* --force"
    with pytest.raises(ConfigError, match=said):
        adopt(run)
    assert task_file.read_bytes() == changed
    done = adopt(run, force=True)
    assert settings()["trainer"]["max_epochs"] == 5  # type: ignore[index]
    assert "lr: 0.003" in Path(ADOPTED).read_text()
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
    run, pipeline = trained("task=digits", "optimizer.lr=0.003"), Path("conf/config.yaml").read_text()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr("flywheel.project.compose._remember", full)  # the very last step: params.yaml is written by then
        adopt(run)
    untouched()
    assert Path("conf/config.yaml").read_text() == pipeline
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


def test_a_value_that_yaml_shares_is_set_alone(task_file: Path) -> None:
    task_file.write_text(
        COMMENTED.replace("max_epochs: 4", "max_epochs: &n 4").replace("batch_size: 64", "batch_size: *n")
    )
    adopt(trained("task=digits", "trainer.max_epochs=8"))
    assert adopted()["trainer"] == {"max_epochs": 8}


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
    assert "sweep" not in Path(ADOPTED).read_text()


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
    assert adopted() == {"defaults": ["digits@_here_", {"override /model@model": "cnn"}, "_self_"]}
    assert settings()["fold"] is None
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
        assert ("this run was stopped after 2 epochs; the pipeline trains them all" in lines) == (epochs == 2)
        assert ("again" in lines[-1]) == (epochs == 4)


def test_who_looked_on_at_a_run_is_not_adopted_and_a_timer_that_ended_it_is_told(task_file: Path) -> None:
    run = trained("task=digits", "model=cnn", "logger=csv", "callbacks=timer", "trainer.profiler=simple")
    for epoch in range(4):
        prepare().log_metric(run, "validation/loss", 0.5, step=epoch)
    done = adopt(run, dry_run=True)
    assert "again" in next_lines(done, written=True)[-1]
    assert not [word for word in ("logger", "callbacks", "timer", "profiler") if word in done.diff]
    prepare().delete_run(run)
    words = ["trainer.early_stopping.patience=3", "callbacks=timer"]
    run = trained("task=digits", "model=cnn", *words)
    prepare().log_metric(run, "validation/loss", 0.5, step=0)
    lines = next_lines(adopt(run, dry_run=True), written=True)
    assert "this run was stopped after 1 epochs; the pipeline trains them all" in lines


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


# The command line


@pytest.mark.slow
def test_the_command_prints_the_diff_and_ends_with_2_for_an_error(task_file: Path, run_flywheel: Run) -> None:
    run = trained("task=digits", "optimizer.lr=0.003")
    dry = run_flywheel("command.cli", "adopt", run, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "+optimizer:\n+  lr: 0.003" in dry.stdout
    assert dry.stdout.endswith("nothing was written\n")
    done = run_flywheel("command.cli", "adopt", run, "--task", "digits")
    assert "lr: 0.003" in Path(ADOPTED).read_text()
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
    assert "is up to date already" in again.stdout, again.stderr
