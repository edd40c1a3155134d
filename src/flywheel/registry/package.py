"""What a version holds: model and preprocessor, the code that runs them, and the evidence the gate judged by."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

import flywheel
from flywheel.digest import sha256_of
from flywheel.errors import RegistryError
from flywheel.registry.predictor import MODEL_FILE, PREPROCESSOR_FILE, Predictor
from flywheel.registry.request import plain
from flywheel.registry.signature import signature_of

if TYPE_CHECKING:
    from mlflow.models import Model

CHECKSUMS, EVIDENCE, ARTIFACTS = "checksums.json", "evidence", "artifacts"
REQUIREMENTS = (
    "ftfy", "mlflow", "numpy", "onnxruntime", "pandas", "pandera", "pillow", "pyarrow", "scipy", "soundfile",
    "tokenizers",
)  # fmt: skip
"""What predicting imports; written into a version with the versions it was made with."""


@dataclass(frozen=True)
class Contents:
    """What a version is made from.

    Attributes:
        model: The ONNX file.
        preprocessor: `preprocessor.json`.
        example: One raw row, as a user would send it.
        evidence: Files by name that tell how the model did on the test set.
    """

    model: Path
    preprocessor: Path
    example: pd.DataFrame
    evidence: Mapping[str, Path]


def write_package(folder: Path, contents: Contents, described: Model) -> None:
    """Write a version's files into `folder`, which does not exist yet.

    The package's code goes in as well: a version runs with the code it was judged with, also on a machine where
    Flywheel is not installed or has moved on. Requirements are listed: MLflow would need ten seconds to find them.
    """
    predictor = Predictor.load(contents.model, contents.preprocessor, threads=1)
    schema = predictor.preprocessor.inputs.schema()
    example = pd.DataFrame({name: [plain(value) for value in contents.example[name]] for name in schema["properties"]
                            if name in contents.example.columns})  # fmt: skip
    code = Path(flywheel.__file__).parent
    with tempfile.TemporaryDirectory() as temporary, _quiet():
        from mlflow import pyfunc

        staged = Path(temporary)
        shutil.copyfile(contents.model, staged / MODEL_FILE)
        shutil.copyfile(contents.preprocessor, staged / PREPROCESSOR_FILE)
        pyfunc.save_model(
            folder,
            mlflow_model=described,
            python_model=str(code / "registry" / "served_model.py"),
            artifacts={"model": str(staged / MODEL_FILE), "preprocessor": str(staged / PREPROCESSOR_FILE)},
            signature=signature_of(schema, predictor.predict(example)),
            input_example=example,
            pip_requirements=requirements(),
            code_paths=[str(code)],
        )
    for leftover in folder.rglob("__pycache__"):
        shutil.rmtree(leftover)
    (folder / EVIDENCE).mkdir()
    for name, file in contents.evidence.items():
        shutil.copyfile(file, folder / EVIDENCE / name)
    (folder / CHECKSUMS).write_text(json.dumps(_checksums(folder), indent=1, sort_keys=True) + "\n")


def requirements() -> list[str]:
    """What predicting needs, with the exact versions of this environment."""
    return [f"{name}=={metadata.version(name)}" for name in REQUIREMENTS]


def rotted(folder: Path) -> list[str]:
    """Name the files of a version that are missing or no longer have the bytes they were stored with.

    Raises:
        RegistryError: The list of checksums itself is missing or damaged.
    """
    try:
        wanted: dict[str, str] = json.loads((folder / CHECKSUMS).read_text())
    except (FileNotFoundError, ValueError) as error:
        raise RegistryError(f"{CHECKSUMS}: {error}", where=folder, mend="restore the version's files") from None
    return [name for name, digest in wanted.items() if not _holds(folder / name, digest)]


def open_package(folder: Path, *, threads: int = 0) -> Predictor:
    """Open a version's model and preprocessor, after checking that their bytes are those that were stored.

    Raises:
        RegistryError: A file is missing or damaged.
    """
    files = [f"{ARTIFACTS}/{MODEL_FILE}", f"{ARTIFACTS}/{PREPROCESSOR_FILE}"]
    bad = [name for name in rotted(folder) if name in files]
    if bad:
        raise RegistryError(f"{bad[0]} is missing or damaged", where=folder, mend="run `flywheel verify`")
    return Predictor.load(folder / files[0], folder / files[1], threads=threads)


def evidence(folder: Path, name: str) -> Any:
    """Read one of a version's JSON evidence files."""
    return json.loads((folder / EVIDENCE / name).read_text())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what MLflow warns of in its own code: its type hints, and how it compares columns with pandas 3."""
    logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for words in ("Any type hint is inferred as AnyType", "Operation with range is deprecated"):
            warnings.filterwarnings("ignore", message=rf".*{words}")
        yield


def _holds(file: Path, digest: str) -> bool:
    return file.is_file() and sha256_of(file) == digest


def _checksums(folder: Path) -> dict[str, str]:
    return {f.relative_to(folder).as_posix(): sha256_of(f) for f in sorted(folder.rglob("*")) if f.is_file()}
