from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests import forked

from flywheel.init_task.files import place_of, with_line
from flywheel.init_task.guess import Wanted
from flywheel.init_task.verb import init_task
from flywheel.project.compose import make_feedback_folders
from flywheel.project.errors import ConfigError, DataError, FlywheelError


def contents(project: Path) -> dict[str, bytes]:
    places = [project / "conf", project / "data", project / "params.yaml"]
    found = [path for place in places for path in ([place] if place.is_file() else place.rglob("*"))]
    return {path.relative_to(project).as_posix(): path.read_bytes() if path.is_file() else b"" for path in found}


@pytest.fixture
def flowers(project: Path, data: Any) -> Path:
    (project / "data").mkdir(exist_ok=True)
    data.flowers().to_csv(project / "data/flowers.csv", index=False)
    return Path("data/flowers.csv")


def test_a_task_is_written_whole(project: Path, flowers: Path, with_tasks: Callable[..., None]) -> None:
    with_tasks("digits")
    config = project / "conf/config.yaml"
    config.write_text("# A comment.\n" + config.read_text().replace("_self_", "_self_   # another"))
    made = init_task("flowers", flowers)
    assert sorted(made.files) == ["conf/data/flowers.yaml", "conf/task/flowers.yaml"]
    for name, text in made.files.items():
        assert (project / name).read_text() == text
    assert config.read_text() == (
        "# A comment.\ndefaults:\n  - task@tasks.digits: digits\n  - task@tasks.flowers: flowers\n"
        "  - _self_   # another\n"
    )
    assert (project / "data/feedback/flowers/.gitkeep").is_file()
    task = yaml.safe_load((project / "params.yaml").read_text())["tasks"]["flowers"]
    assert task["data"]["watch"] == "data/flowers.csv"
    assert task["data"]["download"]["sources"][0]["uri"] == "file:data/flowers.csv"
    assert task["preprocess"]["name"] == "tabular"
    before = contents(project)
    with pytest.raises(ConfigError, match="'flowers' is taken; take another, or replace it with --force"):
        init_task("flowers", flowers)
    assert contents(project) == before
    init_task("flowers", flowers, force=True)
    assert contents(project) == before


def test_a_replaced_task_is_the_pipeline_s_in_place_of_an_adopted_one(project: Path, flowers: Path) -> None:
    init_task("flowers", flowers)
    config = project / "conf/config.yaml"
    before = config.read_text()
    (project / "conf/task/flowers_adopted.yaml").write_text(
        "# @package _global_\ndefaults:\n- flowers@_here_\n- _self_\nseed: 3\n"
    )
    config.write_text(before.replace(": flowers\n", ": flowers_adopted  # found by a sweep\n"))
    init_task("flowers", flowers, force=True)
    assert config.read_text() == before.replace(": flowers\n", ": flowers  # found by a sweep\n")


def started(project: Path, source: Path, program: str = "") -> subprocess.Popen[str]:
    # As in a terminal; a shell that runs the tests in the background has it ignored.
    program += "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    program += "from flywheel.command.cli import main; main()"
    command = [sys.executable, "-c", program, "init-task", "flowers", "--from", str(source)]
    env = {**os.environ, "PYTHONPATH": str(project / "src")}
    return forked.Popen(command, cwd=project, env=env, stderr=subprocess.PIPE, text=True)


def test_an_interrupt_leaves_nothing(project: Path, flowers: Path) -> None:
    before = contents(project)
    with started(project, flowers) as process:
        task = project / "conf/task/flowers.yaml"
        while not task.exists():  # it composes, which takes a second, when this is there
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    after = contents(project)
    after.pop("data/feedback", None)
    assert after == before


def test_a_full_disk_leaves_nothing(project: Path, flowers: Path) -> None:
    """A limit that params.yaml alone is beyond; the task has its folder for feedback by then."""
    make_feedback_folders(project, (project / "params.yaml").read_text())
    before = contents(project)
    limit = (project / "params.yaml").stat().st_size // 2
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
    with started(project, flowers, limited) as process:
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert said == "flywheel: error: disk: File too large; free space or fix the permissions\n"
    assert contents(project) == before


def test_a_conf_that_does_not_compose_leaves_nothing(
    project: Path, flowers: Path, with_tasks: Callable[..., None]
) -> None:
    with_tasks("digits")
    model = project / "conf/model/boosted_trees.yaml"
    model.write_text(model.read_text().replace("flywheel.model.trees.Trees", "os.system"))
    before = contents(project)
    with pytest.raises(ConfigError, match=r"tasks\.flowers"):
        init_task("flowers", flowers)
    after = contents(project)
    after.pop("data/feedback", None)
    assert after == before


