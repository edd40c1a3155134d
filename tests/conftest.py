"""Fixtures for all tests: a project of its own in a temporary folder, with an MLflow store that is ready."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import forked
from tests.postgres import Postgres, running_postgres

ROOT = Path(__file__).parent.parent


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect 4,000 tests without a collection of garbage, and let none after it look at them: that took a third."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout under test."""
    return ROOT


@contextlib.contextmanager
def made_once(factory: pytest.TempPathFactory, name: str) -> Iterator[tuple[Path, bool]]:
    """A folder that the workers of a session share, and whether it is still to be filled: the others wait meanwhile."""
    from filelock import FileLock

    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(f"{folder}.lock"):
        made = folder.with_suffix(".made")
        is_new = not made.exists()
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        yield folder, is_new
        made.touch()


@pytest.fixture(scope="session")
def mlflow_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh sqlite store, made once: making one takes seconds."""
    with made_once(tmp_path_factory, "mlflow") as (folder, is_new):
        if is_new:
            uri = f"sqlite:///{folder / 'mlflow.db'}"
            environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "DVC_ROOT": str(folder)}
            program = "from flywheel.project.tracking import prepare; prepare()"
            forked.run([sys.executable, "-c", program], check=True, env=environment, capture_output=True)
    return folder / "mlflow.db"


@pytest.fixture
def project(tmp_path: Path, mlflow_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A whole project in a folder with a space in its name; the current folder while the test runs."""
    folder = tmp_path / "a project"
    folder.mkdir()
    for name in ("src", "conf", ".dvc"):
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "tmp", "cache", "config.local")
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    (folder / "artifacts").mkdir()
    for name in ("dvc.yaml", "params.yaml", "artifacts/dvc.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "mlflow.db").write_bytes(mlflow_store.read_bytes())
    (folder / ".venv").symlink_to(sys.prefix)
    monkeypatch.chdir(folder)
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        monkeypatch.delenv(name, raising=False)
    return folder


def only_warn_of_baselines(project: Path) -> None:
    """Let tiny data and few epochs make a champion, although a baseline may be better on them."""
    for file in (project / "conf/register").glob("*.yaml"):
        file.write_text(file.read_text().replace("baseline: refuse", "baseline: warn"))


@pytest.fixture
def run_flywheel(project: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `python -m flywheel.<module> ...` in the project, with its own code, as a person or DVC would."""

    def run(module: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(project / "src"), **environment}
        command = [sys.executable, "-m", f"flywheel.{module}", *words]
        return forked.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=600, check=False)

    return run


def write_processed(folder: Path, *, rows: int = 240, size: int = 8, classes: int = 3, seed: int = 0) -> dict[str, Any]:
    """Write processed data that a small network can learn: each class is a bright band at a height of its own."""
    import json

    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    for name, count in (("train", rows), ("validation", rows // 3), ("test", rows // 3)):
        target = generator.integers(0, classes, count)
        image = generator.integers(0, 120, (count, 1, size, size), dtype=np.uint8)
        for row, label in enumerate(target):
            image[row, 0, label * 2 : label * 2 + 2] += 100
        save_file({"image": image, "target": target, "row": np.arange(count)}, folder / f"{name}.safetensors")
    meta = {
        "format": 1,
        "task": "digits",
        "inputs": {"image": {"dtype": "uint8", "shape": [1, size, size], "mean": [70.0], "std": [50.0]}},
        "target": {"kind": "class", "dtype": "int64"},
        "classes": [f"class {i}" for i in range(classes)],
        "num_classes": classes,
        "num_outputs": classes,
        "num_features": size * size,
        "num_channels": 1,
        "image_size": [size, size],
        "class_counts": [rows // classes] * classes,
        "num_rows": {"train": rows, "validation": rows // 3, "test": rows // 3},
        "sha256": dict.fromkeys(("train", "validation", "test"), "0" * 64),
    }
    (folder / "meta.json").write_text(json.dumps(meta))
    return meta


@pytest.fixture
def processed(project: Path) -> Path:
    """Small processed data of the task `digits`, where its preprocess stage would put them."""
    folder = project / "data/processed/digits"
    write_processed(folder)
    return folder


class Digits:
    """scikit-learn's digits with trained and exported models, made once; `use` puts one into the current folder."""

    MODELS = {"good": 60, "close": 50, "bad": 0}  # noqa: RUF012 - name -> training steps

    def __init__(self, folder: Path) -> None:
        from flywheel.project.params import load_task

        self.folder = folder
        self.task = load_task("digits", folder / "params.yaml")
        self.raw, self.processed = Path("data/raw/digits"), Path("data/processed/digits")

    def make(self) -> None:
        """Make data and models in the current folder, which is this one's."""
        from flywheel.export import export
        from flywheel.preprocessor.pipeline.run import preprocess

        self._write_raw()
        preprocess(self.task, self.raw, Path("data/feedback/digits"), self.processed)
        for name, steps in self.MODELS.items():
            self._train(steps)
            export(self.task)
            (self.folder / "artifacts/digits").rename(self.folder / name)

    def use(self, name: str, target: Path) -> None:
        """Put raw and processed data, and the artifacts of one model, into a project."""
        shutil.copytree(self.folder / "data", target / "data", dirs_exist_ok=True)
        shutil.rmtree(target / "artifacts/digits", ignore_errors=True)
        shutil.copytree(self.folder / name, target / "artifacts/digits")

    def _write_raw(self) -> None:
        import json

        import sklearn.datasets

        self.raw.mkdir(parents=True)
        shutil.copy(Path(sklearn.datasets.__file__).parent / "data/digits.csv.gz", self.raw)
        record = {"uri": "bundled:sklearn/digits.csv.gz", "digest": "d" * 64}
        (self.raw / "source.json").write_text(json.dumps(record))

    def _train(self, steps: int) -> None:
        import json

        import torch
        from safetensors.torch import load_file

        from flywheel.model.network import build_network, save_network

        torch.manual_seed(0)
        meta = json.loads((self.processed / "meta.json").read_text())
        train = load_file(self.processed / "train.safetensors")
        node = {**self.task.model.net, "hidden": [16]}
        network = build_network(node, meta)
        optimizer = torch.optim.Adam(network.parameters(), 0.03)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # tests run side by side, and threads that wait for each other cost seconds
        for _ in range(steps):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(image=train["image"]), train["target"]).backward()
            optimizer.step()
        torch.set_num_threads(threads)
        folder = Path("artifacts/digits/model")
        folder.mkdir(parents=True)
        link = {"_target_": "torch.nn.Softmax", "dim": -1}
        sha256 = save_network(folder, network, {"task": "digits", "net": node, "link": link, "meta": meta})
        (folder / "history.csv").write_text("epoch,step,lr,train/loss,validation/loss\n1,1,0.1,0.5,0.5\n")
        (folder.parent / "evaluation.json").write_text(json.dumps({"model_sha256": sha256}))


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    """The models of `Digits.MODELS`."""
    from flywheel.project.compose import compose_params

    with made_once(tmp_path_factory, "digits") as (folder, is_new), pytest.MonkeyPatch.context() as patch:
        if is_new:
            shutil.copytree(ROOT / "conf", folder / "conf")
            (folder / "conf/config.yaml").write_text("defaults:\n  - task@tasks.digits: digits\n  - _self_\n")
            (folder / "params.yaml").write_text(compose_params(folder))
            patch.chdir(folder)
            Digits(folder).make()
        return Digits(folder)


@pytest.fixture
def with_tasks(project: Path) -> Callable[..., None]:
    """Write `conf/config.yaml` for these tasks and compose `params.yaml`."""

    def write(*names: str) -> None:
        lines = "".join(f"  - task@tasks.{name}: {name}\n" for name in names)
        (project / "conf/config.yaml").write_text(f"defaults:\n{lines}  - _self_\n")
        from flywheel.project.compose import compose_params

        (project / "params.yaml").write_text(compose_params(project))

    return write


@pytest.fixture(scope="session")
def digits_store(digits: Digits, mlflow_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose registry holds digits/1 (`good`, the champion) and digits/2 (`bad`, the candidate); to read."""
    import json

    from flywheel.register import register

    folder = tmp_path_factory.mktemp("store")
    (folder / "conf").mkdir()
    shutil.copy(ROOT / "dvc.yaml", folder)
    (folder / "mlflow.db").write_bytes(mlflow_store.read_bytes())
    out = {"path": "data/processed/digits", "md5": "0123.dir"}
    (folder / "dvc.lock").write_text(json.dumps({"stages": {"export@digits": {"deps": [out]}}}))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.delenv(name, raising=False)
        patch.chdir(folder)
        for name in ("good", "bad"):
            digits.use(name, folder)
            register(digits.task)
    return folder


@pytest.fixture
def at_store(digits_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work with `digits_store` from an empty folder."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DVC_ROOT", str(digits_store))
    monkeypatch.chdir(tmp_path)
    return digits_store


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server for all tests of a worker; those that use it share `xdist_group("postgres")`."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def mortal_postgres() -> Iterator[Postgres]:
    """A server of one test's own, which may kill it; it waits for the disk."""
    with running_postgres(fsync=True) as server:
        yield server


@pytest.fixture
def called_gs(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Put a stand-in for Ghostscript on PATH; gives what reads how it was called, empty where it was not."""
    from PIL import EpsImagePlugin

    folder = tmp_path_factory.mktemp("gs")
    calls = folder / "calls"
    (folder / "gs").write_text(f'#!/bin/sh\necho "$@" >> "{calls}"\n')
    (folder / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # Pillow looks for it once
    return lambda: calls.read_text() if calls.exists() else ""


@pytest.fixture(params=["EPS", "TIFF", "TGA", "JPEG2000", "ICO", "PPM"])
def unpromised(request: pytest.FixtureRequest) -> bytes:
    """A picture of a format that Pillow reads and Flywheel does not."""
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (10, 20, 30)).save(stream, request.param)
    return stream.getvalue()
