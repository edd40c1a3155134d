"""`flywheel monitor`: from a store of predictions to a page, figures, an exit code and an alert."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.monitor.conftest import Memory

from flywheel.project.errors import DataError, FlywheelError, RegistryError
from flywheel.watch import alert, in_service, period, watch


@pytest.fixture
def at_project(at_store: Path, root: Path, tmp_path: Path) -> Path:
    """Work with `digits_store` from a project of one's own; its `.flywheel/` is cleared of what monitors wrote."""
    shutil.copytree(root / "conf", tmp_path / "conf")
    (tmp_path / "dvc.yaml").touch()
    shutil.rmtree(at_store / ".flywheel/monitor", ignore_errors=True)
    return tmp_path


@pytest.fixture(scope="session")
def images(digits: Any) -> np.ndarray[Any, Any]:
    """Test pictures of digits, and their labels."""
    from safetensors.numpy import load_file

    return load_file(digits.folder / digits.processed / "test.safetensors")  # type: ignore[return-value]


@pytest.fixture
def traffic() -> Memory:
    """No traffic yet."""
    return Memory()


@pytest.fixture
def served(at_project: Path, images: Any, traffic: Memory) -> Any:
    """Fill traffic with test rows, as they are or turned round, answered by digits/1."""
    from flywheel.project.tracking import prepare
    from flywheel.registry import versions
    from flywheel.registry.package import open_package
    from flywheel.registry.request import frame_of

    client = prepare()
    version = versions.resolve(client, "digits", "champion")
    predictor = open_package(versions.folder_of(client, version), version.sums, threads=1)

    def fill(number: int, *, turned: bool = False, labelled: bool = False, keep: bool = True) -> Memory:
        pictures = images["image"][:number, 0]
        rows = [{"image": (np.rot90(one) if turned else one).tolist()} for one in pictures]
        answers = predictor.predict(frame_of(rows, predictor.preprocessor.inputs.schema()))
        ago = (datetime.now(UTC) - datetime(2026, 11, 25, 12, tzinfo=UTC)).total_seconds() / 60
        for place, (row, answer) in enumerate(zip(rows, answers.to_dict("records"), strict=True)):
            label = str(images["target"][place]) if labelled else None
            traffic.add(answer, row=row if keep else None, label=label, minutes=ago - number + place)
        return traffic

    return fill


def test_undrifted_traffic_is_no_alarm(served: Any, at_store: Path) -> None:
    done = watch("digits", traffic=served(300, labelled=True))
    assert not done.check.alarm
    assert [done.check.inputs.enough, done.check.answers.enough, done.check.quality.enough] == [True] * 3
    assert done.folder == at_store / ".flywheel/monitor/digits"
    assert json.loads((done.folder / "check.json").read_text())["alarm"] is False
    assert "All is well" in (done.folder / "report.html").read_text()


