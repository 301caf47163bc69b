"""Published keys: when they are fetched, which are used, and what happens while nobody has them."""

import asyncio
import http.client
import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from graphql_app.access import jwks
from graphql_app.access.jwks import (
    FRESH_SECONDS,
    MOST_BYTES,
    PAUSE_SECONDS,
    STALE_SECONDS,
    KeySet,
    checked_url,
    fetched,
    keys_from,
)
from graphql_app.access.tokens import NOT_VALID, Tokens
from graphql_app.errors import ConfigurationError, KeysUnavailableError, UnauthenticatedError
from tests.chats import PATIENCE_SECONDS
from tests.tokens import ED25519, P256, PAIRS, RSA, jwk, private_pem, public_pem, token

URL = "https://issuer.example/keys?key=of-another-kind"


class Issuer:
    """An issuer whose keys, and whose health, the test decides on; and a clock."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys)
        self.is_away = False
        self.requests = 0
        self.time = 1_000.0
        self.set = KeySet(URL, fetch=self._fetch, now=lambda: self.time)

    def _fetch(self, url: str) -> bytes:
        assert url == URL
        self.requests += 1
        if self.is_away:
            raise ConnectionRefusedError("nobody there")
        return json.dumps({"keys": self.keys}).encode()

    async def has(self, id: str | None, algorithm: str = "RS256") -> bool:
        return await self.set.find(id, algorithm) is not None


FIRST = jwk(RSA, kid="first")
SECOND = jwk(P256, kid="second")


async def test_keys_are_fetched_once_for_many_tokens_at_the_same_time() -> None:
    issuer = Issuer(FIRST)
    assert await asyncio.gather(*(issuer.has("first") for _ in range(50))) == [True] * 50
    assert issuer.requests == 1


async def test_keys_that_are_fresh_are_not_fetched_again() -> None:
    issuer = Issuer(FIRST)
    await issuer.has("first")
    issuer.time += FRESH_SECONDS - 1
    assert await issuer.has("first")
    assert issuer.requests == 1


async def test_keys_that_are_not_fresh_are_used_while_they_are_fetched_again() -> None:
    issuer = Issuer(FIRST)
    await issuer.has("first")
    issuer.time += FRESH_SECONDS
    issuer.keys = [SECOND]
    assert await issuer.has("first")
    fetching = issuer.set._fetching
    assert fetching is not None
    await fetching
    assert not await issuer.has("first")
    assert issuer.requests == 2


async def test_a_key_that_was_added_is_found_with_the_first_token_that_names_it() -> None:
    issuer = Issuer(FIRST)
    await issuer.has("first")
    issuer.time += PAUSE_SECONDS
    issuer.keys.append(SECOND)
    assert await issuer.has("second", "ES256")
    assert issuer.requests == 2


async def test_whoever_invents_names_of_keys_makes_few_requests_of_the_issuer() -> None:
    issuer = Issuer(FIRST)
    for number in range(1_000):
        assert not await issuer.has(f"invented-{number}")
        issuer.time += 0.1
    assert issuer.requests <= 100 / PAUSE_SECONDS + 1


async def test_an_issuer_that_is_away_leaves_known_keys_in_use_for_a_time() -> None:
    issuer = Issuer(FIRST)
    await issuer.has("first")
    issuer.is_away = True
    issuer.time += STALE_SECONDS - 1
    assert await issuer.has("first")
    issuer.time += 1
    with pytest.raises(KeysUnavailableError):
        await issuer.has("first")


async def test_while_an_issuer_is_away_nobody_says_that_a_token_is_wrong(
    caplog: pytest.LogCaptureFixture,
) -> None:
    issuer = Issuer(FIRST)
    issuer.is_away = True
    for _ in range(5):
        with pytest.raises(KeysUnavailableError):
            await issuer.has("first")
        issuer.time += PAUSE_SECONDS
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "https://issuer.example/keys " in caplog.text
    assert "of-another-kind" not in caplog.text
    issuer.is_away = False
    with caplog.at_level(logging.INFO):
        assert await issuer.has("first")
    assert not await issuer.has("second")
    assert len(caplog.records) == 2


async def test_an_issuer_that_answers_nothing_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jwks, "FETCH_SECONDS", 0.05)
    may_end = threading.Event()
    hanging = KeySet(URL, fetch=lambda _: (may_end.wait(20) and b"") or b"")
    try:
        async with asyncio.timeout(10):
            with pytest.raises(KeysUnavailableError):
                await hanging.find("first", "RS256")
    finally:
        may_end.set()


async def test_one_that_waits_and_leaves_does_not_take_the_others_with_it() -> None:
    issuer = Issuer(FIRST)
    leaving, staying = (asyncio.create_task(issuer.has("first")) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying
    assert issuer.requests == 1


async def test_getting_ready_fetches_the_keys_before_anybody_comes() -> None:
    issuer = Issuer(FIRST)
    issuer.set.begin()
    assert issuer.set._fetching is not None
    await issuer.set._fetching
    assert await issuer.has("first")
    assert issuer.requests == 1


# Which keys.


@pytest.mark.parametrize("algorithm", PAIRS)
async def test_a_token_is_checked_with_the_published_key_that_it_names(algorithm: str) -> None:
    issuer = Issuer(*({**jwk(key), "kid": name} for name, key in PAIRS.items()))
    tokens = Tokens(issuer.set, issuer=None, audience=None, owner_length=128)
    named: dict[str, Any] = {
        "key": PAIRS[algorithm],
        "algorithm": algorithm,
        "headers": {"kid": algorithm},
    }
    assert (await tokens.caller(token(**named))).owner == "alice"
    wrong = {**named, "headers": {"kid": "EdDSA" if algorithm != "EdDSA" else "ES256"}}
    with pytest.raises(UnauthenticatedError, match=NOT_VALID):
        await tokens.caller(token(**wrong))


async def test_a_token_that_names_no_key_means_the_only_one_that_fits() -> None:
    issuer = Issuer(FIRST, SECOND)
    assert await issuer.has(None, "RS256")
    issuer = Issuer(FIRST, {**FIRST, "kid": "another"})
    assert not await issuer.has(None, "RS256")


async def test_a_published_secret_is_never_used() -> None:
    secret = {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "s"}
    issuer = Issuer(FIRST, {**secret, "alg": "HS256"}, secret)
    assert not await issuer.has("s", "HS256")


async def test_a_key_is_used_for_the_algorithm_that_it_is_published_for_only() -> None:
    issuer = Issuer({**FIRST, "alg": "PS256"})
    assert await issuer.has("first", "PS256")
    assert not await issuer.has("first", "RS256")


PRIVATE = {**jwk(RSA), "d": "AQAB"}


@pytest.mark.parametrize(
    "unfit",
    [
        pytest.param({**FIRST, "use": "enc"}, id="for another use"),
        pytest.param({**FIRST, "key_ops": ["encrypt"]}, id="for another operation"),
        pytest.param({**FIRST, "key_ops": "verify"}, id="operations that are no list"),
        pytest.param({**FIRST, "alg": "HS256"}, id="an algorithm of secrets"),
        pytest.param({**FIRST, "alg": ["RS256"]}, id="an algorithm that is a list"),
        pytest.param({**FIRST, "kid": 7}, id="an id that is a number"),
        pytest.param({**FIRST, "kty": ["RSA"]}, id="a kind that is a list"),
        pytest.param({**FIRST, "kty": "RSB"}, id="an unknown kind"),
        pytest.param({**FIRST, "n": 5}, id="a modulus that is a number"),
        pytest.param({**FIRST, "n": ""}, id="no modulus"),
        pytest.param({**FIRST, "n": "!!"}, id="a modulus that is no base64"),
        pytest.param({**SECOND, "x": "AAAA"}, id="a point that is not on the curve"),
        pytest.param({**SECOND, "crv": "P-224"}, id="an unknown curve"),
        pytest.param({**jwk(ED25519), "crv": "X25519"}, id="a curve that does not sign"),
        pytest.param(PRIVATE, id="a private key"),
        pytest.param({"kty": "RSA"}, id="nothing but a kind"),
        pytest.param({}, id="an empty object"),
        pytest.param([], id="a list"),
        pytest.param(None, id="null"),
        pytest.param("key", id="a string"),
        pytest.param(7, id="a number"),
    ],
)
def test_an_entry_that_is_no_key_for_tokens_is_left_out(unfit: Any) -> None:
    text = json.dumps({"keys": [unfit, FIRST]}).encode()
    assert [published.id for published in keys_from(text)] == ["first"]


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b"{}", b'{"keys": {}}', b'{"keys": []}', b"\xff", b"[" * 100_000],
    ids=lambda text: repr(text[:20]),
)
def test_what_is_no_set_of_keys_is_none(text: bytes) -> None:
    with pytest.raises(ValueError, match="the answer"):
        keys_from(text)


# Addresses.


@pytest.mark.parametrize(
    "url",
    [
        "https://issuer.example/keys",
        "http://127.0.0.1:1234/keys",
        "http://[::1]/keys",
        "http://localhost/",
    ],
)
def test_keys_come_over_tls_or_from_this_machine(url: str) -> None:
    assert checked_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example/keys",
        "http://127.0.0.1.example/keys",
        "http://localhost.example/",
        "http://10.0.0.1/keys",
        "ftp://127.0.0.1/keys",
        "file:///etc/keys",
        "issuer.example",
        "https://",
        "https://name:password@issuer.example/keys",
        "https://issuer.example:port/",
        "https://[::1",
    ],
)
def test_any_other_address_is_refused_without_saying_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        checked_url(url)
    assert str(refusal.value).startswith("jwt_jwks_url: ")
    assert "password@" not in str(refusal.value)


# Over the network.


@contextmanager
def publishing(status: int, body: bytes, **headers: str) -> Iterator[str]:
    """The address of a server that answers so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/keys"
        finally:
            server.shutdown()
            thread.join()


