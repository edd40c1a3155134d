"""Reads every file of the registry's versions again, names what rotted, and puts good copies back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import flywheel
from flywheel.digest import sha256_of
from flywheel.errors import RegistryError
from flywheel.params import home_root
from flywheel.registry.package import CHECKSUMS, rotted
from flywheel.registry.versions import Version, files_of, versions_of
from flywheel.types import Checked, Rot

STORE = "registry"


def verify_registry(*, mend: bool) -> Checked:
    """Compare the files of all versions on this machine with the checksums they were stored with.

    Args:
        mend: Put good copies back, from the project's folders, the package, or another version.
    """
    from flywheel.tracking import prepare

    client = prepare()
    num_files = num_bytes = 0
    rotten: list[Rot] = []
    sound: dict[str, Path] = {}
    bad: list[tuple[Version, Path, str, str]] = []
    for version in versions_of(client):
        try:
            folder = files_of(client, version)
            names = rotted(folder)
        except RegistryError as error:
            rotten.append(Rot(Path(error.where or str(version)), f"{version}: {error.what}", ""))
            continue
        wanted: dict[str, str] = json.loads((folder / CHECKSUMS).read_text())
        num_files += len(wanted)
        num_bytes += sum((folder / name).stat().st_size for name in wanted if (folder / name).is_file())
        sound |= {digest: folder / name for name, digest in wanted.items() if name not in names}
        bad += [(version, folder, name, wanted[name]) for name in names]
    if bad and mend:
        sound |= {sha256_of(file): file for task in {v.task for v, *_ in bad} for file in _copies(task)}
    for version, folder, name, digest in bad:
        source = sound.get(digest) if mend else None
        rotten.append(Rot(folder / name, str(version), _put_back(source, folder / name)))
    return Checked(STORE, num_files, num_bytes, rotten)


def _put_back(source: Path | None, target: Path) -> str:
    if source is None:
        return ""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    shutil.copyfile(source, part)
    part.replace(target)
    return f"put back from {source}"


def _copies(task: str) -> list[Path]:
    """Where the files of a version came from: if nothing has changed since, they are still there."""
    root = home_root()
    code = [file for file in Path(flywheel.__file__).parent.rglob("*") if "__pycache__" not in file.parts]
    places = (root / "artifacts" / task, root / "data" / "processed" / task)
    outputs = [file for place in places if place.is_dir() for file in place.rglob("*")]
    return [file for file in (*code, *outputs) if file.is_file()]