def test_drift_and_lost_quality_are_said_everywhere(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tested = {"accuracy": 0.95, "accuracy_low": 0.93, "accuracy_high": 0.97, "num_test": 360}
    monkeypatch.setattr("flywheel.registry.package.evidence", lambda folder, name: tested)
    done = watch("digits", traffic=served(300, turned=True, labelled=True))
    assert done.check.inputs.drifted
    assert done.check.quality.fallen
    assert re.match(r"inputs have drifted: .+ \(\d+% of rows\) and \d+ more", done.check.reasons[0])
    page = (done.folder / "report.html").read_text()
    assert page.count("<svg") >= 8
    assert "quality has fallen: accuracy" in page
    assert re.search(r"−0\.\d{3} vs test set \(−0\.\d{3} to −0\.\d{3}\)", page)
    assert "default-src 'none'" in page
    metrics = (done.folder / "metrics.prom").read_text()
    assert 'flywheel_monitor_alarm{task="digits"} 1.0' in metrics
    assert 'flywheel_monitor_quality{bound="value",metric="accuracy",task="digits"}' in metrics
    line = json.loads((done.folder / "checks.jsonl").read_text().splitlines()[-1])
    assert (line["alarm"], line["version"]) == (True, 1)


def test_rows_without_their_input_are_judged_by_their_answers_alone(served: Any) -> None:
    done = watch("digits", traffic=served(300, keep=False))
    assert (done.check.num_hidden, done.check.inputs.enough, done.check.answers.enough) == (300, False, True)
    page = (done.folder / "report.html").read_text()
    assert "too few were judged to say whether quality has fallen" in page
    assert "All is well" not in page


def test_no_traffic_is_no_alarm_and_a_page_all_the_same(at_project: Path, traffic: Memory) -> None:
    done = watch("digits", traffic=traffic)
    assert not done.check.alarm
    assert "Too few predictions" in (done.folder / "report.html").read_text()


def test_old_rows_and_rows_beyond_the_last_are_left_out(served: Any) -> None:
    traffic = served(300)
    assert watch("digits", since="30m", traffic=traffic).check.num_rows < 60
    assert watch("digits", last=120, traffic=traffic).check.num_rows == 120


def test_a_version_brings_its_reference_and_a_damaged_one_is_refused(at_project: Path) -> None:
    from flywheel.project.tracking import prepare
    from flywheel.registry import versions

    client = prepare()
    folder = versions.files_of(client, versions.resolve(client, "digits", "champion"))
    file = folder / "evidence/reference.safetensors"
    assert in_service(client, "digits").reference.inputs["brightness"].num_rows > 1000
    content = file.read_bytes()
    try:
        file.write_bytes(content[:-1] + b"x")
        with pytest.raises(RegistryError, match=r"evidence/reference.safetensors is missing or damaged"):
            in_service(client, "digits")
    finally:
        file.write_bytes(content)


def test_an_older_version_gets_its_reference_from_its_own_data_only(
    at_project: Path, at_store: Path, digits: Any, tmp_path: Path
) -> None:
    from flywheel.project.digest import sha256_of
    from flywheel.project.tracking import prepare
    from flywheel.registry import versions
    from flywheel.registry.package import CHECKSUMS, checksums
    from flywheel.watch import reference_of

    client = prepare()
    version = versions.resolve(client, "digits", "champion")
    older = tmp_path / "version"
    shutil.copytree(versions.files_of(client, version), older)
    (older / "evidence/reference.safetensors").unlink()
    (older / CHECKSUMS).write_text(checksums(older))
    version = replace(version, tags={**version.tags, versions.CHECKSUMS_TAG: sha256_of(older / CHECKSUMS)})
    with pytest.raises(DataError, match="the data here are not those it was trained on"):
        reference_of(version, older)
    shutil.copytree(digits.folder / "data", tmp_path / "data")
    shutil.copy(digits.folder / "params.yaml", tmp_path)
    made = reference_of(version, older)
    wanted = in_service(client, "digits").reference
    assert {k: d.to_json() for k, d in made.inputs.items()} == {k: d.to_json() for k, d in wanted.inputs.items()}
    shutil.rmtree(tmp_path / "data")
    assert reference_of(version, older).model_sha256 == wanted.model_sha256  # it was kept


def test_an_alert_is_sent_for_an_alarm_only(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr("flywheel.monitor.webhook.send", lambda url, message, **_: sent.append((url, message)) or True)
    assert alert(watch("digits", traffic=served(200)).check, "http://here/") is None
    bad = watch("digits", traffic=served(300, turned=True)).check
    monkeypatch.delenv("FLYWHEEL_WEBHOOK_URL", raising=False)
    assert alert(bad, None) is None
    assert alert(bad, "http://here/") is True
    assert sent[0][1]["task"] == "digits"
    assert sent[0][1]["text"].startswith("digits: inputs have drifted")


@pytest.mark.parametrize("words", ["", "7", "0d", "d7", "7 days", "-1d", "9999999d"])
def test_a_period_that_is_none_is_one_line(words: str) -> None:
    with pytest.raises(FlywheelError, match="is not a period"):
        period(words)


def test_periods_are_read() -> None:
    assert [period(words) for words in ("30m", "12h", "7d", "2w")] == [
        timedelta(minutes=30), timedelta(hours=12), timedelta(days=7), timedelta(days=14)
    ]  # fmt: skip


def test_an_unknown_task_is_one_line(at_project: Path, traffic: Memory) -> None:
    with pytest.raises(RegistryError, match="no registered model"):
        watch("nothing", traffic=traffic)
