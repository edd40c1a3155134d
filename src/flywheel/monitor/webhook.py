"""Alerts: a JSON message to an address, signed where there is a secret. An alert that does not arrive stops nothing."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import logging
import os
import threading
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from flywheel.project.errors import ConfigError
from flywheel.project.types import Json

log = logging.getLogger("flywheel")

URL_VARIABLE, SECRET_VARIABLE = "FLYWHEEL_WEBHOOK_URL", "FLYWHEEL_WEBHOOK_SECRET"
SIGNATURE, TIMESTAMP = "X-Flywheel-Signature", "X-Flywheel-Timestamp"
FIRST_PAUSE_SECONDS = 0.5


def webhook_url(given: str | None = None) -> str | None:
    """The address that alerts go to: what is given, or `FLYWHEEL_WEBHOOK_URL`; None: there is none.

    Raises:
        ConfigError: It is not an address of a web server.
    """
    url = given or os.environ.get(URL_VARIABLE)
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("is not an http: or https: address", where="webhook", fix=f"fix --webhook, or {URL_VARIABLE}")
    return url


def send(url: str, message: Json, *, seconds: float, tries: int, pause: float = FIRST_PAUSE_SECONDS) -> bool:
    """Post a message as JSON; try again after a failure, with longer and longer pauses.

    The address is not logged: it may hold a secret. The header `X-Flywheel-Signature` is `sha256=` and the HMAC, with
    `FLYWHEEL_WEBHOOK_SECRET`, of `X-Flywheel-Timestamp`, a full stop, and the body.

    Args:
        url: Output of `webhook_url`.
        message: The body.
        seconds: Timeout of one attempt.
        tries: Number of attempts.
        pause: Seconds before the second try.

    Returns:
        Whether it was taken, by any answer of 200 to 299.
    """
    body = json.dumps(message, sort_keys=True).encode()
    why = ""
    for number in range(tries):
        if number:
            time.sleep(pause * 2 ** (number - 1))
        why = _within(url, body, seconds)
        if not why:
            return True
    log.warning("monitor: the alert was not accepted by %s after %d tries: %s", urlsplit(url).hostname, tries, why)
    return False


def signature(secret: str, stamp: str, body: bytes) -> str:
    """What the signature's header holds."""
    return "sha256=" + hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()


def _within(url: str, body: bytes, seconds: float) -> str:
    """Post once, and wait no longer than that, also for a receiver that sends one byte now and then."""
    said: list[str] = []
    worker = threading.Thread(target=lambda: said.append(_post(url, body, seconds)), daemon=True)
    worker.start()
    worker.join(seconds)
    return said[0] if said else f"no answer within {seconds:g} s"


def _post(url: str, body: bytes, seconds: float) -> str:
    """Post once; why it failed, empty where it did not."""
    stamp = str(int(time.time()))
    headers = {"Content-Type": "application/json", "User-Agent": "flywheel", TIMESTAMP: stamp}
    secret = os.environ.get(SECRET_VARIABLE)
    if secret:
        headers[SIGNATURE] = signature(secret, stamp, body)
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - http and https only
    try:
        with _opener().open(request, timeout=seconds) as answer:
            return "" if 200 <= answer.status < 300 else f"answered {answer.status}"
    except urllib.error.HTTPError as error:
        return f"answered {error.code}"
    except (OSError, http.client.HTTPException, ValueError) as error:  # refused, slow, or no HTTP at all
        return str(getattr(error, "reason", error)) or type(error).__name__


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is a failure: the message and its signature are for the address that was given."""

    def redirect_request(self, *_: object) -> None:
        return None


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirect)
