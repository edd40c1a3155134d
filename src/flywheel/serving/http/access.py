"""Who may come in, and how often: bearer tokens, and a bucket of requests for each client."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import re
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

from flywheel.project.errors import ConfigError
from flywheel.serving.problem import RequestError

VARIABLE = "FLYWHEEL_TOKENS"
MIN_TOKEN = 16
MAX_CLIENTS = 10_000
GUESS_RATE, GUESS_BURST = 1.0, 20.0
"""Wrong tokens of one address that are looked at: a second, and at once."""
SINGLE = (
    b"host", b"authorization", b"origin", b"content-type", b"content-length", b"content-encoding", b"x-subject",
    b"inference-header-content-length",
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
FIX = 'make one with `python -c "import secrets; print(secrets.token_urlsafe())"`'


def read_tokens(file: Path | None, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Read clients' names and tokens, a line `name token` each, from the file or, without one, `FLYWHEEL_TOKENS`.

    Returns:
        sha256 (hex) of each token by the client's name: the tokens themselves need not be held.

    Raises:
        ConfigError: The file is missing, or a line is no name and token.
    """
    where = str(file or VARIABLE)
    try:
        text = environment.get(VARIABLE, "") if file is None else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"tokens cannot be read: {error}", where=where, fix="check the path") from None
    found: dict[str, str] = {}
    lines = [line.strip() for line in text.replace(",", "\n").splitlines()]
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        name, _, token = line.partition(" ")
        token = token.strip()
        at = f"{where}, line {number}"
        if not _NAME.fullmatch(name) or not token or name in found:
            raise ConfigError("is not a name of its own and a token", where=at, fix="write `name token`")
        if len(token) < MIN_TOKEN or not token.isascii() or " " in token:
            what = f"the token of '{name}' is no word of at least {MIN_TOKEN} characters"
            raise ConfigError(what, where=at, fix=FIX)
        found[name] = _hash(token.encode())
    if file is not None and not found:
        raise ConfigError("holds no tokens", where=where, fix=FIX)
    return found


def check_address(host: str, tokens: Mapping[str, str]) -> None:
    """Refuse to listen to the world without authentication.

    Raises:
        ConfigError: The address is not loopback, and there are no tokens.
    """
    if tokens or is_loopback(host):
        return
    fix = f"give --tokens FILE, set {VARIABLE}, or listen on 127.0.0.1"
    raise ConfigError("needs tokens: others than this machine could ask", where=host or "all addresses", fix=fix)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_headers(given: Sequence[tuple[bytes, bytes]], headers: Mapping[bytes, bytes]) -> None:
    """Refuse headers that come twice where only one can be meant: a proxy before the server may have read the other.

    Args:
        given: All headers, as sent.
        headers: Headers by name.

    Raises:
        RequestError: One of `SINGLE` comes twice (400).
    """
    if len(given) == len(headers):
        return
    names = [name for name, _ in given]
    for name in SINGLE:
        if names.count(name) > 1:
            raise RequestError(400, "comes twice", where=name.decode(), fix="send it once")


class Buckets:
    """A bucket a client, which fills up with time.

    Args:
        rate: Tokens that are added each second.
        burst: Tokens that fit into a bucket.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self.held: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, now: float, number: float = 1) -> float:
        """Take something out of a client's bucket if there is 1 in it.

        Args:
            client: The client.
            now: Seconds on a clock that never goes back.
            number: Tokens to take: 1, or 0 to only look.

        Returns:
            Seconds until there is 1; 0: there was.
        """
        left, since = self.held.pop(client, (self.burst, now))
        left = min(self.burst, left + (now - since) * self.rate)
        self.held[client] = (left - number if left >= 1 else left, now)
        if len(self.held) > MAX_CLIENTS:
            self.held.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) / self.rate


class AccessControl:
    """Admits requests.

    Args:
        tokens: sha256 of each token by its client's name; none: everybody may come in.
        rate: Requests a second of one client; 0: no limit.
        burst: Requests that it may make at once.
    """

    def __init__(self, tokens: Mapping[str, str], rate: float, burst: int) -> None:
        self._tokens = dict(tokens)
        self._requests, self._guesses = Buckets(rate, float(burst)), Buckets(GUESS_RATE, GUESS_BURST)
        self._known: OrderedDict[tuple[str, str], str] = OrderedDict()

    def name_of(self, authorization: bytes, address: str = "", now: float | None = None) -> str:
        """The client's name; empty where there is no authentication.

        An address that has sent many wrong tokens must wait before another one is looked at. Clients that have come in
        from it before are not kept waiting: behind a proxy, all have one address.

        Args:
            authorization: The header `Authorization`.
            address: The address of the client.
            now: Seconds on a clock that never goes back.

        Raises:
            RequestError: There is no token, or none that is known (401), or there were too many such (429).
        """
        if not self._tokens:
            return ""
        scheme, _, token = authorization.partition(b" ")
        given = _hash(token.strip()) if scheme.lower() == b"bearer" else ""
        if found := self._known.get((address, given)):
            return found
        now = time.monotonic() if now is None else now
        if given and (seconds := self._guesses.take(address, now, 0)):
            raise _too_often("too many wrong tokens came from this address", seconds)
        for name, known in self._tokens.items():  # all of them, whichever it is: the time tells nothing
            if hmac.compare_digest(given, known):
                found = name
        if found:
            self._known[address, given] = found
            if len(self._known) > MAX_CLIENTS:
                self._known.popitem(last=False)
        else:
            if given:
                self._guesses.take(address, now)
            what = "no token, or none that is known"
            fix = "send `Authorization: Bearer TOKEN`"
            challenge = {"www-authenticate": "Bearer"}
            raise RequestError(401, what, where="Authorization", fix=fix, headers=challenge)
        return found

    def check_origin(self, headers: Mapping[bytes, bytes]) -> None:
        """Refuse what a web page of another site makes a browser on this machine ask, where no token protects.

        Raises:
            RequestError: The browser says so, or the server is called by a name that is not this machine's (403).
        """
        if self._tokens:
            return
        host = headers.get(b"host", b"localhost").decode("latin-1").strip().lower()
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        origin = headers.get(b"origin", b"").decode("latin-1").strip().lower()
        where = ""
        if not is_loopback(name):
            where = "Host"
        elif origin and origin.partition("://")[2] != host:
            where = "Origin"
        elif headers.get(b"sec-fetch-site", b"none").strip().lower() not in (b"none", b"same-origin"):
            where = "Sec-Fetch-Site"
        if where:
            what = "comes from another site"
            raise RequestError(403, what, where=where, fix="ask localhost, or start the server with --tokens")

    def count(self, client: str, now: float | None = None) -> None:
        """Take one request out of a client's bucket.

        Args:
            client: Name of its token, or its address.
            now: Seconds on a clock that never goes back.

        Raises:
            RequestError: The bucket is empty (429); the answer says when to come again.
        """
        if not self._requests.rate:
            return
        if seconds := self._requests.take(client, time.monotonic() if now is None else now):
            raise _too_often(f"more than {self._requests.rate:g} requests a second", seconds)


def _too_often(what: str, seconds: float) -> RequestError:
    whole = max(1, round(seconds))
    return RequestError(429, what, where="client", fix=f"wait {whole} s", headers={"retry-after": str(whole)})


def _hash(token: bytes) -> str:
    return hashlib.sha256(token).hexdigest()
