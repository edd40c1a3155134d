"""A download that was cut: the bytes so far, and what proves that a later part belongs to the same content."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from flywheel.project.types import Json
from flywheel.source.store import write_json


class Partial:
    """The bytes of one URI so far; they outlive the process.

    Args:
        folder: `partial/` of the store.
        uri: URI of the download; its hash names the files.
    """

    def __init__(self, folder: Path, uri: str) -> None:
        key = hashlib.sha256(uri.encode()).hexdigest()[:32]
        self.path = folder / f"{key}.part"
        self.lock = folder / f"{key}.lock"
        self._note = folder / f"{key}.json"

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def total(self) -> int | None:
        """Bytes that the server promised, if it did."""
        total: int | None = self._read().get("total")
        return total

    def request_headers(self) -> dict[str, str]:
        """Ask for the rest, but only of the very content that this is the start of; without proof, for everything."""
        note = self._read()
        validator = note.get("etag") or note.get("last_modified")
        if not self.size or not validator:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": validator}

    def begin(self, headers: Mapping[str, str]) -> None:
        """Start from nothing with what a full answer's headers promise."""
        self.discard()
        etag = headers.get("ETag", "")
        length = headers.get("Content-Length", "")
        write_json(self._note, {
            "etag": None if etag.startswith("W/") else etag or None,  # a weak one does not promise equal bytes
            "last_modified": headers.get("Last-Modified"),
            "total": int(length) if length.isdigit() else None,
        })  # fmt: skip

    def continues(self, headers: Mapping[str, str]) -> bool:
        """Say whether a partial answer (206) is the rest of just this content."""
        note = self._read()
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", headers.get("Content-Range", "").strip())
        if not found or int(found[1]) != self.size:
            return False
        same_total = found[3] == "*" or note.get("total") in (None, int(found[3]))
        same_etag = not note.get("etag") or headers.get("ETag", note["etag"]) == note["etag"]
        return same_total and same_etag

    def move_to(self, target: Path) -> Path:
        """Hand over the whole content; nothing is left here."""
        self.path.replace(target)
        self.discard()
        return target

    def discard(self) -> None:
        """Forget the bytes."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def _read(self) -> Json:
        try:
            note = json.loads(self._note.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return note if isinstance(note, dict) else {}
