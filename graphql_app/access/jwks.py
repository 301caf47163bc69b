"""The keys of an issuer, fetched from where it publishes them (RFC 7517).

    a token ─▶ its key is known ─▶ used; if it is not fresh, it is fetched anew meanwhile
            ─▶ is not known     ─▶ fetched, if the last attempt was long enough ago
                                     ├─▶ found
                                     ├─▶ not among them: the token is wrong
                                     └─▶ the issuer is away: nobody can say

Whoever invents names of keys makes one request of it in so many seconds, for all of them together.
"""

import asyncio
import http.client
import io
import ipaddress
import json
import logging
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from graphql_app.access.keys import Key, UnfitKeyError, fit
from graphql_app.errors import ConfigurationError, KeysUnavailableError

logger = logging.getLogger(__name__)

FRESH_SECONDS = 300.0
"""How long keys are used without a look at whether they have changed."""

STALE_SECONDS = 3_600.0
"""How long they are used while the issuer cannot be reached."""

PAUSE_SECONDS = float(KeysUnavailableError.retry_seconds)
"""The least time between two requests to the issuer."""

FETCH_SECONDS = 5.0
"""How long a request to it may take; a token waits as long at most."""

MOST_BYTES = 1_000_000
MOST_KEYS = 100

Fetch = Callable[[str], bytes]

READERS: dict[object, Callable[[dict[str, Any]], object]] = {
    "RSA": RSAAlgorithm.from_jwk,
    "EC": ECAlgorithm.from_jwk,
    "OKP": OKPAlgorithm.from_jwk,
}
"""By kind of key. A set may have secrets too, which are nothing that anybody should publish."""


class Published(NamedTuple):
    """A key of a set."""

    id: str | None
    key: Key


