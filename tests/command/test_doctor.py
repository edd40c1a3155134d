import json
from pathlib import Path

import pytest

from flywheel.command.doctor import Finding, examine


def findings(what: str) -> list[Finding]:
    return [finding for finding in examine() if finding.what.startswith(what)]


def test_a_sound_project_has_nothing_bad_but_maybe_its_network(project: Path, with_tasks, root: Path) -> None:
    with_tasks("digits")
    (project / "constraints.txt").write_text((root / "constraints.txt").read_text())
    found = list(examine())
    assert {
        "python",
        "packages",
        "disk",
        "git",
        "dvc",
        "params",
        "torch",
        "mlflow",
        "port 5000",
        "source of digits",
    } <= {finding.what for finding in found}
    assert [finding for finding in found if finding.state == "bad"] == []


def test_each_trouble_is_named_with_its_fix(project: Path) -> None:
    (project / "constraints.txt").write_text("torch==1.0\n")
    (project / ".dvc/config").unlink()
    (project / "params.yaml").write_text("tasks: {}\n")
    (project / "mlflow.db").write_bytes(b"no database" * 1000)
    found = {finding.what: finding for finding in examine()}
    assert found["packages"].state == "warn"
    assert "not 1.0" in found["packages"].said
    assert found["dvc"].state == "bad"
    assert found["params"].fix == "run `make params`"
    assert found["mlflow"].state == "bad"
    assert all(finding.fix for finding in found.values() if finding.state != "ok")


def test_a_registry_that_was_lost_is_named(project: Path) -> None:
    (project / "artifacts/digits").mkdir(parents=True)
    (project / "artifacts/digits/registered.json").write_text("{}")
    (found,) = findings("registry")
    assert (found.state, found.fix) == ("warn", "run `dvc repro -f -s register@digits`")


def test_a_model_that_was_registered_elsewhere_is_named(at_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `git pull` and `dvc pull` of what a colleague has trained."""
    monkeypatch.chdir(at_store)
    decision = at_store / "artifacts/digits/decision.json"
    before = decision.read_text()
    assert findings("registry")[0].state == "ok"
    decision.write_text(json.dumps({**json.loads(before), "candidate": "0" * 64}))
    try:
        (found,) = findings("registry")
    finally:
        decision.write_text(before)
    assert (found.state, found.fix) == ("warn", "run `dvc repro -f -s register@digits`")


def test_a_missing_params_file_is_a_finding_not_a_crash(project: Path) -> None:
    (project / "params.yaml").unlink()
    assert any(finding.state == "bad" and "make params" in finding.fix for finding in findings("params"))


def test_half_a_dvc_lock_is_named_with_the_command_that_puts_it_back(project: Path) -> None:
    (project / "dvc.lock").write_text("schema: '2.0'\nstages:\n  train@a:\n    cmd: x\n    deps:\n    - path")
    (found,) = findings("dvc")
    assert (found.state, found.said[:8]) == ("bad", "dvc.lock")
    assert "run `flywheel params`" in found.fix
