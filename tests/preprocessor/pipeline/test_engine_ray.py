"""Ray Data as the engine, on a cluster of two nodes: the same bytes, the same errors, and what a kill leaves."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest

from flywheel.preprocessor.pipeline.engine import LocalEngine, Pass, RawData
from flywheel.preprocessor.pipeline.engine_ray import RayEngine, ray_engine
from flywheel.preprocessor.pipeline.run import preprocess
from flywheel.project.compose import compose_task
from flywheel.project.config import TaskConfig
from flywheel.project.errors import DataError, FlywheelError
from flywheel.project.params import task_from
from flywheel.project.ray_cluster import set_up
from flywheel.project.types import Split

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray_data"), pytest.mark.timeout(900)]

TASKS = {  # task -> fixture, overrides; of image, text, audio, table and interactions, from files of every kind
    "fashion": ("fashion_mnist", []),
    "mnist5k": ("mnist5k", []),
    "pets": ("pets", ["preprocess.inputs.image_size=[8,8]", "preprocess.inputs.channels=3"]),
    "tweets": ("tweets", []),
    "spoken_digits": ("spoken_digits", ["preprocess=audio_quantised", "preprocess.inputs.vocabulary_size=20"]),
    "joint": ("joint", []),
    "movielens": ("movielens", []),
    "breast_cancer": ("breast_cancer", []),
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a Ray cluster of two nodes on 127.0.0.1, with a processor each."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tempfile.mkdtemp(prefix="fw-ray-")
        patch.setenv("RAY_TMPDIR", folder)
        (Path(folder) / "ray").mkdir()
        set_up(own=True)
        from ray.cluster_utils import Cluster

        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
            made.add_node(num_cpus=1)
            yield made.address
        finally:
            made.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def connection(cluster: str) -> Iterator[None]:
    """One connection for the tests in this process; the engine uses one that is there."""
    from flywheel.preprocessor.pipeline.engine_ray import connected

    with connected(cluster):
        yield


def raw_of(fixture: Path, target: Path) -> Path:
    """Put a fixture where the download stage would (IDX files unpacked, as conf/data/ says), or make raw data."""
    if fixture.name == "breast_cancer":
        import sklearn.datasets

        target.mkdir()
        shutil.copy(Path(sklearn.datasets.__file__).parent / "data/breast_cancer.csv", target)
        return target
    if fixture.name == "joint":
        target.mkdir()
        rows = [f"a {'quiet' if row % 3 else 'loud'} room {row},{row % 7},{'north' if row % 2 else 'south'},{row % 11}"
                for row in range(300)]  # fmt: skip
        (target / "rooms.csv").write_text("\n".join(["about,size,side,price", *rows]) + "\n")
        return target
    shutil.copytree(fixture, target)
    for file in target.glob("*-ubyte.gz"):
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    return target


def task_of(root: Path, name: str, overrides: list[str], **settings: Any) -> TaskConfig:
    task = task_from(compose_task(root, [f"task={name}", *overrides]), name)
    return replace(task, preprocess=replace(task.preprocess, **settings))


def pets(root: Path) -> TaskConfig:
    task = task_of(root, "fashion", TASKS["pets"][1])
    read = {"_target_": "flywheel.modality.image.data.folder.ImageFolderReader"}
    target = {"_target_": "flywheel.preprocessor.target.ClassTarget"}
    reader = replace(task.data.reader, read=read)
    return replace(task, data=replace(task.data, reader=reader), preprocess=replace(task.preprocess, target=target))


def joint(root: Path) -> TaskConfig:
    """A text and a table side by side, with a number to learn."""
    task = task_of(root, "breast_cancer", ["preprocess=tabular_number"])
    read = {"_target_": "flywheel.reader.table.TableReader", "path": "rooms.csv", "label_column": "price"}
    word = {"_target_": "flywheel.modality.text.data.tokeniser.word.WordTokeniser"}
    parts = {
        "about": {
            "_target_": "flywheel.modality.text.data.preprocessor.TextPreprocessor",
            "column": "about",
            "tokeniser": word,
        },
        "table": {
            "_target_": "flywheel.modality.tabular.data.preprocessor.TabularPreprocessor",
            "types": {"size": "number"},
        },
    }
    inputs = {"_target_": "flywheel.modality.joint.data.preprocessor.JointPreprocessor", "parts": parts}
    inputs["columns"] = {"about": ["about"], "table": ["size", "side"]}
    data = replace(task.data, reader=replace(task.data.reader, read=read))
    return replace(task, data=data, preprocess=replace(task.preprocess, inputs=inputs))


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@pytest.mark.parametrize("name", TASKS)
def test_every_file_is_the_same_as_of_the_local_engine(root: Path, tmp_path: Path, connection: None, name: str) -> None:
    fixture, overrides = TASKS[name]
    own = {"pets": pets, "joint": joint}
    task = own[name](root) if name in own else task_of(root, name, overrides)
    raw, feedback = raw_of(root / "tests/fixtures" / fixture, tmp_path / "raw"), tmp_path / "feedback"
    if name == "tweets":
        feedback.mkdir()
        said = pd.DataFrame({"text": [f"what a day {row}" for row in range(9)], "label": ["positive"] * 9})
        said.to_parquet(feedback / "said.parquet")
    made = {}
    for engine, rows in (("local", 4096), ("ray", 13)):
        settings = replace(task.preprocess, engine=engine, chunk_rows=rows)
        preprocess(replace(task, preprocess=settings), raw, feedback, tmp_path / engine)
        made[engine] = contents(tmp_path / engine)
    assert len(made["local"]) >= 7
    assert made["ray"] == made["local"]


class Numbers:
    """A reader of made-up rows; `broken` is a row that its files do not have."""

    def __init__(self, rows: int, *, ranges: bool = True, broken: int | None = None) -> None:
        self.rows, self.ranges, self.broken = rows, ranges, broken

    def read(self, raw_dir: Path) -> dict[str, Split]:
        def between(first: int, end: int, rows: int) -> Iterator[pd.DataFrame]:
            for start in range(first, end, rows):
                index = range(start, min(start + rows, end))
                if self.broken in index:
                    raise DataError(raw_dir / "numbers", self.broken, "is torn", fix="fix it")
                yield pd.DataFrame({"number": list(index), "label": "a"}, index=pd.RangeIndex(index.start, index.stop))

        split = Split(self.rows, lambda rows: between(0, self.rows, rows), "numbers", between if self.ranges else None)
        return {"train": split}


def engines(folder: Path, reader: Numbers) -> tuple[LocalEngine, RayEngine]:
    (folder / "raw").mkdir(exist_ok=True)
    raw = RawData(reader, folder / "raw", folder / "feedback")
    splits = raw.own()
    return LocalEngine(splits), RayEngine(raw, splits)


def by_value(work: Callable[..., Any]) -> Callable[..., Any]:
    """Workers cannot import this module: send what it defines as it is."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return work


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "stream"])
def test_work_is_done_elsewhere_and_comes_back_in_order(tmp_path: Path, connection: None, ranges: bool) -> None:
    parts = np.arange(2000, dtype=np.int64) % 3 - 1
    one = Pass("train", "look", 50, parts.astype(np.int8))

    def work(frame: pd.DataFrame, given: Any) -> tuple[int, list[int], list[int]]:
        time.sleep(0.02 if frame.index[0] < 400 else 0.0)  # the first are the last to be done
        return os.getpid(), frame["number"].tolist(), given.tolist()

    local, ray = engines(tmp_path, Numbers(2000, ranges=ranges))
    found = list(ray.each(one, by_value(work)))
    wanted = list(local.each(one, work))
    assert [row for _, numbers, _ in found for row in numbers] == [row for _, numbers, _ in wanted for row in numbers]
    assert [part for _, _, given in found for part in given] == [part for _, _, given in wanted for part in given]
    assert os.getpid() not in {pid for pid, _, _ in found}
    assert len({pid for pid, _, _ in found}) >= 2


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "stream"])
def test_an_error_is_the_very_one_of_the_local_engine(tmp_path: Path, connection: None, ranges: bool) -> None:
    def work(frame: pd.DataFrame, _: Any) -> int:
        if 777 in frame.index:
            raise DataError("numbers", 777, "is no number", fix="fix it")
        return len(frame)

    one = Pass("train", "look", 10)
    for reader in (Numbers(1000, ranges=ranges), Numbers(1000, ranges=ranges, broken=333)):
        said = []
        for engine in engines(tmp_path, reader):
            with pytest.raises(DataError) as caught:
                list(engine.each(one, by_value(work)))
            said.append((str(caught.value), caught.value.row, caught.value.fix))
        assert said[0] == said[1]


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "stream"])
def test_a_killed_worker_costs_nothing_but_time(tmp_path: Path, connection: None, ranges: bool) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()

    def work(frame: pd.DataFrame, _: Any) -> list[int]:
        mark = marks / str(frame.index[0])
        if frame.index[0] % 300 == 0 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return list(frame["number"])

    _, ray = engines(tmp_path, Numbers(1000, ranges=ranges))
    found = [row for rows in ray.each(Pass("train", "look", 100), by_value(work)) for row in rows]
    assert found == list(range(1000))
    assert len(list(marks.iterdir())) == 4


