"""A version whose files were swapped, with their checksums written anew beside them, is served nowhere."""

from __future__ import annotations

import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import onnx
import pytest
from mlflow.exceptions import MlflowException
from onnx import numpy_helper
from tests import forked

from flywheel.command.predict import predict
from flywheel.project.digest import sha256_of
from flywheel.project.errors import RegistryError
from flywheel.project.tracking import prepare
from flywheel.register import register
from flywheel.registry import evidence, versions
from flywheel.registry.integrity import verify_registry
from flywheel.registry.package import MODEL, PREPROCESSOR
from flywheel.serving.settings import ServingSettings
from flywheel.serving.version.champions import Champions
from flywheel.serving.version.served import ChampionVersion, open_served
from flywheel.watch import in_service


@pytest.fixture
def version(project: Path, registered: Callable[..., Any]) -> versions.Version:
    registered("good")
    return versions.versions_of(prepare(), "digits")[0]


@pytest.fixture
def folder(version: versions.Version) -> Path:
    return versions.files_of(prepare(), version)


def write_checksums(folder: Path) -> None:
    """What an attacker does who has read how versions are checked."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != "checksums.json"]
    listed = {file.relative_to(folder).as_posix(): sha256_of(file) for file in files}
    (folder / "checksums.json").write_text(json.dumps(listed, indent=1, sort_keys=True) + "\n")


def negate(file: Path) -> None:
    model = onnx.load(file)
    for weights in model.graph.initializer:
        weights.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weights), weights.name))
    onnx.save(model, file)


def forget_tags(version: versions.Version, *tags: str) -> versions.Version:
    """Make of a version what an older Flywheel registered."""
    for tag in tags:
        prepare().delete_model_version_tag("digits", str(version.number), tag)
    return versions.resolve(prepare(), "digits", "1")


@pytest.mark.parametrize("older", [False, True])
def test_swapped_weights_are_refused_at_every_door(
    version: versions.Version, folder: Path, older: bool, tmp_path: Path
) -> None:
    client = prepare()
    served = ChampionVersion("digits", 1, version.model_sha256, str(folder), version.sums)
    if older:
        version = forget_tags(version, versions.CHECKSUMS_TAG)
    negate(folder / "artifacts/model.onnx")
    write_checksums(folder)
    said = "the file that was registered"
    with pytest.raises(RegistryError, match=said):
        predict("digits", [tmp_path])
    with pytest.raises(RegistryError, match=said):
        Champions(client).first()
    with ThreadPoolExecutor(1) as executor, pytest.raises(RegistryError, match=said):
        open_served(served, ServingSettings(), executor)
    with pytest.raises(RegistryError, match=said):
        in_service(client, "digits")
    with pytest.raises(RegistryError, match=said):
        evidence.rescored(folder, version.sums, {}, evidence.stored_scores(folder))
    with pytest.raises(MlflowException, match=said):
        mlflow.pyfunc.load_model("models:/digits@champion")
    assert folder / "artifacts/model.onnx" in [one.file for one in verify_registry(fix=False).damaged]
    assert all(one.fixed for one in verify_registry(fix=True).damaged)
    assert not verify_registry(fix=False).damaged
    assert Champions(client).first()


def test_a_champion_that_was_swapped_is_not_compared_with(version: versions.Version, folder: Path, digits: Any) -> None:
    negate(folder / "artifacts/model.onnx")
    write_checksums(folder)
    digits.use("close", Path.cwd())
    register(digits.task)
    decision = json.loads(Path("artifacts/digits/decision.json").read_text())
    assert not decision["promoted"]
    assert "not the file that was registered" in decision["why"]


@pytest.mark.parametrize("name", ["evidence/reference.safetensors", "evidence/scores.safetensors", "MLmodel", "odd.py"])
def test_other_files_that_were_swapped_or_added_are_refused(
    version: versions.Version, folder: Path, name: str, tmp_path: Path
) -> None:
    (folder / name).write_bytes(b"another")
    write_checksums(folder)
    with pytest.raises(RegistryError, match=r"checksums\.json"):
        predict("digits", [tmp_path])


def test_a_version_without_any_checksum_in_the_registry_says_so(
    version: versions.Version, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    forget_tags(version, versions.CHECKSUMS_TAG)
    assert not verify_registry(fix=False).damaged
    assert "only its model and preprocessor are known to be genuine" in caplog.text
    forget_tags(version, versions.ONNX_TAG)
    with pytest.raises(RegistryError, match=r"the registry has no checksums of its files.*register again"):
        predict("digits", [tmp_path])


def test_a_list_of_checksums_that_reaches_outside_is_no_list(version: versions.Version, folder: Path) -> None:
    old = forget_tags(version, versions.CHECKSUMS_TAG)
    for odd in ("../../mlflow.db", "/etc/passwd"):
        listed = json.loads((folder / "checksums.json").read_text())
        (folder / "checksums.json").write_text(json.dumps({**listed, odd: "0" * 64}))
        found = verify_registry(fix=True)
        assert [one.fixed for one in found.damaged] == [""]
        with pytest.raises(RegistryError, match="is not a list of files and checksums"):
            versions.files_of(prepare(), old)


@pytest.mark.parametrize("name", ["code/onnxruntime", "code/flywheel/__pycache__"])
def test_a_link_to_a_folder_is_refused_before_anything_behind_it_is_imported(
    folder: Path, name: str, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own, of the first class that it sees
        from flywheel.registry.served_model import ServedModel

    link = folder / name
    if link.is_dir():
        shutil.rmtree(link)
    link.symlink_to(tmp_path, target_is_directory=True)
    context: Any = SimpleNamespace(artifacts={"model": str(folder / MODEL), "preprocessor": str(folder / PREPROCESSOR)})
    with pytest.raises(MlflowException, match=f"{name} is not the file that was registered"):
        ServedModel().load_context(context)


def test_verify_leaves_no_compiled_code_that_mlflow_would_run(folder: Path, tmp_path: Path) -> None:
    caches = [folder / "__pycache__", folder / "code/flywheel/__pycache__"]
    for cache in caches:
        cache.mkdir()
        (cache / "served_model.cpython-311.pyc").write_bytes(b"another")
    assert not verify_registry(fix=False).damaged
    assert not any(cache.exists() for cache in caches)
    caches[0].symlink_to(tmp_path, target_is_directory=True)
    assert [one.file for one in verify_registry(fix=False).damaged] == [caches[0]]


@pytest.mark.slow
def test_mlflow_imports_none_of_the_versions_code_before_it_is_compared(folder: Path, tmp_path: Path) -> None:
    code = folder / "code/flywheel/registry/predictor.py"
    code.write_text(f"open({str(tmp_path / 'pwned')!r}, 'w')\n" + code.read_text())
    write_checksums(folder)
    program = "import sys, mlflow; sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f)]; "
    program += "sys.path = [path for path in sys.path if not path.endswith('/src')]; "
    program += "mlflow.pyfunc.load_model('models:/digits@champion')"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{Path.cwd()}/mlflow.db", "PYTHONPATH": ""}
    command = [sys.executable, "-c", program]
    done = forked.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "checksums.json is not the file that was registered" in done.stderr
    assert not (tmp_path / "pwned").exists()
