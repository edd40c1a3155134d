"""Seals stored inputs with a key (AES-256-GCM), so that a copied database or disk does not reveal them."""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from pathlib import Path

from flywheel.project.errors import FeedbackError

KEY_VARIABLE = "FLYWHEEL_FEEDBACK_KEY"
KEY_BYTES = 32
NONCE_BYTES = 12
_FIX = "make one with `flywheel feedback key`"


def new_key() -> str:
    """A fresh key, as `FLYWHEEL_FEEDBACK_KEY` takes it."""
    return base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def given_key() -> str | None:
    """The key in `FLYWHEEL_FEEDBACK_KEY`: the key itself, or the name of a file that holds it; None: there is none.

    Raises:
        FeedbackError: The file cannot be read.
    """
    given = os.environ.get(KEY_VARIABLE, "").strip()
    if not given or _decoded(given) is not None:
        return given or None
    try:
        return Path(given).read_text().strip()
    except (OSError, ValueError):
        raise FeedbackError("is neither a key nor a file with one", where=KEY_VARIABLE, fix=_FIX) from None


class Vault:
    """Seals and opens bytes with one key.

    Args:
        key: 32 bytes in base64.

    Raises:
        FeedbackError: It is no such key.
    """

    def __init__(self, key: str) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        raw = _decoded(key)
        if raw is None:
            raise FeedbackError(f"is not {KEY_BYTES} bytes in base64", where="feedback key", fix=_FIX)
        self._cipher = AESGCM(raw)

    def seal(self, content: bytes, name: str) -> bytes:
        """Encrypt; what is sealed under one name cannot be passed off as another's.

        Args:
            content: The bytes to encrypt.
            name: Id of the prediction, or name of the file, that the bytes belong to.
        """
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, name.encode())

    def open(self, sealed: bytes, name: str) -> bytes:
        """Decrypt.

        Raises:
            FeedbackError: The key is another, or the bytes were changed.
        """
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], name.encode())
        except (InvalidTag, ValueError):
            what = "the key is not the one that the stored inputs were sealed with, or they were changed"
            raise FeedbackError(what, where=KEY_VARIABLE, fix="give the right key") from None


def _decoded(key: str) -> bytes | None:
    try:
        raw = base64.urlsafe_b64decode(key.encode())
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == KEY_BYTES else None
