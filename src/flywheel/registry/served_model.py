"""A version's code: MLflow runs this file, copied into the version, when it loads one. No pickle is involved.

It is the same predictor that `flywheel predict` uses. Raw rows go in as anything that `flywheel.registry.request`
makes a frame of; a frame with `label`, `probability` and `probability_<class>` comes out.

Before anything else of the version is imported, its files are compared with the tags of the model that MLflow's store
has. That finds files that were swapped, but not a swapped copy of this one file, which MLflow runs first, or of the
`MLmodel` that names it: who must not trust the folder at all compares first (`flywheel verify`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel, PythonModelContext

TAGS = {
    "checksums.json": "checksums_sha256",
    "artifacts/model.onnx": "onnx_sha256",
    "artifacts/preprocessor.json": "preprocessor_sha256",
}
NO_FILES_OF_IT = ("registered_model_meta", "checksums.json")


class ServedModel(PythonModel):
    """A predictor behind MLflow's interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Open the version's files.

        Raises:
            MlflowException: They are not those that were registered.
        """
        folder = Path(context.artifacts["model"]).parent.parent
        compare(folder)
        for cache in folder.glob("code/**/__pycache__"):
            shutil.rmtree(cache, ignore_errors=True)  # Python would run it in place of the code that was compared
            if cache.exists():
                raise MlflowException(f"{cache} was not registered, and cannot be removed; remove it by hand")
        from flywheel.registry.predictor import Predictor
        from flywheel.registry.request import frame_of

        self._frame_of = frame_of
        self._predictor = Predictor.load(Path(context.artifacts["model"]), Path(context.artifacts["preprocessor"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Answer raw rows; arrays, mappings and lists will do as well as frames."""
        preprocessor = self._predictor.preprocessor
        return self._predictor.predict(self._frame_of(model_input, preprocessor.inputs.schema(), preprocessor.aliases))


def compare(folder: Path) -> None:
    """Compare a version's files with the tags that MLflow's store has of it.

    Where the store does not know the model (a copy on another machine), nothing can be compared, and a warning says so.

    Args:
        folder: Folder with the files.

    Raises:
        MlflowException: A file is not the one that was registered.
    """
    tags = _tags(folder)
    if tags is None:
        logging.getLogger("flywheel").warning("%s: no store knows this model; its files are not compared", folder)
        return
    wanted = {name: tags[tag] for name, tag in TAGS.items() if tag in tags}
    if "checksums.json" in wanted and _sha256(folder / "checksums.json") == wanted["checksums.json"]:
        wanted |= json.loads((folder / "checksums.json").read_text())
        wanted = dict.fromkeys(_names(folder), "") | wanted
    bad = sorted(name for name, digest in wanted.items() if _sha256(folder / name) != digest)
    if bad:
        raise MlflowException(f"{folder}: {bad[0]} is not the file that was registered; run `flywheel verify`")


def _tags(folder: Path) -> dict[str, str] | None:
    """The tags of the model; None where there is no store, or it does not know the model."""
    uri = mlflow.get_tracking_uri()
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        return None  # asking would make an empty store
    described = mlflow.models.Model.load(str(folder))
    try:
        return dict(mlflow.MlflowClient().get_logged_model(str(described.model_id)).tags)
    except MlflowException:
        return None


def _names(folder: Path) -> list[str]:
    """The files of a version, and its links, behind which anything may lie; without what loading it leaves behind."""
    found = [file.relative_to(folder) for file in folder.rglob("*") if file.is_symlink() or not file.is_dir()]
    own = [name for name in found if "__pycache__" not in name.parts[:-1] and name.name not in NO_FILES_OF_IT]
    return [name.as_posix() for name in own]


def _sha256(file: Path) -> str:
    """Of a file's bytes; empty where there is none."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return "missing"


mlflow.models.set_model(ServedModel())
