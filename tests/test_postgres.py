"""PostgreSQL as MLflow's store and the studies' database, against a real server: shared, killed, and its password."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
from tests import forked

from flywheel.project.database import one_at_a_time, with_driver
from flywheel.project.errors import ConfigError, StoreError
from flywheel.project.tracking import artifact_root, experiment_id, prepare, start_run
from flywheel.sweep.search.folder import read_plan, trials_in
from flywheel.sweep.search.storage import STORAGE, open_storage

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("postgres")]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def tracked(project: Path, postgres: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh database as MLflow's store; its address."""
    (project / "mlflow.db").unlink()
    url = str(postgres.url(postgres.new_database()))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    return url


@pytest.fixture
def studied(postgres: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh database for studies; its address."""
    url = str(postgres.url(postgres.new_database()))
    monkeypatch.setenv(STORAGE, url)
    return url


_started: list[subprocess.Popen[bytes]] = []


@pytest.fixture(autouse=True)
def _nothing_is_left_running() -> Iterator[None]:
    yield
    for process in _started:
        with contextlib.suppress(ProcessLookupError):  # workers outlive the process that a test has killed
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    _started.clear()


def start(project: Path, *words: str, module: str = "train") -> subprocess.Popen[bytes]:
    env = {**os.environ, "PYTHONPATH": str(project / "src")}
    command = [sys.executable, "-m", f"flywheel.{module}", *words]
    with (project / "said.log").open("ab") as log:
        process = forked.Popen(command, cwd=project, env=env, stdout=log, stderr=log, start_new_session=True)
    _started.append(process)
    return process


def said(project: Path) -> str:
    return (project / "said.log").read_text()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 400) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "it ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def runs_of(task: str) -> list[Any]:
    client = prepare()
    return list(client.search_runs([client.get_experiment_by_name(task).experiment_id]))


def texts_with(place: Path, *words: str) -> list[Path]:
    """Files that hold one of the words."""
    wanted = [word.encode() for word in words]
    files = [file for file in place.rglob("*") if file.is_file() and not file.is_symlink()]
    return [file for file in files if any(word in file.read_bytes() for word in wanted)]


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_the_schemes_that_people_write(project: Path, postgres: Any, scheme: str, monkeypatch: Any) -> None:
    url = postgres.url(postgres.new_database(), scheme)
    assert open_storage(url).get_all_studies() == []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgres.url(postgres.new_database(), scheme))
    run = start_run("t", name="a", resume_key="k", resume=False, tags={})
    run.log_text("x", "x.txt")
    assert artifact_root() == (project / "mlartifacts").as_uri()
    assert len(list((project / "mlartifacts/t").rglob("x.txt"))) == 1


def test_the_password_may_be_in_libpq_s_own_file(project: Path, postgres: Any, monkeypatch: Any) -> None:
    passwords = project / "pgpass"
    passwords.write_text(f"127.0.0.1:{postgres.port}:*:flywheel:{postgres.PASSWORD}\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgres.url(postgres.new_database(), password=None))
    assert prepare().search_experiments()
    assert open_storage(postgres.url(postgres.new_database(), password=None)).get_all_studies() == []


def test_processes_that_open_fresh_databases_at_once_do_not_break_them(
    project: Path, tracked: str, studied: str
) -> None:
    program = (
        "import sys\nfrom flywheel.project.tracking import start_run\n"
        "from flywheel.sweep.search.storage import open_storage\n"
        "start_run('t', name=sys.argv[1], resume_key=sys.argv[1], resume=False, tags={}).end()\n"
        "open_storage(None).create_new_study([0], sys.argv[1])\n"
    )
    # Folders of their own, as on machines of their own: no file's lock is shared.
    env = {**os.environ, "PYTHONPATH": str(project / "src")}
    processes = []
    for number in range(4):
        (own := project / f"machine_{number}" / "tmp").mkdir(parents=True)
        own_env = env | {"DVC_ROOT": str(own.parent), "TMPDIR": str(own)}
        command = [sys.executable, "-c", program, str(number)]
        processes.append(forked.Popen(command, cwd=project, env=own_env, stderr=subprocess.PIPE, text=True))
    errors = [process.communicate(timeout=500)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    assert {run.info.status for run in runs_of("t")} == {"FINISHED"}
    assert len(runs_of("t")) == 4
    assert sorted(study.study_name for study in open_storage(None).get_all_studies()) == ["0", "1", "2", "3"]


def test_a_database_is_opened_by_one_at_a_time(project: Path, postgres: Any) -> None:
    url, order = with_driver(postgres.url(postgres.new_database())), []

    def second() -> None:
        with one_at_a_time(url, "x", not_beside="y"):
            order.append("second")

    thread = threading.Thread(target=second)
    with one_at_a_time(url, "x", not_beside="y"):
        thread.start()
        thread.join(0.5)
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]


def test_mlflow_and_the_studies_do_not_share_a_database(project: Path, postgres: Any, monkeypatch: Any) -> None:
    url = postgres.url(postgres.new_database())
    open_storage(url)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    with pytest.raises(ConfigError, match="give MLflow and the studies a database each") as error:
        prepare()
    assert postgres.PASSWORD not in str(error.value)
    other = postgres.url(postgres.new_database())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", other)
    prepare()
    with pytest.raises(ConfigError, match="give MLflow and the studies a database each"):
        open_storage(other)


def test_what_cannot_be_opened_is_one_line_without_the_password(project: Path, postgres: Any, monkeypatch: Any) -> None:
    for url, why in (
        (postgres.url("not_there"), "does not exist"),
        (postgres.url("postgres", password="wr0ng"), "password authentication failed"),
        (postgres.url("postgres", password=None), "no password supplied"),
        (postgres.url("postgres", "postgresql+pg8000"), r"flywheel\[postgres\]"),
        (postgres.url("postgres").replace(str(postgres.port), "1"), "refused"),
    ):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        for opened in (prepare, lambda url=url: open_storage(url)):
            with pytest.raises(StoreError, match=why) as error:
                opened()
            assert "\n" not in str(error.value)
            assert not any(word in str(error.value) for word in ("wr0ng", quote(postgres.PASSWORD, safe="")))


def test_a_sweep_that_is_killed_goes_on_and_its_password_is_written_nowhere(
    project: Path, postgres: Any, tracked: str, monkeypatch: Any
) -> None:
    studies = postgres.url(postgres.new_database())
    monkeypatch.delenv(STORAGE, raising=False)
    words = ["-m", "task=digits", "+sweep=random", "sweep.num_trials=6", "sweep.resume=auto", "trainer.max_epochs=6",
             "hydra/launcher=joblib", "sweep.slots=2", "sweep.pruner.name=asha", f"sweep.storage={studies}",
             "optimizer=sgd", "optimizer.lr=tag(log, interval(1e-4, 1))"]  # fmt: skip
    process = start(project, *words)

    def ended() -> int:
        folders = (project / ".flywheel/sweeps/digits").glob("*")
        return sum(trial.ended for folder in folders for trial in trials_in(folder))

    wait_for(lambda: ended() > 1, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = ended()
    assert start(project, *words).wait(timeout=500) == 0, said(project)
    (folder,) = (project / ".flywheel/sweeps/digits").glob("*")
    trials, plan = trials_in(folder), read_plan(folder)
    assert plan is not None
    assert plan.finished
    assert len(trials) == 6
    assert all(trial.ended for trial in trials)
    assert {trial.state for trial in trials} >= {"complete", "pruned"}
    assert f"{before} of 6 trials have ended" in said(project)
    runs = runs_of("digits")
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert [run.info.status for run in parents] == ["FINISHED"]
    assert parents[0].info.artifact_uri.startswith((project / "mlartifacts").as_uri())
    assert list((project / "mlartifacts/digits" / parents[0].info.run_id).rglob("jobs.csv"))
    # The password: in no file of the project, no tag or parameter, and not in what is said.
    secrets = (postgres.PASSWORD, quote(postgres.PASSWORD, safe=""))
    assert texts_with(project, *secrets) == []
    assert not any(secret in str(run.to_dictionary()) for run in runs for secret in secrets)
    assert f"flywheel@127.0.0.1:{postgres.port}" in plan.command


def test_a_server_that_dies_in_a_training_costs_one_line_and_no_epoch(
    project: Path, postgres: Any, tracked: str
) -> None:
    words = ("task=digits", "trainer.max_epochs=40")
    process = start(project, *words)
    wait_for(lambda: "epoch 5/40" in said(project), process)
    postgres.stop(signal.SIGQUIT)
    try:
        assert process.wait(timeout=500) == 2
    finally:
        postgres.start()
    last = [line for line in said(project).splitlines() if not line.startswith("epoch")][-1]
    assert "MLflow's store cannot be used" in last
    assert "Traceback" not in said(project)
    assert start(project, *words).wait(timeout=500) == 0, said(project)
    assert "resuming after epoch" in said(project)
    (run,) = runs_of("digits")
    assert run.info.status == "FINISHED"
    history = prepare().get_metric_history(run.info.run_id, "validation/loss")
    assert sorted(metric.step for metric in history) == list(range(1, 41))


def test_a_server_that_dies_in_a_sweep_fails_no_trial(project: Path, postgres: Any, tracked: str, studied: str) -> None:
    words = ["-m", "task=digits", "trainer.max_epochs=5", "hydra/launcher=joblib", "sweep.slots=2",
             "sweep.pruner.name=median", "seed=range(0,6)", "sweep.resume=auto"]  # fmt: skip
    process = start(project, *words)

    def has_ended() -> bool:
        folders = (project / ".flywheel/sweeps/digits").glob("*")
        return any(trial.ended for folder in folders for trial in trials_in(folder))

    wait_for(has_ended, process)
    postgres.stop(signal.SIGQUIT)
    try:
        assert process.wait(timeout=500) == 2, said(project)
    finally:
        postgres.start()
    assert "cannot be" in said(project).splitlines()[-1]
    assert "go on with:" in said(project)
    assert "Traceback" not in said(project)
    (folder,) = (project / ".flywheel/sweeps/digits").glob("*")
    assert "failed" not in {trial.state for trial in trials_in(folder)}
    assert start(project, *words).wait(timeout=500) == 0, said(project)
    assert len(trials_in(folder)) == 6
    assert {trial.state for trial in trials_in(folder)} <= {"complete", "pruned"}
    parents = [run for run in runs_of("digits") if "mlflow.parentRunId" not in run.data.tags]
    assert [run.info.status for run in parents] == ["FINISHED"]


@pytest.mark.end_to_end
def test_registry_and_trace_work_with_it(project: Path, digits: Any, tracked: str, run_flywheel: Run) -> None:
    from flywheel.register import register

    out = {"path": "data/processed/digits", "md5": "0123.dir"}
    (project / "dvc.lock").write_text(json.dumps({"stages": {"export@digits": {"deps": [out]}}}))
    digits.use("good", project)
    register(digits.task)
    listed = run_flywheel("command.cli", "registry", "list", "digits")
    assert "champion" in listed.stdout, listed.stderr
    traced = run_flywheel("command.cli", "trace", "digits@champion")
    assert "digits/1" in traced.stdout, traced.stderr
    looked = run_flywheel("command.cli", "doctor")
    assert "flywheel:***@127.0.0.1" in looked.stdout
    assert quote("Gr\u00fcn/se@cret", safe="") not in listed.stdout + traced.stdout + looked.stdout


def test_the_pages_are_served_from_it_and_no_process_shows_the_password(
    project: Path, tracked: str, postgres: Any
) -> None:
    client = prepare()
    client.create_run(experiment_id(client, "shown"))
    port = postgres.port + 1 if postgres.port < 60000 else postgres.port - 1
    process = start(project, "ui", "--port", str(port), module="command.cli")
    address = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/get-by-name?experiment_name=shown"
    found: dict[str, Any] = {}

    def answers() -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5) as answer:
            found.update(json.load(answer))
        return bool(found)

    wait_for(answers, process)
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    lines = " ".join(word for one in family for word in one.cmdline())
    assert found["experiment"]["artifact_location"] == f"{(project / 'mlartifacts').as_uri()}/shown"
    assert not any(secret in lines + said(project) for secret in (postgres.PASSWORD, quote(postgres.PASSWORD, safe="")))
