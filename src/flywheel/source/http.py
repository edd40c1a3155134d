"""`https:` and `http:`: resumed where it was cut, tried again where that helps, given up at once where it does not."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from time import sleep
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from flywheel import __version__
from flywheel.project.config import SourceConfig
from flywheel.project.errors import SourceError
from flywheel.source.base import Job, SkippedError, Source, safe_name, shown, size_text
from flywheel.source.partial import Partial
from flywheel.source.progress import progress
from flywheel.source.store import locked

if TYPE_CHECKING:
    from requests import Response, Session

CONNECT_S, READ_S, DNS_S = 5.0, 30.0, 4.0
TRIES = 5  # in a row without a new byte
CONNECT_TRIES = 2  # where nobody answers at all
BLOCK_BYTES = 1 << 14  # what a stalled or killed download loses at most
BACKOFF_S, LONGEST_WAIT_S = 0.5, 20.0
WORTH_A_RETRY = (408, 425, 429, 500, 502, 503, 504)


class _AgainError(Exception):
    """It failed in a way that may go better the next time."""

    def __init__(self, why: str, *, tries: int = TRIES, wait_s: float | None = None) -> None:
        super().__init__(why)
        self.tries, self.wait_s = tries, wait_s


class HttpSource(Source):
    """Files on a web server."""

    def __init__(self, config: SourceConfig, job: Job) -> None:
        super().__init__(config, job)
        self._opened: Session | None = None

    def get(self, uri: str) -> Path:
        """Download one file."""
        partial = Partial(self.job.partial, uri)
        with locked(partial.lock, f"waiting for another process that downloads {shown(uri)}"):
            self._download(uri, partial)
            path = partial.move_to(self.job.new_folder() / last_part(uri))
        self.check_downloaded(path, uri)
        return path

    def probe(self, uri: str) -> str:
        """Ask for the file's headers."""
        try:
            with self._answer("HEAD", uri, {}) as response:
                length = response.headers.get("Content-Length", "")
                if response.status_code not in (403, 405, 501):  # HEAD itself may be what is refused
                    _check_status(response, uri)
                    return f"reachable, {size_text(int(length))}" if length.isdigit() else "reachable"
            with self._answer("GET", uri, {"Range": "bytes=0-0"}) as response:
                _check_status(response, uri)
        except _AgainError as again:
            raise SkippedError(str(again), where=shown(uri)) from None
        return "reachable"

    def validator(self, uri: str) -> str | None:
        """Give the ETag, or the date and length."""
        try:
            with self._answer("HEAD", uri, {}) as response:
                headers = response.headers
                if response.status_code != 200:
                    return None
        except _AgainError:
            return None
        if "ETag" in headers:
            return headers["ETag"]
        dated = headers.get("Last-Modified")
        return f"{dated} {headers.get('Content-Length', '')}" if dated else None

    def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            self._opened.close()

    def _download(self, uri: str, partial: Partial) -> None:
        """Make `partial` whole; a try that brought a new byte sets the count of tries back."""
        furthest, tries = partial.size, 0
        while True:
            try:
                self._transfer(uri, partial)
                return
            except _AgainError as again:
                tries = 1 if partial.size > furthest else tries + 1
                furthest = max(furthest, partial.size)
                if tries >= again.tries:
                    raise self._skipped(uri, f"{again} ({tries} tries)") from None
                backoff_s = BACKOFF_S * 2 ** (tries - 1) * random.uniform(0.5, 1.0)
                sleep(min(again.wait_s or backoff_s, LONGEST_WAIT_S))

    def _transfer(self, uri: str, partial: Partial) -> None:
        with self._answer("GET", uri, partial.request_headers()) as response:
            if response.status_code == 416:
                if partial.size and partial.size == partial.total:
                    return  # killed after the last byte; If-Range vouched for the content
                partial.discard()
                raise _AgainError("the server does not have the rest")
            _check_status(response, uri)
            if response.status_code != 206:
                partial.begin(response.headers)
            elif not partial.continues(response.headers):
                partial.discard()
                raise _AgainError("the server sent another range than was requested")
            self._receive(response, partial)
        if partial.total is not None and partial.size != partial.total:
            why = f"cut at {partial.size} of {partial.total} bytes"
            if partial.size > partial.total:
                partial.discard()
            raise _AgainError(why)

    def _receive(self, response: Response, partial: Partial) -> None:
        # The raw stream: a .gz file that a server calls "Content-Encoding: gzip" must stay as it is.
        with partial.path.open("ab") as file, progress(self.job.asked_for, partial.total, partial.size) as advance:
            for block in response.raw.stream(BLOCK_BYTES, decode_content=False):
                file.write(block)
                file.flush()
                advance(len(block))

    @contextlib.contextmanager
    def _answer(self, method: str, uri: str, headers: dict[str, str]) -> Iterator[Response]:
        """Send a request; what goes wrong before and during the answer becomes SourceError or _AgainError."""
        import requests
        from urllib3.exceptions import HTTPError

        self._find_host(uri)
        try:
            with self._session().request(
                method, uri, headers=headers, stream=True, timeout=(CONNECT_S, READ_S), allow_redirects=True
            ) as response:
                if uri.startswith("https:") and response.url.startswith("http:"):
                    raise SourceError("redirects to an address without encryption", where=shown(uri))
                yield response
        except requests.exceptions.SSLError as error:
            raise self._skipped(uri, f"no trusted connection ({_root(error)})") from None
        except requests.exceptions.ConnectTimeout:
            raise self._skipped(uri, f"no answer within {CONNECT_S:g} s") from None
        except requests.exceptions.ReadTimeout:
            raise _AgainError(f"nothing arrived for {READ_S:g} s") from None
        except requests.exceptions.ConnectionError as error:
            raise _AgainError(f"no connection ({_root(error)})", tries=CONNECT_TRIES) from None
        except requests.exceptions.RequestException as error:
            raise SourceError(f"no valid request ({_root(error)})", where=shown(uri)) from None
        except HTTPError as error:
            raise _AgainError(f"the connection broke ({_root(error)})") from None

    def _session(self) -> Session:
        if self._opened is None:
            import requests

            self._opened = requests.Session()
            # identity: lengths and ranges are those of the file itself
            self._opened.headers.update({"User-Agent": f"flywheel/{__version__}", "Accept-Encoding": "identity"})
        return self._opened

    def _skipped(self, uri: str, why: str) -> SkippedError:
        self.job.unreachable[urlsplit(uri).netloc] = why
        return SkippedError(why, where=shown(uri))

    def _find_host(self, uri: str) -> None:
        """Refuse at once a host that did not answer before, or whose name is unknown."""
        from requests.utils import get_environ_proxies, select_proxy

        parts = urlsplit(uri)
        if parts.netloc in self.job.unreachable:
            raise SkippedError(self.job.unreachable[parts.netloc], where=shown(uri))
        if parts.hostname and not select_proxy(uri, get_environ_proxies(uri, no_proxy=None)):
            why = _unresolved(parts.hostname)
            if why:
                raise self._skipped(uri, why)


