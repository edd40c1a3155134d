import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests import forked

from flywheel.project.errors import ConfigError, StoreError
from flywheel.project.experiment import address, mark
from flywheel.project.flatten import as_text, flatten
from flywheel.project.tracking import (
    artifact_root,
    experiment_id,
    find_run,
    open_run,
    open_to_read,
    prepare,
    start_run,
    store_must_work,
    tracking_uri,
)


def test_settings_flatten_to_readable_names() -> None:
    settings = {
        "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.1, "betas": [0.9, 0.99]},
        "model": {"name": "mlp", "net": {"_target_": "flywheel.model.mlp.MLP", "hidden": [64]}},
        "empty": {},
    }
    assert flatten(settings) == {
        "optimizer": "torch.optim.Adam",
        "optimizer.lr": 0.1,
        "optimizer.betas": [0.9, 0.99],
        "model.name": "mlp",
        "model.net": "flywheel.model.mlp.MLP",
        "model.net.hidden": [64],
        "empty": {},
    }


def test_names_of_columns_come_back_whatever_they_hold() -> None:
    types = {
        "Customer (CRM), ID": "identifier",
        "a.b": "number",
        "über/[0]": "category",
        '"': "date",
        "x" * 300: "date",
    }
    (key,), (value,) = zip(*flatten({"preprocess": {"inputs": {"types": types}}}).items(), strict=True)
    assert key == "preprocess.inputs.types"
    assert json.loads(as_text(value)) == types


def test_what_mlflow_refuses_is_no_full_disk(project: Path) -> None:
    run = start_run("digits", name="one", resume_key="k", resume=False, tags={})
    with pytest.raises(ConfigError) as caught, store_must_work():
        run.log_metrics({"f1 (macro), test": 0.5})
    assert not isinstance(caught.value, StoreError)
    assert "MLflow refuses what it is to keep" in str(caught.value)
    assert "f1 (macro), test" in str(caught.value)
    assert "space" not in str(caught.value.fix)