async def test_keys_are_fetched_over_http() -> None:
    with publishing(200, json.dumps({"keys": [FIRST]}).encode()) as url:
        assert await KeySet(url).find("first", "RS256") is not None


def test_an_answer_that_is_no_success_is_none() -> None:
    with publishing(500, b"{}") as url, pytest.raises(ValueError, match="HTTP 500"):
        fetched(url)


def test_nobody_is_followed_to_another_address() -> None:
    elsewhere = {"Location": "http://127.0.0.1:1/"}
    with publishing(302, b"", **elsewhere) as url, pytest.raises(ValueError, match="HTTP 302"):
        fetched(url)


def test_an_answer_without_end_is_cut() -> None:
    with publishing(200, b" " * (MOST_BYTES + 1)) as url, pytest.raises(ValueError, match="large"):
        fetched(url)


def test_an_issuer_that_does_not_listen_is_an_error_of_the_network() -> None:
    with publishing(200, b"") as url:
        pass
    with pytest.raises(ConnectionRefusedError):
        fetched(url)


def test_the_test_has_no_private_half_in_what_it_publishes() -> None:
    assert "PRIVATE" in private_pem(RSA)
    assert "PRIVATE" not in public_pem(RSA)
    assert "d" not in FIRST


@contextmanager
def trickling(begin: bytes, part: bytes) -> Iterator[str]:
    """The address of a server that says something, and then a part again and again."""
    is_over = threading.Event()

    def trickle(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.recv(10_000)
            connection.sendall(begin)
            while not is_over.wait(0.02):
                connection.sendall(part)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=trickle, args=[listener])
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/keys"
        finally:
            is_over.set()
            thread.join()


@pytest.mark.parametrize(
    ("begin", "part"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"X"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n", b"X"),
    ],
)
def test_an_issuer_that_trickles_does_not_keep_the_thread_that_waits_for_it(
    begin: bytes, part: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "FETCH_SECONDS", 0.3)
    done = threading.Event()

    def fetch(url: str) -> None:
        with suppress(OSError, ValueError, http.client.HTTPException):
            fetched(url)
        done.set()

    with trickling(begin, part) as url:
        thread = threading.Thread(target=fetch, args=[url])
        thread.start()
        assert done.wait(PATIENCE_SECONDS)
        thread.join()