def test_a_dry_run_writes_nothing(project: Path, flowers: Path) -> None:
    before = contents(project)
    made = init_task("flowers", flowers, dry_run=True)
    assert "label_column: species" in made.files["conf/data/flowers.yaml"]
    assert contents(project) == before


@pytest.mark.parametrize("name", ["", "1st", "../x", "a b", "a.b", "null", "true", "on", "x" * 61, "-x", "ä"])
def test_names_that_cannot_be(project: Path, flowers: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"NAME: .*; (begin with a letter|take another name)"):
        init_task(name, flowers)


@pytest.mark.parametrize("name", ["fashion", "mnist"])
def test_names_that_are_taken(project: Path, flowers: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is taken"):
        init_task(name, flowers)


def test_a_data_set_of_other_tasks_is_not_replaced(project: Path, flowers: Path) -> None:
    with pytest.raises(ConfigError, match="the data set 'fashion_mnist' is used by task 'fashion' too"):
        init_task("fashion_mnist", flowers, force=True)


def test_the_line_of_a_task() -> None:
    config = "defaults:\n  - task@tasks.a: a  # first\n  - _self_\n"
    added = with_line(config, "b")
    assert added == "defaults:\n  - task@tasks.a: a  # first\n  - task@tasks.b: b\n  - _self_\n"
    assert with_line(added, "b") == added
    assert with_line("defaults:\n- _self_\n", "b") == "defaults:\n- task@tasks.b: b\n- _self_\n"
    assert with_line("defaults:\n  - task@tasks.a: a", "b") == "defaults:\n  - task@tasks.a: a\n  - task@tasks.b: b\n"
    with pytest.raises(ConfigError, match="has no `defaults:`"):
        with_line("tasks: {}\n", "b")


def test_data_stay_where_they_are(project: Path, tmp_path: Path) -> None:
    assert place_of(project, project / "data/x.csv", "x") == "data/x.csv"
    assert place_of(project, Path("data/x.csv"), "x") == "data/x.csv"
    assert place_of(project, tmp_path / "x.csv", "x") == (tmp_path / "x.csv").as_posix()
    assert place_of(project, Path("../x.csv"), "x") == (tmp_path / "x.csv").as_posix()
    assert place_of(project, Path("data/raw/x.csv"), "x") == "data/raw/x.csv"


@pytest.mark.parametrize("place", ["data/raw/x", "data/raw/x/a.csv", "artifacts/x", ".flywheel/a.csv", "data/raw"])
def test_places_that_stages_write_to(project: Path, place: str) -> None:
    with pytest.raises(FlywheelError, match="lies where the stages or tools write; move the data elsewhere"):
        place_of(project, Path(place), "x")


def test_the_project_itself_is_no_data(project: Path) -> None:
    with pytest.raises(FlywheelError, match="is the project itself"):
        place_of(project, Path(), "x")
    with pytest.raises(FlywheelError, match="rename it"):
        place_of(project, Path("${a}.csv"), "x")


def test_a_path_that_is_not_there_names_the_nearest(project: Path, flowers: Path) -> None:
    with pytest.raises(DataError, match=r"data/flower\.csv: no such file or folder; did you mean 'flowers\.csv'\?"):
        init_task("x", Path("data/flower.csv"))


def test_a_file_that_may_not_be_read(project: Path, flowers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(DataError, match="may not be read; make it readable: chmod"):
        init_task("x", flowers)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("a.xlsx", {}, "files of type '.xlsx' are not supported; save the sheet as CSV"),
        ("a.json", {}, "save it as JSON lines"),
        ("a.csv", {"modality": "image"}, "is a file, not a folder"),
        ("a.csv", {"modality": "vision"}, "no 'vision'"),
        ("a.csv", {"kind": "klass"}, "--kind: no 'klass'; did you mean 'class'"),
        ("folder", {"target": "x"}, "is a folder: its classes are the folders in it"),
        ("folder", {"modality": "tabular"}, "is a folder, not tabular"),
    ],
)
def test_what_does_not_fit(project: Path, name: str, options: dict[str, str], said: str) -> None:
    (project / "data").mkdir(exist_ok=True)
    (project / "data" / name).mkdir() if name == "folder" else (project / "data" / name).write_text("a,b\n1,2\n")
    with pytest.raises(FlywheelError, match=said):
        init_task("x", Path("data") / name, wanted=Wanted(**options))  # type: ignore[arg-type]


