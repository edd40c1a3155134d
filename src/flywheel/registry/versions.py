"""Versions of a task's registered model: found, made, and their files on this machine."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from flywheel.project.errors import RegistryError, nearest
from flywheel.project.params import home_root, state_dir
from flywheel.project.types import Json
from flywheel.registry import log as registry_log
from flywheel.registry.package import CHECKSUMS, MODEL, PREPROCESSOR, Contents, check_package, write_package
from flywheel.registry.variant.choice import FP32

if TYPE_CHECKING:
    from mlflow import MlflowClient

CANDIDATE, CHAMPION = "candidate", "champion"
MODEL_TAG, PREPROCESSOR_TAG = "model_sha256", "preprocessor_sha256"
ONNX_TAG, VARIANT_TAG = "onnx_sha256", "variant"
CHECKSUMS_TAG = "checksums_sha256"
DECISION_TAG, TRAIN_TAG, TEST_TAG = "flywheel.decision", "train_sha256", "test_sha256"
_SUM_TAGS = {CHECKSUMS: CHECKSUMS_TAG, MODEL: ONNX_TAG, PREPROCESSOR: PREPROCESSOR_TAG}
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


@dataclass(frozen=True)
class Version:
    """One version of a task's registered model.

    Attributes:
        task: The registered model's name.
        number: Number, from 1.
        run_id: The training's run; empty where there is none.
        aliases: `candidate`, `champion` or others.
        tags: Lineage: hashes, commit, source.
        created_ms: Milliseconds since 1970, UTC.
    """

    task: str
    number: int
    run_id: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    created_ms: int

    @property
    def model_sha256(self) -> str:
        """Of `model.safetensors`."""
        return self.tags.get(MODEL_TAG, "")

    @property
    def variant(self) -> str:
        """Which form of the exported model it holds."""
        return self.tags.get(VARIANT_TAG, FP32)

    @property
    def sums(self) -> dict[str, str]:
        """The sha256 of its files as the registry has them: of the list of checksums, which holds all the others.

        Versions that were registered before there was a tag of the list have those of model and preprocessor alone.
        """
        return {name: self.tags[tag] for name, tag in _SUM_TAGS.items() if self.tags.get(tag)}

    @property
    def events(self) -> list[str]:
        """The log's lines about this version, as its tags mirror them."""
        return [value for key, value in self.tags.items() if key.startswith(registry_log.TAG)]

    def __str__(self) -> str:
        return f"{self.task}/{self.number}"


def decision_of(version: Version) -> Json | None:
    """The gate's decision on a version; None where it has not been judged."""
    stored = version.tags.get(DECISION_TAG)
    found: Json | None = None if stored is None else json.loads(stored)
    return found


def num_judged(known: Sequence[Version], test_sha256: str, model_sha256: str) -> int:
    """How many models a test set has judged, this one included.

    Args:
        known: All versions of the task.
        test_sha256: The sha256 of the processed test set.
        model_sha256: The sha256 of the weights that are judged now.
    """
    decided = {one.model_sha256: (decision_of(one) or {}).get("test_sha256") for one in known}
    tagged = {one.model_sha256 for one in known if one.tags.get(TEST_TAG) == test_sha256}
    return len(tagged | {model for model, test in decided.items() if test == test_sha256} | {model_sha256})


def by_alias(client: MlflowClient, task: str, alias: str) -> Version | None:
    """The version that an alias names; None where the alias, or the registered model, is missing."""
    found = _ask(client.get_model_version_by_alias, task, alias)
    return None if found is None else _version(client, found)


def by_number(client: MlflowClient, task: str, number: int) -> Version | None:
    """The version with this number; None where there is none."""
    found = _ask(client.get_model_version, task, str(number))
    return None if found is None else _version(client, found)


def with_contents(client: MlflowClient, task: str, tags: Mapping[str, str]) -> Version | None:
    """The newest version of the same weights, preprocessor and variant; None where there is none.

    Weights make one fp32, whatever an exporter writes round them; another variant is told by its file too.

    Args:
        client: The client of the store.
        task: The registered model's name.
        tags: Tags that the version would get.
    """
    same = {key: tags[key] for key in (MODEL_TAG, PREPROCESSOR_TAG)}
    variant = tags[VARIANT_TAG]
    for version in versions_of(client, task, same):
        if version.variant == variant and (variant == FP32 or version.tags.get(ONNX_TAG) == tags[ONNX_TAG]):
            return version
    return None


def versions_of(client: MlflowClient, task: str | None = None, tags: Mapping[str, str] | None = None) -> list[Version]:
    """A task's versions (None: all tasks'), the newest of each task first; those only that carry all of `tags`."""
    words = [f"name = '{_quotable(task)}'"] if task else []
    words += [f"tags.{key} = '{_quotable(value)}'" for key, value in (tags or {}).items()]
    found: list[Any] = []
    token = None
    while True:
        page = client.search_model_versions(" and ".join(words), max_results=1000, page_token=token)
        found += page
        token = page.token
        if not token:
            break
    aliases = {name: _aliases(client, name) for name in {item.name for item in found}}
    versions = [_version(client, item, aliases[item.name]) for item in found]
    return sorted(versions, key=lambda version: (version.task, -version.number))


