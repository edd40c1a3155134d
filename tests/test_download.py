"""The stage `download`, as DVC calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flywheel.project.instantiate import build
from flywheel.project.kind import READER
from flywheel.project.params import load_params, load_task
from flywheel.source.check import check_download

Run = Callable[..., subprocess.CompletedProcess[str]]
HEAVY = {"torch", "pytorch_lightning", "mlflow", "pandas", "numpy", "sklearn", "matplotlib", "hydra", "requests"}


@pytest.fixture
def digits(project: Path, with_tasks: Callable[..., None]) -> Path:
    """Where the raw files of the only task will be."""
    with_tasks("digits")
    return project / "data/raw/digits"


def edit_params(change: Callable[[dict[str, Any]], None]) -> None:
    """Change the data set of `params.yaml`, which is YAML whatever it is written as."""
    params = load_params()
    change(params["tasks"]["digits"]["data"])
    Path("params.yaml").write_text(json.dumps(params))


def everything(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files_record_and_origin_are_written_and_equal_the_second_time(digits: Path, run_flywheel: Run) -> None:
    done = run_flywheel("download", "--task", "digits")
    assert done.returncode == 0, done.stderr
    assert "digits: digits.csv.gz, 57.5 kB, from bundled:sklearn/digits.csv.gz\n" in done.stderr
    first = everything(digits)
    record = json.loads(first["source.json"])
    assert (record["uri"], record["licence"]) == ("bundled:sklearn/digits.csv.gz", "CC-BY-4.0")
    assert record["sha256"] == {"digits.csv.gz": load_task("digits").data.download.files["digits.csv.gz"].sha256}
    assert run_flywheel("download", "--task", "digits").returncode == 0
    assert everything(digits) == first
    origin = json.loads(Path(".flywheel/source/digits.json").read_text())
    assert origin["obtained_from"]["digits.csv.gz"]["uri"] == "bundled:sklearn/digits.csv.gz"


def test_a_failure_is_one_line_and_leaves_the_good_files(digits: Path, run_flywheel: Run) -> None:
    run_flywheel("download", "--task", "digits")
    good = everything(digits)
    edit_params(lambda data: data["download"]["files"]["digits.csv.gz"].update(sha256="0" * 64))
    done = run_flywheel("download", "--task", "digits")
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("flywheel: error:")]
    assert len(errors) == 1
    assert f"promised was {'0' * 64}" in errors[0]
    assert "Traceback" not in done.stderr
    assert everything(digits) == good
    assert [path.name for path in digits.parent.iterdir() if path.name.startswith(".digits")] == []


def test_an_own_csv_is_taken_without_a_sum(digits: Path, run_flywheel: Run) -> None:
    Path("own.csv").write_text("1,2\n")
    edit_params(lambda data: data.update(download={"sources": [{"uri": "file:own.csv"}]}))
    done = run_flywheel("download", "--task", "digits")
    assert done.returncode == 0, done.stderr
    assert (digits / "own.csv").read_text() == "1,2\n"
    assert list(json.loads((digits / "source.json").read_text())["sha256"]) == ["own.csv"]


def test_what_comes_out_of_the_store_keeps_its_origin(digits: Path, run_flywheel: Run, tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    (served / "toys.csv").write_text("1,2\n")
    program = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(served)]
    environment = {"NO_PROXY": "*", "FLYWHEEL_MIRROR": ""}
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            uri = f"http://127.0.0.1:{server.stdout.readline().split()[5]}/toys.csv"
            edit_params(lambda data: data.update(download={"sources": [{"uri": uri}]}))
            runs = [run_flywheel("download", "--task", "digits", **environment) for _ in range(2)]
        finally:
            server.kill()
    origins = [run.stderr.splitlines()[-1].partition(" from ")[2] for run in runs]
    assert origins == [uri, "the store (downloaded before)"]
    origin = json.loads(Path(".flywheel/source/digits.json").read_text())
    assert origin["obtained_from"]["toys.csv"]["uri"] == uri


def test_nothing_heavy_is_imported(digits: Path, run_flywheel: Run) -> None:
    run_flywheel("download", "--task", "digits")  # composes conf/ once, to know its hash
    program = (
        "import sys; from flywheel.download import download; from flywheel.project.stage import run_stage\n"
        "code = run_stage('download', download, ['--task', 'digits']); print(*sys.modules); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert HEAVY & set(done.stdout.split()) == set()


@pytest.mark.parametrize("task", ["digits", "fashion", "mnist", "mnist5k"])
def test_the_projects_own_data_sets_are_complete(project: Path, with_tasks: Callable[..., None], task: str) -> None:
    with_tasks(task)
    data = load_task(task).data
    check_download(data)
    assert data.homepage
    assert all(file.sha256 and file.num_bytes for file in data.download.files.values())
    read = {key: value for key, value in data.reader.read.items() if key != "_target_"}
    named = {value for value in read.values() if isinstance(value, str)}
    assert named == set(data.download.files)  # the reader reads just what is downloaded
    assert build(data.reader.read, READER, where="data.reader.read").classes in (None, read.get("classes"))