def _unresolved(host: str) -> str | None:
    """Say why a host's name cannot be resolved; a resolver that hangs is not waited for."""
    answer: list[str | None] = []

    def ask() -> None:
        try:
            socket.getaddrinfo(host, None)
        except (OSError, UnicodeError):
            answer.append(f"host name {host} is not known here (offline?)")
        else:
            answer.append(None)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(DNS_S)
    return answer[0] if answer else f"host name {host} was not resolved within {DNS_S:g} s (offline?)"


def _check_status(response: Response, uri: str) -> None:
    status = f"{response.status_code} {response.reason or ''}".strip()
    if response.status_code in WORTH_A_RETRY:
        wait = response.headers.get("Retry-After", "")
        raise _AgainError(f"the server answers {status}", wait_s=float(wait) if wait.isdigit() else None)
    if response.status_code not in (200, 206):
        raise SourceError(f"the server answers {status}", where=shown(uri))


def _root(error: Any) -> str:
    """Find the words of the innermost cause, without object addresses."""
    while True:
        inner = getattr(error, "reason", None) or next((a for a in error.args if isinstance(a, Exception)), None)
        if not isinstance(inner, Exception):
            break
        error = inner
    return str(error).rpartition(">: ")[2].rpartition("] ")[2] or type(error).__name__


def last_part(uri: str) -> str:
    """Give the file name at the end of a URI's path."""
    name = unquote(PurePosixPath(urlsplit(uri).path).name)
    return name if safe_name(name) else "download"