def resolve(client: MlflowClient, task: str, reference: str) -> Version:
    """Find a version by its number or by an alias.

    Raises:
        RegistryError: There is no such version.
    """
    number = re.fullmatch(r"v?(\d+)", reference)
    found = by_number(client, task, int(number[1])) if number else by_alias(client, task, reference)
    if found is not None:
        return found
    known = versions_of(client, task)
    if not known:
        names = sorted({version.task for version in versions_of(client)})
        fix = how_to_register(task) if task in registered_here() or not names else nearest(task, names)
        raise RegistryError("no registered model", where=task, fix=fix)
    if number:
        fix = f"versions: {_numbers(known)}; {how_to_register(task)} to register the present model"
        raise RegistryError(f"no version {number[1]}", where=task, fix=fix)
    aliases = {alias for version in known for alias in version.aliases}
    raise RegistryError(f"no version has the alias '{reference}'", where=task, fix=nearest(reference, aliases))


def registered_here() -> list[str]:
    """Tasks that the pipeline of this checkout has registered, whatever store that was in."""
    return sorted(file.parent.name for file in (home_root() / "artifacts").glob("*/registered.json"))


def how_to_register(*tasks: str) -> str:
    """The command that registers tasks, also where DVC takes them for done because their store was another."""
    words = ["dvc", "repro", *(["-f", "-s"] if set(tasks) & set(registered_here()) else [])]
    return f"run `{' '.join([*words, *(f'register@{task}' for task in tasks)])}`"


def create(client: MlflowClient, task: str, run_id: str, contents: Contents, tags: Mapping[str, str]) -> Version:
    """Store a version's files and make the version, in this order: no version ever lacks its files.

    Args:
        client: The client of the store.
        task: The registered model's name; it is made where it is missing.
        run_id: The training's run, which gets the model as an output.
        contents: Contents of the version.
        tags: Tags of the version, including its lineage, `model_sha256` and `preprocessor_sha256`.
    """
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    experiment = client.get_run(run_id).info.experiment_id
    _clear_unfinished(client, experiment, tags[MODEL_TAG])
    logged = client.create_logged_model(experiment, name=task, source_run_id=run_id, tags=dict(tags))
    described = Model(artifact_path=logged.artifact_location, model_uuid=logged.model_id, run_id=run_id,
                      model_id=logged.model_id)  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "version"
        sums = write_package(folder, contents, described)
        held = {tag: sums[name] for name, tag in _SUM_TAGS.items()}
        client.set_logged_model_tags(logged.model_id, held)
        client.log_model_artifacts(logged.model_id, str(folder))
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
    if _ask(client.get_registered_model, task) is None:
        client.create_registered_model(task, description=f"Flywheel task {task}")
    made = client.create_model_version(task, f"models:/{logged.model_id}", run_id=run_id, tags={**tags, **held})
    return _version(client, made)


def files_of(client: MlflowClient, version: Version) -> Path:
    """The folder with a version's files, after comparing them with the registry.

    Raises:
        RegistryError: They are gone, or are not those that were registered.
    """
    folder = folder_of(client, version)
    check_package(folder, version.sums)
    return folder


def folder_of(client: MlflowClient, version: Version) -> Path:
    """Where a version's files lie, or a copy where the store is on another machine; nothing is compared.

    Raises:
        RegistryError: They are gone.
    """
    uri = client.get_model_version_download_uri(version.task, str(version.number))
    parsed = urlparse(uri)
    if parsed.scheme in ("", "file"):
        folder = Path(unquote(parsed.path))
        if not folder.is_dir():
            where = f"{version}: {folder}"
            raise RegistryError("its files are gone", where=where, fix="restore them, or register again")
        return folder
    copy = state_dir() / "versions" / f"{version.task}-{version.number}-{version.model_sha256[:12]}"
    if not copy.is_dir():
        _download(uri, copy)
    return copy


def _download(uri: str, target: Path) -> None:
    from mlflow.artifacts import download_artifacts

    from flywheel.project.whole import whole_folder

    with whole_folder(target) as part:
        raw = part / ".download"
        got = Path(download_artifacts(artifact_uri=uri, dst_path=str(raw)))
        for item in list(got.iterdir()):
            shutil.move(item, part / item.name)
        shutil.rmtree(raw)


def _clear_unfinished(client: MlflowClient, experiment: str, model_sha256: str) -> None:
    """Remove what a killed process began for the same weights."""
    query = f"tags.{MODEL_TAG} = '{model_sha256}'"
    for logged in client.search_logged_models([experiment], filter_string=query):
        if str(logged.status) != "READY":
            client.delete_logged_model(logged.model_id)


def _version(client: MlflowClient, item: Any, aliases: Mapping[str, tuple[str, ...]] | None = None) -> Version:
    known = _aliases(client, item.name) if aliases is None else aliases
    return Version(
        item.name, int(item.version), item.run_id or "", known.get(str(item.version), ()), dict(item.tags),
        int(item.creation_timestamp),
    )  # fmt: skip


def _aliases(client: MlflowClient, task: str) -> dict[str, tuple[str, ...]]:
    """Version number -> its aliases (a search for versions does not give them)."""
    found: dict[str, tuple[str, ...]] = {}
    for alias, number in sorted(client.get_registered_model(task).aliases.items()):
        found[str(number)] = (*found.get(str(number), ()), alias)
    return found


def _ask(question: Any, *arguments: str) -> Any:
    """Ask the store; None where it says that there is no such thing."""
    from mlflow.exceptions import MlflowException

    try:
        return question(*arguments)
    except MlflowException as error:
        if error.error_code in _MISSING:
            return None
        raise


def _numbers(versions: list[Version]) -> str:
    return ", ".join(str(version.number) for version in versions[:10])


def _quotable(text: str) -> str:
    if "'" in text or "\\" in text:
        raise RegistryError("not the name of a task or tag", where=text, fix="leave out quotes")
    return text
