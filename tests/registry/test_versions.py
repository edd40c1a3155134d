from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flywheel.project.errors import RegistryError
from flywheel.project.tracking import prepare
from flywheel.registry import versions
from flywheel.registry.listing import list_versions, row, table


def test_versions_are_found_by_number_alias_and_digest(at_store: Path) -> None:
    client = prepare()
    newest, oldest = versions.versions_of(client, "digits")
    assert (str(newest), newest.aliases) == ("digits/2", ("candidate",))
    assert (str(oldest), oldest.aliases) == ("digits/1", ("champion",))
    for reference in ("2", "v2", "candidate"):
        assert versions.resolve(client, "digits", reference) == newest
    assert versions.with_contents(client, "digits", oldest.tags) == oldest
    assert versions.with_contents(client, "digits", {**oldest.tags, "onnx_sha256": "f" * 64}) == oldest
    assert versions.with_contents(client, "digits", {**oldest.tags, "preprocessor_sha256": "f" * 64}) is None
    assert versions.with_contents(client, "digits", {**oldest.tags, "variant": "int8"}) is None
    assert versions.by_alias(client, "digits", "nobody") is None
    assert versions.by_alias(client, "nothing", "champion") is None
    assert versions.by_number(client, "digits", 9) is None


def test_what_is_not_there_is_said_with_what_is(at_store: Path) -> None:
    client = prepare()
    for task, reference, words in (
        ("digits", "7", "no version 7; versions: 2, 1"),
        ("digits", "champoin", "did you mean 'champion'"),
        ("digit", "1", "did you mean 'digits'"),
        ("it's", "1", "leave out quotes"),
    ):
        with pytest.raises(RegistryError, match=words):
            versions.resolve(client, task, reference)


def test_an_empty_registry_says_what_makes_a_model(project: Path) -> None:
    with pytest.raises(RegistryError, match="digits: no registered model; run `dvc repro register@digits`"):
        versions.resolve(prepare(), "digits", "champion")
    with pytest.raises(RegistryError, match="digits: no registered model; run `dvc repro register@digits`"):
        list_versions("digits")
    assert list_versions() == []
    # DVC takes the stage for done, because its outputs are there: only a forced one registers again.
    Path("artifacts/digits").mkdir(parents=True)
    Path("artifacts/digits/registered.json").write_text("{}")
    for ask in (lambda: versions.resolve(prepare(), "digits", "champion"), lambda: list_versions("digits")):
        with pytest.raises(RegistryError, match="no registered model; run `dvc repro -f -s register@digits`"):
            ask()
    assert versions.how_to_register() == "run `dvc repro`"


def test_lineage_is_on_the_version(at_store: Path) -> None:
    version = versions.versions_of(prepare(), "digits")[1]
    assert version.tags["source_uri"] == "bundled:sklearn/digits.csv.gz"
    assert version.tags["source_sha256"] == "d" * 64
    assert len(version.tags["test_sha256"]) == len(version.tags["onnx_sha256"]) == 64
    assert {"git_commit", "git_dirty", "dvc_lock", "train_sha256"} <= set(version.tags)
    run = prepare().get_run(version.run_id)
    assert run.data.tags["flywheel.version"] == "digits/1"
    assert [output.model_id for output in run.outputs.model_outputs]


def test_files_that_are_gone_are_said_so(project: Path, registered: Callable[..., Any]) -> None:
    registered("good")
    client = prepare()
    version = versions.versions_of(client, "digits")[0]
    folder = versions.files_of(client, version)
    shutil.rmtree(folder)
    with pytest.raises(RegistryError, match=r"digits/1.*its files are gone"):
        versions.files_of(client, version)


def test_files_of_a_store_on_another_machine_are_copied_once(
    project: Path, registered: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    registered("good")
    client = prepare()
    version = versions.versions_of(client, "digits")[0]
    folder = versions.files_of(client, version)
    calls = []

    def download(artifact_uri: str, dst_path: str) -> str:
        calls.append(artifact_uri)
        return str(shutil.copytree(folder, Path(dst_path) / "artifacts"))

    monkeypatch.setattr("mlflow.artifacts.download_artifacts", download)
    monkeypatch.setattr(client, "get_model_version_download_uri", lambda *_: "mlflow-artifacts:/1/models/m/artifacts")
    for _ in range(2):
        copy = versions.files_of(client, version)
        assert copy.is_relative_to(project / ".flywheel")
        assert (copy / "artifacts/model.onnx").read_bytes() == (folder / "artifacts/model.onnx").read_bytes()
    assert len(calls) == 1


def test_the_list_names_champion_metric_and_weights(at_store: Path) -> None:
    found = list_versions("digits")
    assert found == list_versions()
    cells = row(found[1])
    assert cells[0] == "digits/1"
    assert cells[1] == "champion"
    assert cells[2].startswith("accuracy 0.9")
    assert cells[3] == "fp32"
    assert cells[5] == found[1].model_sha256[:8]
    assert table(found).row_count == 2
    with pytest.raises(RegistryError, match="did you mean 'digits'"):
        list_versions("digit")
