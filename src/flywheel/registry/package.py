"""What a version holds: model and preprocessor, the code that runs them, and the evidence the gate judged by."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

import flywheel
from flywheel.project.digest import sha256_of
from flywheel.project.errors import RegistryError
from flywheel.registry.code import code_of
from flywheel.registry.predictor import MODEL_FILE, PREPROCESSOR_FILE, Predictor
from flywheel.registry.request import plain
from flywheel.registry.signature import signature_of

if TYPE_CHECKING:
    from mlflow.models import Model

CHECKSUMS, EVIDENCE, ARTIFACTS = "checksums.json", "evidence", "artifacts"
MODEL, PREPROCESSOR = f"{ARTIFACTS}/{MODEL_FILE}", f"{ARTIFACTS}/{PREPROCESSOR_FILE}"
CODE = "code/"
_NOT_LISTED = (CHECKSUMS, "registered_model_meta")  # MLflow adds that to a copy that it downloads


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


def write_package(folder: Path, contents: Contents, described: Model) -> dict[str, str]:
    """Write a version's files into `folder`, which does not exist yet.

    The code that prediction needs goes in as well: a version runs with the code it was judged with, also on a machine
    where Flywheel is not installed or has moved on. Its requirements are what that code imports: MLflow would take ten
    seconds to find them.

    Returns:
        The sha256 of the files that the registry is to keep.
    """
    predictor = Predictor.load(contents.model, contents.preprocessor, threads=1)
    schema = predictor.preprocessor.inputs.schema()
    example = pd.DataFrame({name: [plain(value) for value in contents.example[name]] for name in schema["properties"]
                            if name in contents.example.columns})  # fmt: skip
    code = Path(flywheel.__file__).parent
    files, libraries = code_of(contents.preprocessor)
    with tempfile.TemporaryDirectory() as temporary, _quiet():
        from mlflow import pyfunc

        staged = Path(temporary)
        shutil.copyfile(contents.model, staged / MODEL_FILE)
        shutil.copyfile(contents.preprocessor, staged / PREPROCESSOR_FILE)
        for file in files:
            (staged / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(code.parent / file, staged / file)
        pyfunc.save_model(
            folder,
            mlflow_model=described,
            python_model=str(code / "registry" / "served_model.py"),
            artifacts={"model": str(staged / MODEL_FILE), "preprocessor": str(staged / PREPROCESSOR_FILE)},
            signature=signature_of(schema, predictor.predict(example)),
            input_example=example,
            pip_requirements=requirements(libraries),
            code_paths=[str(staged / code.name)],
        )
    for leftover in folder.rglob("__pycache__"):
        shutil.rmtree(leftover)
    (folder / EVIDENCE).mkdir()
    for name, file in contents.evidence.items():
        shutil.copyfile(file, folder / EVIDENCE / name)
    (folder / CHECKSUMS).write_text(checksums(folder))
    return {name: sha256_of(folder / name) for name in (CHECKSUMS, MODEL, PREPROCESSOR)}


def requirements(libraries: Iterable[str]) -> list[str]:
    """Give the distributions that hold these packages, with the exact versions of this environment."""
    names = {_distribution_of(library) for library in libraries}
    return [f"{name}=={metadata.version(name)}" for name in sorted(names)]


def _distribution_of(library: str) -> str:
    try:
        return metadata.distribution(library).name  # most are called as their package: to list all of them takes long
    except metadata.PackageNotFoundError:
        return metadata.packages_distributions()[library][0]


def checksums(folder: Path) -> str:
    """The content of `checksums.json`: the sha256 of all other files."""
    return json.dumps({name: sha256_of(folder / name) for name in _names(folder)}, indent=1, sort_keys=True) + "\n"


def differing(folder: Path, sums: Mapping[str, str]) -> dict[str, str]:
    """Compare a version's files with the registry, which alone can say what they should be.

    The list of checksums lies beside the files, where whoever swaps them can write another. So the list itself is held
    to the registry's tags, and where a version is older than the tag of the list, model and preprocessor are.

    Args:
        folder: With the files.
        sums: The sha256 of some of them, as the registry's tags have it (`Version.sums`).

    Returns:
        Names of the files that are missing, added or have other bytes, and the sha256 that each should have: empty for
        one that was added, and for one whose sha256 stood in a list that is not the registered one.

    Raises:
        RegistryError: There is nothing to compare with: the tags or the list of checksums are missing or damaged.
    """
    if not {MODEL, PREPROCESSOR} <= set(sums):
        what = "the registry has no checksums of its files, so nothing can say that they are genuine"
        raise RegistryError(what, where=folder, fix="delete the version in MLflow and register again")
    try:
        listed = json.loads((folder / CHECKSUMS).read_text())
        if not isinstance(listed, dict) or not all(map(_may_be_listed, listed.items())):
            raise ValueError("is not a list of files and checksums")
    except (OSError, ValueError, RecursionError) as error:
        raise RegistryError(f"{CHECKSUMS}: {error}", where=folder, fix="restore the version's files") from None
    wanted: dict[str, str] = {**dict.fromkeys(_names(folder), ""), **listed, **sums}
    bad = {name: digest for name, digest in wanted.items() if not _holds(folder / name, digest)}
    if CHECKSUMS in bad:
        return {name: sums.get(name, "") for name in bad}
    return bad


def check_package(folder: Path, sums: Mapping[str, str]) -> None:
    """Refuse a version whose files are not those that were registered; its code, which nothing here runs, is left out.

    Args:
        folder: With the files.
        sums: As the registry's tags have them.

    Raises:
        RegistryError: A file is missing, was added, or has other bytes.
    """
    bad = sorted(name for name in differing(folder, sums) if not name.startswith(CODE))
    if bad:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        what = f"{bad[0]}{more} is missing or damaged: not the file that was registered"
        raise RegistryError(what, where=folder, fix="run `flywheel verify`")


def open_package(folder: Path, sums: Mapping[str, str], *, threads: int = 0) -> Predictor:
    """Open a version's model and preprocessor, after checking that its files are those that were registered.

    Args:
        folder: With the files.
        sums: As the registry's tags have them.
        threads: That a prediction may use; 0: as ONNX Runtime thinks fit.

    Raises:
        RegistryError: A file is missing, was added, or has other bytes.
    """
    check_package(folder, sums)
    return Predictor.load(folder / MODEL, folder / PREPROCESSOR, threads=threads)


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
    return bool(digest) and file.is_file() and sha256_of(file) == digest


def _may_be_listed(entry: tuple[str, Any]) -> bool:
    """Whether a line of the list is a file inside the folder and a checksum: what is listed is read, and put back."""
    name, digest = entry
    inside = not name.startswith("/") and ".." not in Path(name).parts and name != CHECKSUMS
    return inside and isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest) is not None


def _names(folder: Path) -> list[str]:
    """The files of a version, without the list of checksums and what loading it leaves behind."""
    files = [file.relative_to(folder) for file in sorted(folder.rglob("*")) if not file.is_dir() or file.is_symlink()]
    return [file.as_posix() for file in files if file.name not in _NOT_LISTED and "__pycache__" not in file.parts[:-1]]