def test_rows_that_kill_every_worker_are_given_up(tmp_path: Path, connection: None) -> None:
    def work(frame: pd.DataFrame, _: Any) -> int:
        if 500 in frame.index:
            os.kill(os.getpid(), signal.SIGKILL)
        return len(frame)

    _, ray = engines(tmp_path, Numbers(1000))
    with pytest.raises(FlywheelError, match=r"4 processes died in a row at 'look'.*; lower preprocess\.chunk_rows"):
        list(ray.each(Pass("train", "look", 500), by_value(work)))


def test_a_kill_from_outside_changes_no_byte(root: Path, tmp_path: Path, cluster: str, connection: None) -> None:
    task = task_of(root, "spoken_digits", [], chunk_rows=8)
    raw = raw_of(root / "tests/fixtures/spoken_digits", tmp_path / "raw")
    preprocess(task, raw, tmp_path / "none", tmp_path / "local")
    killed: list[int] = []
    done = threading.Event()

    def kill() -> None:
        while not done.is_set() and len(killed) < 3:
            for process in psutil.process_iter(["name", "cmdline", "ppid"]):
                title = " ".join(process.info["cmdline"] or [])
                if title.startswith("ray::MapBatches") and process.pid not in killed and ours(process):
                    process.kill()
                    killed.append(process.pid)
                    time.sleep(1.5)
                    break
            time.sleep(0.005)

    def ours(process: psutil.Process) -> bool:
        return any(parent.pid == os.getpid() for parent in process.parents())

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        settings = replace(task.preprocess, engine="ray")
        preprocess(replace(task, preprocess=settings), raw, tmp_path / "none", tmp_path / "ray")
    finally:
        done.set()
        thread.join()
    assert killed
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")


