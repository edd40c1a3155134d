"""The whole pipeline on scikit-learn's digits, through DVC: what re-runs, what does not, and what a kill leaves."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from tests import forked

STAGES = ("download", "preprocess", "train", "evaluate", "export", "register")
TASKS = ("digits", "digits_cnn")
# Modules that carry nothing into an output; dvc.yaml leaves them out (ARCHITECTURE.md, "What makes a stage run again").
INFRASTRUCTURE = {"command/cli", "command/completion", "feedback/settings", "learner/task_check", "prepare"}
# Imported by tasks whose loss names one of its links, whose reader lists a folder, or whose report shows texts.
SOME_TASKS = ("model/link.py", "source/folder.py", "modality/image/data/csv_images.py")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pipeline"), pytest.mark.timeout(1800)]


class Project:
    """A project in a folder of its own, run as a person would, with no writable home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "DVC", "PYTEST", "FLYWHEEL"))},
            "HOME": "/proc/nowhere",
            "GIT_CONFIG_GLOBAL": "/dev/null",
        }
        for name in ("AUTHOR", "COMMITTER"):
            self.environment |= {f"GIT_{name}_NAME": "test", f"GIT_{name}_EMAIL": "test@localhost"}

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = forked.run(
            list(words), cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=900, check=False
        )
        assert done.returncode == 0 or not check, f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def dvc(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "dvc", *words, check=check)

    def changed_stages(self) -> set[str]:
        status = json.loads(self.dvc("status", "--json").stdout)
        return {stage for stage in status if status[stage] != ["frozen"]}

    def stages_run(self, text: str) -> list[str]:
        return [line.split("'")[1] for line in text.splitlines() if line.startswith("Running stage")]

    def hashes(self) -> dict[str, str]:
        lock = yaml.safe_load((self.folder / "dvc.lock").read_text())
        return {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}

    def edit(self, path: str, change: Callable[[str], str]) -> None:
        file = self.folder / path
        changed = change(file.read_text())
        assert changed != file.read_text()
        file.write_text(changed)


