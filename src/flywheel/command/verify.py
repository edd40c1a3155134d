"""Hashes what is stored, names what rotted, and fixes what can be fixed.

DVC trusts a cache file that it once made read-only, so a flipped bit is checked out as good (DESIGN, "found by
trial"). Here every file of the cache and of the download store is read and compared with the hash in its name.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from flywheel.project import dvc_lock
from flywheel.project.digest import sha256_of
from flywheel.project.params import home_root, state_dir
from flywheel.project.types import Checked, DamagedFile


def verify_cache(*, fix: bool) -> Checked:
    """Check DVC's cache, whose files are named by their md5.

    Args:
        fix: Put a good copy from the working tree back, or remove the damaged file, so that DVC makes or fetches it
            anew. Without it nothing is changed.
    """
    folder = home_root() / ".dvc" / "cache" / "files" / "md5"
    files = sorted(file for file in folder.glob("??/*") if file.is_file())
    bad = [file for file, good in zip(files, _all(_md5_fits, files), strict=True) if not good]
    owners = _owners(folder) if bad else {}
    damaged = [_treat(file, owners.get(_name(file), []), fix=fix) for file in bad]
    return Checked("DVC cache", len(files), sum(file.stat().st_size for file in files if file.exists()), damaged)


def verify_store(*, fix: bool) -> Checked:
    """Check the store of downloads, whose files are named by their sha256.

    Args:
        fix: Remove damaged files: the next download fetches them again.
    """
    files = sorted(file for file in (state_dir() / "store").glob("??/*") if len(file.name) == 64)
    bad = [file for file, good in zip(files, _all(lambda f: sha256_of(f) == f.name, files), strict=True) if not good]
    num_bytes = sum(file.stat().st_size for file in files)
    damaged = []
    for file in bad:
        if fix:
            file.unlink()
        damaged.append(
            DamagedFile(file, "a downloaded file", "removed; the next download fetches it again" if fix else "")
        )
    return Checked("download store", len(files), num_bytes, damaged)


def _all(fits: Any, files: list[Path]) -> list[bool]:
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # hashing releases the interpreter's lock
        return list(pool.map(fits, files))


def _name(file: Path) -> str:
    return file.parent.name + file.name


def _md5_fits(file: Path) -> bool:
    return _md5(file) == _name(file).removesuffix(".dir")


def _md5(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _owners(cache: Path) -> dict[str, list[Path]]:
    """The working tree's paths for each cached hash, by `dvc.lock` and the folder lists it names."""
    owners: dict[str, list[Path]] = {}
    for stage in dvc_lock.read(home_root()).get("stages", {}).values():
        for out in stage.get("outs", []):
            place, md5 = home_root() / out["path"], out.get("md5", "")
            owners.setdefault(md5, []).append(place)
            for entry in _listing(cache, md5):
                owners.setdefault(entry["md5"], []).append(place / entry["relpath"])
    return owners


def _listing(cache: Path, md5: str) -> Iterator[dict[str, str]]:
    """The files of a cached folder; nothing where the list itself rotted."""
    if not md5.endswith(".dir"):
        return
    try:
        yield from json.loads((cache / md5[:2] / md5[2:]).read_text())
    except (OSError, ValueError):
        return


def _treat(file: Path, places: list[Path], *, fix: bool) -> DamagedFile:
    belongs_to = ", ".join(str(place.relative_to(home_root())) for place in places) or "an earlier version"
    if not fix:
        return DamagedFile(file, belongs_to, "")
    wanted = _name(file)
    for place in places:
        if place.is_file() and _md5(place) == wanted:
            part = file.with_suffix(".part")
            shutil.copyfile(place, part)
            part.chmod(0o444)
            part.replace(file)
            return DamagedFile(file, belongs_to, f"put back from {place.relative_to(home_root())}")
    file.unlink()
    for place in places:  # a copy checked out from the damaged file would be taken for good
        if place.is_file():
            place.unlink()
    return DamagedFile(file, belongs_to, "removed; `dvc repro` makes it again (or `dvc pull` fetches it)")