def test_awkward_names_survive_conf(project: Path, data: Any, with_tasks: Callable[..., None]) -> None:
    """Columns and classes that YAML reads as something else come back as they are."""
    with_tasks("digits")
    (project / "data").mkdir(exist_ok=True)
    names = {"length_0": "1e3", "length_1": "yes", "length_2": "a: b # c", "length_3": "'q\"", "species": "null"}
    frame = data.flowers(300).rename(columns=names).assign(fixed="x", other="y", key=[f"k{n}" for n in range(300)])
    frame = frame.rename(columns={"fixed": "on", "other": "\\${oc.env:HOME}", "key": "Key ID, ${a}.b[0]\n= 'c'"})
    frame["null"] = frame["null"].map({"setosa": "1e3", "versicolor": "no", "virginica": "#1"})
    frame.loc[0, "null"] = "rare"
    frame.to_csv(project / "data/a.csv", index=False)
    init_task("awkward", Path("data/a.csv"), wanted=Wanted(target="null"))
    task = yaml.safe_load((project / "params.yaml").read_text())["tasks"]["awkward"]
    assert task["data"]["reader"]["read"]["label_column"] == "null"
    assert task["preprocess"]["inputs"]["ignore"] == ["on", "\\${oc.env:HOME}"]
    assert task["preprocess"]["inputs"]["types"] == {"Key ID, ${a}.b[0]\n= 'c'": "identifier"}
    assert task["preprocess"]["target"]["classes"] == ["#1", "1e3", "no"]


def test_the_command_line_says_what_was_guessed(
    flowers: Path, run_flywheel: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = run_flywheel("command.cli", "init-task", "flowers", "--from", str(flowers), "--dry-run", COLUMNS="200")
    assert done.returncode == 0, done.stderr
    assert "its values are words: " in done.stdout
    assert "warning: With 120 rows the test set is small" in done.stdout
    assert "nothing was written (--dry-run)" in done.stdout
    done = run_flywheel("command.cli", "init-task", "flowers", "--from", str(flowers), "--target", "speces")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "flywheel: error: data/flowers.csv: no column 'speces'; did you mean 'species'?"
    ]


def test_looking_at_a_table_loads_nothing_heavy(project: Path, flowers: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom flywheel.init_task.verb import init_task\n"
        f"init_task('x', Path({str(flowers)!r}), dry_run=True)\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=project)
    heavy = {"torch", "pytorch_lightning", "mlflow", "matplotlib", "sklearn", "hydra", "scipy", "soundfile", "PIL"}
    assert not heavy & set(done.stdout.split())


def test_a_folder_with_train_and_test_tables_takes_train(project: Path, data: Any) -> None:
    folder = project / "data/competition"
    folder.mkdir(parents=True)
    frame = data.flowers().rename(columns={"species": "kind of flower"})
    frame[["kind of flower", *frame.columns[:-1]]].to_csv(folder / "train.csv", index=False)
    frame.drop(columns="kind of flower").to_csv(folder / "Test.csv.gz", index=False)
    (folder / "sample_submission.csv").write_text("id\n1\n")
    made = init_task("flowers", Path("data/competition"), dry_run=True)
    assert 'uri: "file:data/competition/train.csv"' in made.files["conf/data/flowers.yaml"]
    notes = {note.what: (note.guess, note.why) for note in made.guess.notes}
    assert notes["target"] == ("kind of flower", "Test.csv.gz lacks it alone")
    assert notes["file"][0] == "train.csv"


def test_in_a_terminal_the_target_is_asked_for(project: Path, root: Path) -> None:
    """A person answers by the number of the column."""
    import pty

    (project / "data").mkdir(exist_ok=True)
    (project / "data/a.csv").write_text(
        "beds,lat,long\n" + "".join(f"{n % 4},{n}.25,{n * 7 % 40}.5\n" for n in range(40))
    )
    command = [sys.executable, "-m", "flywheel.command.cli", "init-task", "a", "--from", "data/a.csv", "--dry-run"]
    env = {**os.environ, "PYTHONPATH": str(root / "src"), "COLUMNS": "200"}
    refused = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "the target is not certain: it may be 'long' (number), 'lat' (number), 'beds' (number)" in refused.stderr
    leader, follower = pty.openpty()
    os.write(leader, b"nothing\n3\n")
    done = subprocess.Popen(command, cwd=project, env=env, stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    said = b""
    while True:
        try:
            said += os.read(leader, 65536)
        except OSError:  # the terminal is gone with its last program
            break
    os.close(leader)
    assert done.wait() == 0
    assert "'nothing' is not one of them" in said.decode()
    assert "label_column: beds" in said.decode()