def make_project(root: Path, folder: Path) -> Project:
    folder.mkdir(parents=True)
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "tmp", "cache", "config.local")
    for name in ("src", "conf", ".dvc"):
        shutil.copytree(root / name, folder / name, ignore=ignore)
    for name in (".gitignore", ".dvcignore", "constraints.txt", "dvc.yaml"):
        shutil.copy(root / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    task = (folder / "conf/task/digits.yaml").read_text() + "trainer:\n  max_epochs: 12\nregister:\n  baseline: warn\n"
    (folder / "conf/task/digits.yaml").write_text(task)
    (folder / "conf/task/digits_cnn.yaml").write_text(
        task.replace("/model: mlp", "/model: cnn").replace("name: digits", "name: digits_cnn").replace(": 12", ": 1")
    )
    lines = "".join(f"  - task@tasks.{name}: {name}\n" for name in TASKS)
    (folder / "conf/config.yaml").write_text(f"defaults:\n{lines}  - _self_\n")
    project = Project(folder)
    project.run(sys.executable, "-m", "flywheel.command.cli", "params")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
        project.run("git", *words)
    return project


@pytest.fixture(scope="module")
def built(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose every stage has run once, in a folder with a space in its name; for one task in new processes."""
    project = make_project(root, tmp_path_factory.mktemp("pipeline") / "a project")
    project.environment[forked.COLD] = "1"
    cold = project.dvc("repro", "register@digits")
    del project.environment[forked.COLD]
    forked.lend_python(project.folder)
    done = project.dvc("repro")
    every = {f"{stage}@{task}" for stage in STAGES for task in TASKS}
    assert set(project.stages_run(cold.stdout + done.stdout)) == every | {"params"}
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "built")
    return project


@pytest.fixture
def restored(built: Project) -> Iterator[Project]:
    """The built project; what a test changes is taken back."""
    yield built
    built.run("git", "reset", "-q", "--hard")  # `dvc repro` has put dvc.lock into the index
    built.run("git", "clean", "-qfd")
    built.dvc("checkout", "-q", check=False)
    built.dvc("repro", "-q")
    assert built.changed_stages() == set()


@pytest.mark.end_to_end
def test_a_second_repro_does_nothing(built: Project) -> None:
    done = built.dvc("repro")
    assert built.stages_run(done.stdout) == []
    assert "up to date" in done.stdout


@pytest.mark.end_to_end
def test_outputs_are_whole_and_hold_no_pickle(built: Project) -> None:
    for task in TASKS:
        folder = built.folder / "artifacts" / task
        metrics = json.loads((folder / "metrics.json").read_text())
        assert metrics["accuracy"] > 0.8
        assert json.loads((folder / "decision.json").read_text())["promoted"] is True
        assert (folder / "report/report.html").stat().st_size > 20_000
    outs = [path for place in ("artifacts", "data", "mlartifacts") for path in (built.folder / place).rglob("*")]
    assert not [path for path in outs if path.suffix in (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib")]
    assert not list(built.folder.rglob("*.part"))


@pytest.mark.end_to_end
def test_git_sees_only_metrics_decisions_plots_and_the_lock(built: Project) -> None:
    tracked = built.run("git", "ls-files", "artifacts", "data").stdout.split()
    kept = [f"data/feedback/{task}/.gitkeep" for task in TASKS]
    made = [f"artifacts/{task}/{name}.json" for task in TASKS for name in ("decision", "evaluation", "metrics")]
    assert sorted(tracked) == sorted([*made, *kept, "artifacts/dvc.yaml", "data/params.checked"])
    assert built.run("git", "status", "--porcelain").stdout == ""


def lr(text: str) -> str:
    return text.replace("lr: 0.001", "lr: 0.002", 1)


def comment(text: str) -> str:
    return text + "\n# a comment\n"


DIGITS = {f"{stage}@digits" for stage in STAGES}


@pytest.mark.parametrize(
    ("path", "change", "expected"),
    [
        ("params.yaml", lr, {"train@digits"}),
        ("params.yaml", lambda t: t.replace("batch_size: 32", "batch_size: 64", 1), {"train@digits"}),
        ("params.yaml", lambda t: t.replace("num_bootstrap: 1000", "num_bootstrap: 900", 1), {"evaluate@digits"}),
        ("params.yaml", lambda t: t.replace("max_difference: 0.0001", "max_difference: 0.001", 1), {"export@digits"}),
        ("params.yaml", lambda t: t.replace("max_loss: 0.005", "max_loss: 0.01", 1), {"export@digits"}),
        ("params.yaml", lambda t: t.replace("serve: fp32", "serve: smallest", 1), {"register@digits"}),
        ("params.yaml", lambda t: t.replace("margin: 0.01", "margin: 0.015", 1), {"register@digits"}),
        ("params.yaml", lambda t: t.replace("validation: 0.2", "validation: 0.1", 1), {"preprocess@digits"}),
        ("params.yaml", lambda t: t.replace("engine: local", "engine: ray", 1), set()),
        (
            "src/flywheel/model/cnn.py",
            comment,
            {"train@digits_cnn", "evaluate@digits_cnn", "export@digits_cnn"},
        ),
        ("src/flywheel/model/mlp.py", comment, {"train@digits", "evaluate@digits", "export@digits"}),
        (
            "src/flywheel/modality/image/data/idx.py",
            comment,
            {f"{s}@{t}" for s in ("preprocess", "evaluate", "register") for t in TASKS},
        ),
        (
            "src/flywheel/modality/image/traits.py",
            comment,
            {f"{s}@{t}" for s in ("evaluate", "register") for t in TASKS},
        ),
        ("src/flywheel/modality/image/row.py", comment, set()),
        ("src/flywheel/modality/image/field.js", comment, set()),
        ("src/flywheel/modality/image/guess.py", comment, set()),
        ("src/flywheel/modality/tabular/data/preprocessor.py", comment, set()),
        ("src/flywheel/learner/scheduler.py", comment, {f"train@{task}" for task in TASKS}),
        ("src/flywheel/registry/gate.py", comment, {f"register@{task}" for task in TASKS}),
        (
            "src/flywheel/registry/variant/tables.py",
            comment,
            {f"{s}@{t}" for s in ("export", "register") for t in TASKS},
        ),
        ("conf/task/digits.yaml", comment, set()),
        ("src/flywheel/project/errors.py", comment, set()),
        ("src/flywheel/command/cli.py", comment, set()),
        ("README.md", lambda t: t + "x", set()),
    ],
)
def test_a_change_runs_what_depends_on_it(
    built: Project, path: str, change: Callable[[str], str], expected: set[str]
) -> None:
    checked = {"params"} if path == "params.yaml" or path.startswith("conf/") else set()
    file = built.folder / path
    before = file.read_text() if file.exists() else ""
    file.write_text(change(before))
    try:
        assert built.changed_stages() == expected | checked
    finally:
        built.run("git", "checkout", "-q", "--", ".")
        built.run("git", "clean", "-qfd")


def test_touch_changes_nothing(built: Project) -> None:
    for place in ("src", "conf", "data", "artifacts", "params.yaml"):
        for file in (built.folder / place).rglob("*"):
            os.utime(file)
    assert built.changed_stages() == set()


@pytest.mark.end_to_end
def test_a_new_learning_rate_runs_train_and_what_follows(restored: Project) -> None:
    restored.edit("conf/task/digits.yaml", lambda text: text + "optimizer:\n  lr: 5e-3\n")
    restored.run(sys.executable, "-m", "flywheel.command.cli", "params")
    done = restored.dvc("repro")
    assert restored.stages_run(done.stdout) == [
        "params",
        *(f"{s}@digits" for s in ("train", "evaluate", "export", "register")),
    ]


def test_stages_name_the_code_they_import(built: Project) -> None:
    """Every module that a stage loads is one of its deps or carries nothing into its output; no dep is for nothing."""
    program = (
        "import runpy, sys\nverb, task = sys.argv[1:3]\nsys.argv = [verb, '--task', task]\n"
        "try:\n    runpy.run_module(f'flywheel.{verb}', run_name='__main__')\n"
        "except SystemExit as stop:\n    assert not stop.code\n"
        "print('LOADED', *sorted(m for m in sys.modules if m.startswith('flywheel.')))"
    )
    spec = yaml.safe_load((built.folder / "dvc.yaml").read_text())["stages"]
    item = yaml.safe_load((built.folder / "params.yaml").read_text())["tasks"]["digits"]
    names = {
        "${item.preprocess.code.data}": item["preprocess"]["code"]["data"],
        "${item.preprocess.code.room}": item["preprocess"]["code"]["room"],
        "${item.preprocess.code.augment}": item["preprocess"]["code"]["augment"],
        "${item.model.name}": item["model"]["name"],
        "${item.model.watch}": item["model"]["watch"],
        "${item.data.watch}": item["data"]["watch"],
        "${item.trainer.parent}": item["trainer"]["parent"],
        "${item.export.student}": item["export"]["student"],
    }
    for verb in STAGES:
        deps = spec[verb]["do"]["deps"]
        for name, value in names.items():
            deps = [dep.replace(name, value) for dep in deps]
        deps = [dep.removeprefix("src/flywheel/") for dep in deps if dep.startswith("src/")]
        built.environment["PYTHONPATH"] = str(built.folder / "src")
        done = built.run(sys.executable, "-c", program, verb, "digits")
        del built.environment["PYTHONPATH"]
        modules = done.stdout.split("LOADED ")[1].split()
        files = [name.removeprefix("flywheel.").replace(".", "/") for name in modules]
        files = [
            f"{file}/__init__.py" if (built.folder / "src/flywheel" / file).is_dir() else f"{file}.py" for file in files
        ]
        code = {
            file
            for file in files
            if file.split(".")[0] not in INFRASTRUCTURE
            and (not file.startswith("project/") or file == "project/companion.py")
            and not file.endswith("__init__.py")
        }
        uncovered = {file for file in code if not any(file == dep or file.startswith(f"{dep}/") for dep in deps)}
        assert not uncovered, f"{verb} imports what dvc.yaml does not name: {sorted(uncovered)}"
        useless = [
            d
            for d in deps
            if not d.endswith("__init__.py")
            and d not in (f"{verb}.py", *SOME_TASKS)
            and not any(f == d or f.startswith(f"{d}/") for f in code)
        ]
        assert not useless, f"{verb} names what it does not import: {useless}"
    assert built.dvc("repro").returncode == 0


def test_a_kill_at_a_random_moment_of_any_stage_changes_nothing_in_the_end(built: Project) -> None:
    expected = built.hashes()
    generator = random.Random(20261122)
    for stage in (*STAGES, "train", "train", "preprocess", "evaluate"):
        command = [sys.executable, "-m", "dvc", "repro", "-f", "-s", f"{stage}@digits"]
        process = subprocess.Popen(
            command, cwd=built.folder, env={**built.environment, forked.COLD: "1"}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True, start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("> sh"):
                break
        time.sleep(generator.uniform(0.05, 5.0 if stage in ("train", "evaluate", "register") else 1.5))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        # As `make repro` does: DVC writes dvc.lock in place, so that the kill may have left half of it.
        built.run(sys.executable, "-m", "flywheel.command.cli", "params")
        done = built.dvc("repro")
        assert built.hashes() == expected, f"after a kill in {stage}: {done.stdout[-2000:]}"
    # DVC may have restored what a killed stage was to make; the next stage that does run clears what it left.
    built.dvc("repro", "-f", "-s", "download@digits", "preprocess@digits", "register@digits")
    assert not [*(built.folder / "artifacts").rglob("*.part"), *(built.folder / "data").rglob("*.part")]
    assert built.changed_stages() == set()
    assert built.run("git", "status", "--porcelain").stdout == ""


def test_an_experiment_with_a_value_and_one_with_a_group(restored: Project) -> None:
    done = restored.dvc("exp", "run", "-q", "-S", "tasks.digits.optimizer.lr=3e-3", "evaluate@digits")
    assert "differs from what conf/" not in done.stderr + done.stdout
    params = yaml.safe_load((restored.folder / "params.yaml").read_text())
    assert params["tasks"]["digits"]["optimizer"]["lr"] == 0.003
    restored.dvc("exp", "run", "-q", "-S", "model@tasks.digits.model=cnn", "evaluate@digits")
    params = yaml.safe_load((restored.folder / "params.yaml").read_text())
    assert params["tasks"]["digits"]["model"]["name"] == "cnn"
    shown = restored.dvc("exp", "show", "--csv").stdout
    assert "artifacts/digits/metrics.json:accuracy" in shown or "accuracy" in shown


def test_an_experiment_in_a_copy_uses_the_copy_s_code_and_the_main_store(restored: Project) -> None:
    restored.edit(
        "src/flywheel/learner/tracked.py",
        lambda text: text.replace('"mlflow.source.name": "flywheel.train"', '"mlflow.source.name": "edited"'),
    )
    restored.dvc("exp", "run", "-q", "--temp", "-S", "tasks.digits.seed=7", "train@digits")
    program = (
        "from flywheel.project.tracking import prepare\nclient = prepare()\n"
        "ids = [e.experiment_id for e in client.search_experiments()]\n"
        "runs = [run for run in client.search_runs(ids) if run.data.params.get('seed') == '7']\n"
        "print([run.data.tags['mlflow.source.name'] for run in runs])"
    )
    assert "edited" in restored.run(sys.executable, "-c", program).stdout


def test_a_rotten_cache_is_found_and_fixed(restored: Project) -> None:
    cached = max((restored.folder / ".dvc/cache/files/md5").glob("??/*"), key=lambda file: file.stat().st_size)
    content = bytearray(cached.read_bytes())
    content[len(content) // 2] ^= 1
    cached.chmod(0o644)
    cached.write_bytes(content)
    cached.chmod(0o444)
    done = restored.run(sys.executable, "-m", "flywheel.command.cli", "verify", "--no-fix", check=False)
    assert done.returncode == 1
    assert "1 damaged" in done.stdout
    done = restored.run(sys.executable, "-m", "flywheel.command.cli", "verify")
    assert "put back from" in done.stdout or "removed; `dvc repro` makes it again" in done.stdout
    assert "0 damaged" in restored.run(sys.executable, "-m", "flywheel.command.cli", "verify").stdout.splitlines()[0]


def test_metrics_and_plots_are_dvc_s(built: Project) -> None:
    assert "accuracy" in built.dvc("metrics", "show").stdout
    assert json.loads(built.dvc("metrics", "diff", "--json").stdout or "{}") == {}
