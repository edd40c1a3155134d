"""Where a result comes from: a model version, a run or a prediction file leads to run, commit, data and source."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.project.errors import RegistryError
from flywheel.project.types import Json

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from flywheel.registry.versions import Version

READABLE = (".csv", ".parquet", ".jsonl")
FORMS = "give fashion/3, fashion@champion, a run id, a model_sha256, or a file that `flywheel predict` wrote"
_LINEAGE = ("git_commit", "git_dirty", "source_uri", "source_sha256", "train_sha256", "validation_sha256",
            "test_sha256", "feedback_rows", "feedback_sha256", "preprocessor_sha256", "variant", "onnx_sha256",
            "weights_sha256")  # fmt: skip


def trace(reference: str) -> list[Json]:
    """Find where something comes from.

    Args:
        reference: `fashion/3`, `fashion@champion`, `models:/fashion/3`, a run id, a model_sha256, or the path of a
            file that `flywheel predict` wrote.

    Returns:
        One mapping a model: most references lead to one; a prediction file, or weights that were registered
        for several tasks, can lead to several.

    Raises:
        RegistryError: Nothing is known of it.
    """
    from flywheel.project.tracking import prepare
    from flywheel.registry import versions

    path = Path(reference)
    if path.suffix.lower() in READABLE:
        digests = _digests(path)
        client = prepare()
        return [found for digest in digests for found in _of_digest(client, digest, str(path))]
    client = prepare()
    named = re.fullmatch(r"(?:models:/)?([^/@]+)(?:/v?(\d+)|@(.+))", reference)
    if named:
        task, number, alias = named.groups()
        return [_of_version(client, versions.resolve(client, task, number or alias))]
    if re.fullmatch(r"[0-9a-f]{64}", reference):
        return _of_digest(client, reference, reference)
    if re.fullmatch(r"[0-9a-f]{32}", reference):
        return [_of_run(client, reference)]
    raise RegistryError("is not a model, a run or a prediction file", where=reference, fix=FORMS)


def feedback_of(reference: str) -> list[str]:
    """The predictions whose corrections a version was trained with.

    Args:
        reference: A reference as for `trace`; it must lead to versions.

    Raises:
        RegistryError: Nothing is known of it, or it is not a version.
    """
    from flywheel.project.tracking import prepare
    from flywheel.project.whole import read_json
    from flywheel.registry import evidence, versions
    from flywheel.registry.package import EVIDENCE

    found: list[str] = []
    for model in trace(reference):
        if "version" not in model:
            raise RegistryError("was never registered", where=reference, fix="give a version, such as fashion/3")
        task, _, number = model["version"].rpartition("/")
        client = prepare()
        file = versions.files_of(client, versions.resolve(client, task, number)) / EVIDENCE / evidence.FEEDBACK
        found += read_json(file)["predictions"] if file.is_file() else []
    return found


def lines(found: Json) -> list[str]:
    """One mapping of `trace` for a terminal: a name and a value a line."""
    told: list[str] = []
    for key, value in found.items():
        if isinstance(value, dict):
            told += [f"{key:20} {path}  {md5}" for path, md5 in value.items()]
        elif value not in ("", None, []):
            told.append(f"{key:20} {', '.join(map(str, value)) if isinstance(value, list) else value}")
    return told


def _digests(file: Path) -> list[str]:
    """The models that a prediction file names."""
    import pandas as pd

    column = "model_sha256"
    try:
        if file.suffix.lower() == ".parquet":
            values = pd.read_parquet(file, columns=[column])[column]
        elif file.suffix.lower() == ".csv":
            values = pd.read_csv(file, usecols=[column])[column]
        else:
            values = pd.Series([json.loads(line)[column] for line in file.read_text().splitlines() if line.strip()])
    except FileNotFoundError:
        raise RegistryError("no such file", where=file, fix=FORMS) from None
    except (ValueError, KeyError, OSError):
        raise RegistryError(f"has no column '{column}'", where=file, fix=FORMS) from None
    found = list(dict.fromkeys(str(value) for value in values.dropna()))
    if not found:
        raise RegistryError("does not name a model", where=file, fix="it has no rows; run `flywheel predict` again")
    return found


def _of_digest(client: MlflowClient, digest: str, where: str) -> list[Json]:
    from flywheel.registry import versions

    registered = versions.versions_of(client, tags={versions.MODEL_TAG: digest})
    if registered:
        return [_of_version(client, version) for version in registered]
    run = _run_of(client, digest)
    if run is None:
        what = f"no version and no run has the weights {digest[:12]}..."
        raise RegistryError(what, where=where, fix="look in the MLflow store that it came from (MLFLOW_TRACKING_URI)")
    return [_run_facts(run)]


def _of_version(client: MlflowClient, version: Version) -> Json:
    created = datetime.fromtimestamp(version.created_ms / 1000, UTC).isoformat(timespec="seconds")
    found: Json = {
        "version": str(version),
        "aliases": list(version.aliases),
        "registered": created,
        "model_sha256": version.model_sha256,
    }
    run = _run(client, version.run_id)
    found |= _run_name(run) if run else {"run": f"{version.run_id} (no longer in the store)"}
    found |= {key: version.tags.get(key, "") for key in _LINEAGE}
    found["dvc.lock"] = json.loads(version.tags.get("dvc_lock", "{}"))
    return found


def _of_run(client: MlflowClient, run_id: str) -> Json:
    from flywheel.registry import versions

    run = _run(client, run_id)
    if run is None:
        raise RegistryError("no such run", where=run_id, fix=FORMS)
    digest = run.data.tags.get(versions.MODEL_TAG, "")
    registered = versions.versions_of(client, tags={versions.MODEL_TAG: digest}) if digest else []
    return _of_version(client, registered[0]) if registered else _run_facts(run)


def _run_facts(run: Run) -> Json:
    """What a run that never became a version says of itself."""
    tags = run.data.tags
    found: Json = {**_run_name(run), "status": run.info.status}
    found["model_sha256"] = tags.get("model_sha256", "")
    found["git_commit"] = tags.get("mlflow.source.git.commit", "")
    found["git_dirty"] = str(tags.get("git.dirty", "")).lower()
    for used in run.inputs.dataset_inputs if run.inputs else []:
        context = next((tag.value for tag in used.tags if tag.key == "mlflow.data.context"), "data")
        found[f"{context} data"] = f"{used.dataset.name} {used.dataset.digest}"
        found["source_uri"] = _source(used.dataset.source)
    found["dvc.lock"] = {key.removeprefix("dvc."): value for key, value in tags.items() if key.startswith("dvc.")}
    return found


def _source(text: str) -> str:
    try:
        tags: Any = json.loads(text).get("tags", {})
        return str(tags.get("uri", ""))
    except (ValueError, AttributeError):
        return ""


def _run_name(run: Run) -> Json:
    return {"run": run.info.run_id, "run_name": run.info.run_name or ""}


def _run(client: MlflowClient, run_id: str) -> Run | None:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id) if run_id else None
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _run_of(client: MlflowClient, digest: str) -> Run | None:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(experiments, f"tags.model_sha256 = '{digest}'", max_results=1)
    return found[0] if found else None
