"""Hashes of files and of plain data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def sha256_of(file: Path) -> str:
    """Hash a file's bytes (hex)."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_of_json(value: Any) -> str:
    """Hash plain data by its canonical JSON (hex)."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sha256_of_code(root: Path, places: Iterable[str]) -> str:
    """Hash Python files: each place is a file or a folder below `root`, folders with all their `.py` files."""
    digest = hashlib.sha256()
    for place in sorted(places):
        path = root / place
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(f"{file.relative_to(root).as_posix()} {sha256_of(file)}\n".encode())
    return digest.hexdigest()