class KeySet:
    """The keys at an address.

    Args:
        fetch: what is at an address; runs in a thread, and raises OSError or ValueError.
    """

    def __init__(
        self, url: str, *, fetch: Fetch | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = checked_url(url)
        self._shown = url.partition("?")[0]  # What is behind it may be a key of another kind.
        self._fetch = fetch or fetched
        self._now = now
        self._keys: tuple[Published, ...] = ()
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._is_away = False
        self._fetching: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._refresh()

    async def find(self, id: str | None, algorithm: str) -> Key | None:
        age = self._now() - self._fetched_at
        if age >= STALE_SECONDS:
            self._keys = ()
        elif age >= FRESH_SECONDS:
            self._refresh()
        found = self._look_for(id, algorithm)
        if found is None and (fetching := self._refresh()) is not None:
            # Others wait for it, too, and go on waiting if this one is cancelled.
            await asyncio.wait({fetching})
            found = self._look_for(id, algorithm)
        if found is None and self._is_away:
            raise KeysUnavailableError
        return found

    def _look_for(self, id: str | None, algorithm: str) -> Key | None:
        fitting = [
            published.key
            for published in self._keys
            if algorithm in published.key.algorithms and id in (None, published.id)
        ]
        # A token that names no key means the only one.
        return fitting[0] if fitting and (id is not None or len(fitting) == 1) else None

    def _refresh(self) -> "asyncio.Task[None] | None":
        """The request that is under way, a new one if it is time for it, or None."""
        if self._fetching is None:
            now = self._now()
            if now - self._tried_at < PAUSE_SECONDS:
                return None
            self._tried_at = now
            self._fetching = asyncio.create_task(self._fetch_all())
            self._fetching.add_done_callback(self._fetched)
        return self._fetching

    def _fetched(self, _: "asyncio.Task[None]") -> None:
        self._fetching = None

    async def _fetch_all(self) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                text = await asyncio.to_thread(self._fetch, self._url)
            keys = keys_from(text)
        except (OSError, ValueError, http.client.HTTPException) as error:
            if not self._is_away:
                reason = "no answer" if isinstance(error, TimeoutError) else error
                logger.warning("the keys at %s cannot be fetched: %s", self._shown, reason)
            self._is_away = True
        else:
            if self._is_away:
                logger.info("the keys at %s can be fetched again", self._shown)
            self._is_away = False
            self._keys, self._fetched_at = keys, self._now()


def checked_url(url: str) -> str:
    """An address that keys may be fetched from.

    Raises:
        ConfigurationError: somebody on the way could put other keys in their place.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigurationError("jwt_jwks_url: this is no URL.") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError("jwt_jwks_url: it must not carry a name or a password.")
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))):
        raise ConfigurationError(
            "jwt_jwks_url: it must begin with https://, or with http:// on loopback."
        )
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Follows nobody: the address that was checked is the one that is asked."""

    def redirect_request(self, *_: Any) -> None:
        return None


class _Patient(io.RawIOBase):
    """What comes on a connection, up to a time: by itself, each byte would have as long."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        super().__init__()
        self._connection = connection
        self._deadline = deadline
        self._source = connection.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._source.readinto(buffer)

    def close(self) -> None:
        self._source.close()
        super().close()


def _answer_until(deadline: float) -> type[http.client.HTTPResponse]:
    class Answer(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
            super().__init__(sock, *args, **kwargs)
            self.fp.close()
            self.fp = io.BufferedReader(_Patient(sock, deadline))

    return Answer


class _Http(urllib.request.HTTPHandler):
    def __init__(self, deadline: float) -> None:
        super().__init__()
        self._answer = _answer_until(deadline)

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_connected, http.client.HTTPConnection, self._answer), request)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, deadline: float) -> None:
        super().__init__()
        self._answer = _answer_until(deadline)

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_connected, http.client.HTTPSConnection, self._answer), request)


def _connected(
    kind: Callable[..., http.client.HTTPConnection],
    answer: type[http.client.HTTPResponse],
    host: str,
    **options: Any,
) -> http.client.HTTPConnection:
    connection = kind(host, **options)
    connection.response_class = answer
    return connection


def fetched(url: str) -> bytes:
    """What is at an address; blocks, for FETCH_SECONDS at each of its steps at most.

    Raises:
        OSError, ValueError, http.client.HTTPException: it is not to be had.
    """
    parts = urlsplit(url)
    deadline = time.monotonic() + FETCH_SECONDS
    handlers: list[urllib.request.BaseHandler] = [_StayHere(), _Http(deadline), _Https(deadline)]
    if _is_loopback(parts.hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    opener = urllib.request.build_opener(*handlers)
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    try:
        with opener.open(request, timeout=FETCH_SECONDS) as response:
            text = bytearray()
            while part := response.read1(65_536):
                text += part
                if len(text) > MOST_BYTES:
                    raise ValueError("the answer is too large")
            return bytes(text)
    except urllib.error.HTTPError as error:
        with error:
            raise ValueError(f"HTTP {error.code}") from None
    except urllib.error.URLError as error:
        reason = error.reason
        raise (reason if isinstance(reason, OSError) else ValueError(reason)) from None


def keys_from(text: bytes) -> tuple[Published, ...]:
    """The keys of a set that tokens can be checked with; others are left out.

    Raises:
        ValueError: it is no set, or has no such key.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("the answer is not JSON") from None
    entries = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        raise ValueError("the answer is no set of keys")
    found = [_published(entry) for entry in entries[:MOST_KEYS]]
    if not any(found):
        raise ValueError("the answer has no key that tokens can be checked with")
    return tuple(published for published in found if published is not None)


def _published(entry: object) -> Published | None:
    if not isinstance(entry, dict) or entry.get("use") not in (None, "sig"):
        return None
    operations = entry.get("key_ops")
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return None
    id, kind, meant = entry.get("kid"), entry.get("kty"), entry.get("alg")
    if not isinstance(id, str | None) or not isinstance(kind, str) or kind not in READERS:
        return None
    try:
        key = fit(READERS[kind](entry))
    except (PyJWTError, UnfitKeyError, ValueError, TypeError):
        return None
    if meant is not None:
        if meant not in key.algorithms:
            return None
        key = Key(key.value, (meant,))
    return Published(id, key)
