"""Reads every file of the registry's versions again, names what rotted, and puts good copies back."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from pathlib import Path

import flywheel
from flywheel.project.digest import sha256_of
from flywheel.project.errors import RegistryError
from flywheel.project.params import home_root
from flywheel.project.types import Checked, DamagedFile
from flywheel.project.whole import whole_file
from flywheel.registry.package import CHECKSUMS, checksums, differing
from flywheel.registry.versions import Version, folder_of, versions_of

log = logging.getLogger("flywheel")

STORE = "registry"


def verify_registry(*, fix: bool) -> Checked:
    """Compare the files of all versions on this machine with what the registry's tags say of them.

    What Python has compiled of a version's code is not part of it, and is removed.

    Args:
        fix: Put good copies back, from the project's folders, the package, or another version.
    """
    from flywheel.project.tracking import prepare

    client = prepare()
    num_files = num_bytes = 0
    damaged: list[DamagedFile] = []
    sound: dict[str, Path] = {}
    bad: list[tuple[Version, Path, str, str]] = []
    for version in versions_of(client):
        try:
            folder = folder_of(client, version)
            for cache in folder.rglob("__pycache__"):
                shutil.rmtree(
                    cache, ignore_errors=True
                )  # MLflow would run what is in it in place of the version's code
            differs = differing(folder, version.sums)
        except RegistryError as error:
            damaged.append(DamagedFile(Path(error.where or str(version)), f"{version}: {error.what}", ""))
            continue
        listed: dict[str, str] = json.loads((folder / CHECKSUMS).read_text())
        num_files += len(listed)
        num_bytes += sum((folder / name).stat().st_size for name in listed if (folder / name).is_file())
        sound |= {digest: folder / name for name, digest in listed.items() if name not in differs}
        bad += [(version, folder, name, digest) for name, digest in differs.items()]
        if CHECKSUMS not in version.sums:
            log.warning("%s was registered before the registry kept the checksum of its list: only its model and "
                        "preprocessor are known to be genuine", version)  # fmt: skip
    if bad and fix:
        sound |= {sha256_of(file): file for task in {v.task for v, *_ in bad} for file in _copies(task)}
    for version, folder, name, digest in sorted(bad, key=lambda one: one[2] == CHECKSUMS):  # the list comes last
        source = sound.get(digest) if fix else None
        fixed = _put_back(source, folder / name)
        if fix and not fixed and name == CHECKSUMS:
            fixed = _list_again(folder, digest)
        damaged.append(DamagedFile(folder / name, str(version), fixed))
    return Checked(STORE, num_files, num_bytes, damaged)


def _put_back(source: Path | None, target: Path) -> str:
    if source is None:
        return ""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    shutil.copyfile(source, part)
    part.replace(target)
    return f"put back from {source}"


def _list_again(folder: Path, digest: str) -> str:
    """Make a version's list of checksums anew, if that gives the registered one: then all its files are genuine."""
    text = checksums(folder)
    if hashlib.sha256(text.encode()).hexdigest() != digest:
        return ""
    with whole_file(folder / CHECKSUMS) as part:
        part.write_text(text)
    return "listed again"


def _copies(task: str) -> list[Path]:
    """Where the files of a version came from: if nothing has changed since, they are still there."""
    root = home_root()
    code = [file for file in Path(flywheel.__file__).parent.rglob("*") if "__pycache__" not in file.parts]
    places = (root / "artifacts" / task, root / "data" / "processed" / task)
    outputs = [file for place in places if place.is_dir() for file in place.rglob("*")]
    return [file for file in (*code, *outputs) if file.is_file()]