def test_the_store_is_the_main_checkout_s_and_absolute(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking_uri() == f"sqlite:///{project / 'mlflow.db'}"
    monkeypatch.chdir(project / "conf")
    assert tracking_uri() == f"sqlite:///{project / 'mlflow.db'}"
    assert artifact_root() == (project / "mlartifacts").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert tracking_uri() == "http://127.0.0.1:1"
    assert artifact_root() is None


@pytest.mark.parametrize("name", ["p%q", "p?q", "p%23q", "p#q 'r' é"])
def test_a_project_s_folder_may_have_any_name(
    tmp_path: Path, mlflow_store: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    home = tmp_path / name
    home.mkdir()
    (home / "mlflow.db").write_bytes(mlflow_store.read_bytes())
    monkeypatch.setenv("DVC_ROOT", str(home))
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(variable, raising=False)
    run = start_run("digits", name="a", resume_key="k", resume=False, tags={})
    run.log_text("x", "config.yaml")
    run.end()
    client = open_to_read()
    assert [file.path for file in client.list_artifacts(run.run_id)] == ["config.yaml"]
    assert len([*home.rglob("config.yaml")]) == 1
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_killed_run_is_gone_on_with_and_older_ones_are_closed(project: Path) -> None:
    first = start_run("t", name="a", resume_key="k", resume=False, tags={})
    second = start_run("t", name="b", resume_key="k", resume=False, tags={})
    other = start_run("t", name="c", resume_key="other", resume=False, tags={})
    assert first.client.get_run(first.run_id).info.status == "KILLED"
    resumed = start_run("t", name="d", resume_key="k", resume=True, tags={})
    assert resumed.run_id == second.run_id
    assert resumed.client.get_run(other.run_id).info.status == "RUNNING"
    resumed.end()
    other.end("FAILED")
    start_run("t", name="f", resume_key="other", resume=False, tags={})
    assert resumed.client.get_run(other.run_id).info.status == "FAILED"
    afresh = start_run("t", name="e", resume_key="k", resume=False, tags={})
    assert afresh.run_id not in (first.run_id, second.run_id)


def test_a_run_is_found_by_the_weights_it_made(project: Path) -> None:
    assert find_run("t", "a" * 64) is None
    with open_run("t", "a" * 64) as made:
        pass
    assert find_run("t", "a" * 64) == made
    with open_run("t", "a" * 64) as again:
        assert again == made
    assert prepare().get_run(made).info.status == "FINISHED"


def test_a_deleted_experiment_comes_back(project: Path) -> None:
    client = prepare()
    made = experiment_id(client, "t")
    client.delete_experiment(made)
    assert experiment_id(client, "t") == made
    assert client.get_experiment(made).lifecycle_stage == "active"


def test_experiments_are_shown_as_model_training_and_the_empty_default_goes(project: Path) -> None:
    client = prepare()
    made = client.get_experiment(experiment_id(client, "digits"))
    assert made.tags["mlflow.experimentKind"] == "custom_model_development"
    assert [one.name for one in client.search_experiments()] == ["digits"]
    prepare()
    assert [one.name for one in client.search_experiments()] == ["digits"], "MLflow does not make it again"
    client.set_experiment_tag(made.experiment_id, "mlflow.experimentKind", "genai_development")
    mark(client)
    assert client.get_experiment(made.experiment_id).tags["mlflow.experimentKind"] == "custom_model_development"
    assert "workflowType=machine_learning" in address(5000, made.experiment_id)


def test_a_default_experiment_that_somebody_uses_stays(project: Path) -> None:
    client = prepare()
    client.create_run("0")
    experiment_id(client, "digits")
    assert {one.name for one in client.search_experiments()} == {"Default", "digits"}


def test_the_machine_is_watched_unless_that_is_switched_off(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    seen = {}
    for wanted in ("true", "false"):
        monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", wanted)
        run = start_run("digits", name=wanted, resume_key=wanted, resume=False, tags={})
        with run.watched_machine():
            end = time.monotonic() + (20 if wanted == "true" else 0.3)
            while time.monotonic() < end and not run.client.get_run(run.run_id).data.metrics:
                time.sleep(0.05)
        seen[wanted] = set(run.client.get_run(run.run_id).data.metrics)
    assert "system/cpu_utilization_percentage" in seen["true"]
    assert seen["false"] == set()


def test_a_store_that_cannot_be_opened_is_one_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "mlflow.db").write_bytes(b"no database" * 1000)
    with pytest.raises(ConfigError) as error:
        prepare()
    assert "MLflow's store cannot be opened" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_server_that_is_not_there_is_one_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ConfigError, match="check MLFLOW_TRACKING_URI"):
        prepare()


@pytest.mark.slow
def test_processes_that_open_a_fresh_store_at_once_do_not_break_it(project: Path) -> None:
    (project / "mlflow.db").unlink()
    program = (
        "from flywheel.project.tracking import start_run\nimport sys\n"
        "start_run('t', name=sys.argv[1], resume_key=sys.argv[1], resume=False, tags={}).end()"
    )
    env = {**os.environ, "PYTHONPATH": str(project / "src")}
    processes = [
        forked.Popen([sys.executable, "-c", program, str(i)], cwd=project, env=env, stderr=subprocess.PIPE, text=True)
        for i in range(4)
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    client = prepare()
    assert len(client.search_runs([experiment_id(client, "t")])) == 4


def test_ctrl_c_waits_until_what_is_written_is_in_the_store(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = start_run("digits", name="one", resume_key="k", resume=False, tags={})
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    log_batch = run.client.log_batch

    def interrupted(*words: Any, **named: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        log_batch(*words, **named)

    monkeypatch.setattr(run.client, "log_batch", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            run.log_metrics({"validation/loss": 0.5}, step=1)
        assert run.logged_epochs() == {1}
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

        monkeypatch.setattr(run.client, "set_terminated", lambda *_, **__: [os.kill(os.getpid(), 2) for _ in "ab"])
        with pytest.raises(KeyboardInterrupt):  # the second is not held
            run.end()
    finally:
        signal.signal(signal.SIGINT, before)