def test_a_node_that_does_not_see_the_data_says_so(tmp_path: Path, connection: None) -> None:
    _, ray = engines(tmp_path, Numbers(100))
    ray._opening = replace(ray._opening, folder=Path("/nowhere"), raw=replace(ray._opening.raw, raw_dir=Path("raw")))
    with pytest.raises(FlywheelError, match=r"/nowhere/raw: node \S+ does not see this folder; put the project on"):
        list(ray.each(Pass("train", "look", 50), by_value(lambda frame, _: len(frame))))


def test_a_node_that_sees_other_data_says_so(tmp_path: Path, connection: None) -> None:
    _, ray = engines(tmp_path, Numbers(100))
    ray._opening = replace(ray._opening, raw=replace(ray._opening.raw, reader=Numbers(99)))
    with pytest.raises(FlywheelError, match="sees 99 train rows here, not 100"):
        list(ray.each(Pass("train", "look", 50), by_value(lambda frame, _: len(frame))))


def test_a_connection_that_was_there_stays(cluster: str, connection: None, tmp_path: Path) -> None:
    import ray

    local, _ = engines(tmp_path, Numbers(10))
    raw = RawData(Numbers(10), tmp_path / "raw", tmp_path / "none")
    with ray_engine(None, raw, local.splits) as engine:
        assert [len(frame) for frame, _ in engine.frames(Pass("train", "look", 4))] == [4, 4, 2]
    assert ray.is_initialized()


