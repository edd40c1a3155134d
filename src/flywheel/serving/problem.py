"""What goes wrong with a request: the same words as on the command line, with a status and in JSON."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from flywheel.project.errors import DataError, FlywheelError, ModelError

PROTOCOL = "/v2"


class RequestError(FlywheelError):
    """A request that cannot be answered.

    Args:
        status: The HTTP status.
        what: What is wrong, without a full stop.
        where: The part of the request concerned.
        fix: What to do about it.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        what: str,
        *,
        where: str | None = None,
        fix: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.status, self.headers = status, dict(headers or {})


def status_of(error: FlywheelError) -> int:
    """The status of HTTP: what the caller can fix is 4xx."""
    if isinstance(error, RequestError):
        return error.status
    return 422 if isinstance(error, DataError | ModelError) else 500


def body_of(error: FlywheelError, path: str) -> bytes:
    """The error as JSON: `what`, `where`, `fix`, and `message`, the line that the command line would print.

    Args:
        error: The error to answer with.
        path: Path of the request; under `/v2` the error is the line alone, as in the Open Inference Protocol.
    """
    if path == PROTOCOL or path.startswith(f"{PROTOCOL}/"):
        return orjson.dumps({"error": _clean(str(error))})
    # `mend` is what `fix` was called; it stays beside it until 0.3.
    told = {"what": error.what, "where": error.where, "fix": error.fix, "mend": error.fix, "message": str(error)}
    return orjson.dumps({"error": {key: _clean(value) for key, value in told.items()}})


def _clean(text: str | None) -> str | None:
    """A text that can be UTF-8, of bounded length: it may quote what a caller sent."""
    if text is None:
        return None
    return text.encode("utf-8", "replace").decode()[:1000]
