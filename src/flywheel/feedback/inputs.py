"""How a prediction's input is kept: in the database, in a file beside it, or not at all; sealed where there is a key.

Files are named after the sha256 of what they hold, so equal inputs are kept once.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flywheel.feedback.mask import Mask
from flywheel.feedback.vault import KEY_VARIABLE, Vault
from flywheel.project.config_feedback import FeedbackConfig
from flywheel.project.digest import sha256_of_json
from flywheel.project.errors import FeedbackError
from flywheel.project.types import Json

FULL, REFERENCE, HASH = "full", "reference", "hash"


@dataclass(frozen=True)
class Kept:
    """What the database holds of an input.

    Attributes:
        kept: `full`, `reference` or `hash`.
        sealed: Whether it is encrypted.
        content: The bytes of `full`, or those that `write` puts into the file of `reference`; None otherwise.
        sha256: The sha256 of the input's canonical JSON (masked where texts are masked); names the file for
            `reference`.
    """

    kept: str
    sealed: bool
    content: bytes | None
    sha256: str


class Inputs:
    """Keeps inputs and gives them back.

    Args:
        folder: The folder of the files.
        vault: Seals what is kept; None: it is kept as it is.
    """

    def __init__(self, folder: Path, vault: Vault | None) -> None:
        self.folder, self.vault = folder, vault
        self._masks: dict[tuple[str, ...], Mask] = {}

    def keep(self, name: str, value: Json | None, sha256: str, settings: FeedbackConfig) -> Kept:
        """Mask and seal one input; what is kept by reference is not there before `write`.

        Args:
            name: Id of the prediction.
            value: The input; None where only its hash is known.
            sha256: The sha256 of the input's canonical JSON, from the server.
            settings: The settings of its task.
        """
        if value is None or settings.keep == HASH:
            return Kept(HASH, False, None, sha256)
        masked = self._mask(settings).json(value) if settings.mask else value
        if masked != value:
            sha256 = sha256_of_json(masked)  # of the text as it came it would be a trace, too
        content = json.dumps(masked, sort_keys=True, separators=(",", ":")).encode()
        if settings.keep == REFERENCE:
            sha256 = name = sha256_of_json(masked)  # it names a file: never what somebody else says
        sealed = content if self.vault is None else self.vault.seal(content, name)
        return Kept(settings.keep, self.vault is not None, sealed, sha256)

    def write(self, kept: Kept) -> None:
        """Put what is kept by reference on the disk, whole or not at all, and its name with it."""
        file = self._file(kept.sha256)
        if kept.kept != REFERENCE or kept.content is None or file.exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f".{kept.sha256}.{os.getpid()}.{threading.get_ident()}.part"
        with part.open("wb") as stream:
            stream.write(kept.content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def give(self, name: str, kept: Kept) -> Json | None:
        """Give an input back; None where only its hash was kept.

        Raises:
            FeedbackError: It is sealed and the key is missing or wrong, or its file is gone.
        """
        if kept.kept == HASH:
            return None
        content = kept.content if kept.kept == FULL else self._read(kept.sha256)
        if kept.sealed:
            content = self._opened(content or b"", name if kept.kept == FULL else kept.sha256)
        found: Any = json.loads(content or b"null")
        return found if isinstance(found, dict) else None

    def remove(self, sha256: str) -> bool:
        """Remove an input's file; whether there was one."""
        try:
            self._file(sha256).unlink()
        except FileNotFoundError:
            return False
        return True

    def _mask(self, settings: FeedbackConfig) -> Mask:
        key = (*settings.mask, "", *settings.phone_regions)
        if key not in self._masks:
            self._masks[key] = Mask(settings.mask, settings.phone_regions)
        return self._masks[key]

    def _opened(self, content: bytes, name: str) -> bytes:
        if self.vault is None:
            raise FeedbackError("stored inputs are sealed, and there is no key", where=KEY_VARIABLE, fix="give it")
        return self.vault.open(content, name)

    def _file(self, sha256: str) -> Path:
        return self.folder / sha256

    def _read(self, sha256: str) -> bytes:
        file = self._file(sha256)
        try:
            return file.read_bytes()
        except FileNotFoundError:
            fix = "restore it, or run the deletion again that was interrupted"
            raise FeedbackError("a stored input's file is gone", where=file, fix=fix) from None