@pytest.fixture
def stage(project: Path, root: Path, with_tasks: Callable[..., None]) -> Path:
    """A project with the one task `digits`, whose raw data are there, for the engine `ray`."""
    task = project / "conf/task/digits.yaml"
    task.write_text(task.read_text() + "preprocess:\n  engine: ray\n")
    with_tasks("digits")
    shutil.copytree(root / "tests/fixtures/digits", project / "data/raw/digits")
    return project


def processes_of(folder: Path) -> list[str]:
    """The command lines that name a folder."""
    lines = [" ".join(one.info["cmdline"] or []) for one in psutil.process_iter(["cmdline"])]
    return [line for line in lines if str(folder) in line]


@pytest.mark.end_to_end
def test_the_stage_starts_a_cluster_of_its_own_and_leaves_nothing(
    stage: Path, run_flywheel: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    temporary = Path(tempfile.mkdtemp(prefix="f-", dir="/tmp"))
    try:
        done = run_flywheel(
            "preprocess", "--task", "digits", TMPDIR=str(temporary), RAY_ADDRESS="", DVC_EXP_NAME="test"
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        assert done.stderr.splitlines() == [
            "digits: train 51, validation 13, test 16; dropped: 0 bad rows, 0 duplicates within train, "
            "0 equal to a held-out row"
        ]
        assert list(temporary.iterdir()) == []
        assert processes_of(temporary) == []
    finally:
        shutil.rmtree(temporary)


def test_training_makes_its_data_on_the_cluster_of_ray_address(
    stage: Path, run_flywheel: Callable[..., subprocess.CompletedProcess[str]], cluster: str
) -> None:
    words = ["task=digits", "trainer.max_epochs=1", "trainer.accelerator=cpu"]
    done = run_flywheel("train", *words, RAY_ADDRESS=cluster)
    assert done.returncode == 0, done.stderr
    cached = [file.parent for file in (stage / ".flywheel/cache/processed").glob("*/meta.json")]
    assert len(cached) == 1
    assert json.loads((cached[0] / "meta.json").read_text())["num_rows"]["train"] > 0


def test_a_bad_row_is_one_line_and_exit_code_two(
    stage: Path, run_flywheel: Callable[..., subprocess.CompletedProcess[str]], cluster: str
) -> None:
    file = stage / "data/raw/digits/digits.csv.gz"
    lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    broken = ["x" + line[1:] for line in lines[:20]] + lines[20:]
    file.write_bytes(gzip.compress(("\n".join(broken) + "\n").encode()))
    said = []
    for engine in ("ray", "local"):
        params = (stage / "params.yaml").read_text()
        (stage / "params.yaml").write_text(params.replace("engine: ray", f"engine: {engine}"))
        done = run_flywheel("preprocess", "--task", "digits", RAY_ADDRESS=cluster, DVC_EXP_NAME="test")
        assert done.returncode == 2
        said.append(done.stderr)
    assert said[0] == said[1]
    assert len(said[0].splitlines()) == 1
    assert "digits.csv.gz, row 0: 20 of" in said[0]
    assert not (stage / "data/processed/digits").exists()


def test_a_killed_main_process_takes_its_cluster_along(root: Path) -> None:
    temporary = Path(tempfile.mkdtemp(prefix="f-", dir="/tmp"))
    program = (
        "import sys, time; from flywheel.preprocessor.pipeline.engine_ray import connected\n"
        "with connected(None):\n    print('up', flush=True)\n    time.sleep(float(sys.argv[1]))"
    )
    env = {**os.environ, "PYTHONPATH": str(root / "src"), "TMPDIR": str(temporary), "RAY_ADDRESS": ""}

    try:
        main = subprocess.Popen([sys.executable, "-c", program, "600"], env=env, stdout=subprocess.PIPE, text=True)
        with main:
            assert main.stdout is not None
            assert main.stdout.readline() == "up\n"
            assert processes_of(temporary)
            main.kill()
        end = time.monotonic() + 60
        while processes_of(temporary) and time.monotonic() < end:
            time.sleep(0.2)
        assert processes_of(temporary) == []
        subprocess.run([sys.executable, "-c", program, "0"], env=env, check=True, capture_output=True)
        assert list(temporary.iterdir()) == []
    finally:
        shutil.rmtree(temporary)
