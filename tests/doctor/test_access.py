"""What is found about who may come in."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from graphql_app.doctor import access
from graphql_app.doctor.findings import Finding, Level
from graphql_app.settings import Settings
from tests.servers import free_port

SECRET = "q7Z/eGkU0n3vHs1bXo9cT4yLmWfRj2dPa8iKxVhN5uE6gBwC"
HOST = {"host": "0.0.0.0"}


def examined(**values: Any) -> dict[str, Finding]:
    return {finding.name: finding for finding in access.examine(Settings(**values))}


def test_a_server_for_oneself_has_nothing_to_warn_of() -> None:
    assert {finding.level for finding in examined().values()} == {Level.OK}


def test_a_server_that_is_set_up_for_the_internet_has_neither() -> None:
    found = examined(
        **HOST,
        production=True,
        jwt_secret=SECRET,
        hosts="chat.example.com",
        origins="https://www.example.com",
        trusted_proxies="10.0.0.2",
    )
    assert {finding.level for finding in found.values()} == {Level.OK}
    assert {"access.keys", "access.audience", "clock.tokens"} <= found.keys()


@pytest.mark.parametrize(
    ("name", "level", "values"),
    [
        ("access.owners", Level.FAIL, HOST),
        ("access.owners", Level.WARN, {**HOST, "open": True}),
        ("access.keys", Level.FAIL, {"jwt_secret": "too short"}),
        ("access.keys", Level.FAIL, {"jwt_secret": SECRET, "jwt_jwks_url": "https://x/y"}),
        ("access.keys", Level.WARN, {"jwt_secret": "a" * 64}),
        ("access.keys", Level.WARN, {"jwt_secret": "0123" * 12}),
        ("access.hosts", Level.WARN, {**HOST, "open": True}),
        ("access.hosts", Level.WARN, {"hosts": "*"}),
        ("access.origins", Level.WARN, {"origins": "*", "open": True}),
        ("access.origins", Level.WARN, {"origins": "http://x.example", "production": True}),
        ("access.proxies", Level.WARN, {**HOST, "open": True}),
        ("access.proxies", Level.WARN, {"hosts": "chat.example.com"}),
        ("access.proxies", Level.WARN, {"trusted_proxies": "0.0.0.0/0"}),
        ("access.proxies", Level.WARN, {"trusted_proxies": "10.0.0.2,::/0"}),
        ("access.production", Level.WARN, {**HOST, "open": True}),
        ("access.production", Level.WARN, {"production": True, "introspection": True}),
        ("access.rates", Level.WARN, {**HOST, "open": True, "max_sends_per_minute": 0}),
        ("access.metrics", Level.WARN, {**HOST, "open": True}),
        ("access.metrics", Level.WARN, {"metrics_token": "x" * 15}),
        ("access.log", Level.WARN, {"log_content": True}),
    ],
)
def test_what_is_dangerous_is_found(name: str, level: Level, values: dict[str, Any]) -> None:
    finding = examined(**values)[name]
    assert finding.level is level
    assert finding.advice


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("access.keys", {"jwt_secret": SECRET}),
        ("access.proxies", {"trusted_proxies": "10.0.0.0/8"}),
        ("access.metrics", {**HOST, "open": True, "metrics_token": "x" * 40}),
        ("access.hosts", {**HOST, "open": True, "hosts": "chat.example.com"}),
        ("access.rates", {"max_sends_per_minute": 0}),
        ("access.origins", {"origins": "http://localhost:5173"}),
        ("access.origins", {"origins": "*", "jwt_secret": SECRET}),
    ],
)
def test_what_is_not_dangerous_is_fine(name: str, values: dict[str, Any]) -> None:
    assert examined(**values)[name].level is Level.OK


def test_no_secret_is_told() -> None:
    for secret in (SECRET, "canary" * 8, "canary"):
        assert "canary" not in str(examined(jwt_secret=secret))
        assert SECRET not in str(examined(jwt_secret=secret))


def test_a_file_of_a_key_that_others_may_write_is_found(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    key = Ed25519PrivateKey.generate().public_key()
    file.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    file.chmod(0o644)
    assert examined(jwt_public_key=str(file))["access.keys"].level is Level.OK
    assert examined(jwt_public_key=file.read_text())["access.keys"].level is Level.OK
    file.chmod(0o664)
    assert examined(jwt_public_key=str(file))["access.keys"].level is Level.WARN


def test_a_file_of_secrets_that_everybody_may_read_is_found(tmp_path: Path) -> None:
    file = tmp_path / "chat.env"
    assert access.secrets([file]).level is Level.OK
    file.write_text("GRAPHQL_APP_JWT_SECRET=canary")
    file.chmod(0o600)
    assert access.secrets([file]).level is Level.OK
    file.chmod(0o644)
    finding = access.secrets([file])
    assert (finding.level, finding.advice) == (Level.WARN, f"chmod 600 {file}")
    assert "canary" not in str(finding)


@contextmanager
def publishing(text: str) -> Iterator[str]:
    """A provider that has this at an address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/keys"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_keys_that_are_published_are_fetched_once() -> None:
    point = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    key = {"kty": "OKP", "crv": "Ed25519", "x": point, "kid": "one"}
    with publishing(json.dumps({"keys": [key]})) as url:
        found = examined(jwt_jwks_url=url)
    assert found["access.keys"].sentence == f"1 keys at {url} can be used."
    assert found["access.audience"].level is Level.WARN
    with publishing("{}") as url:
        meant = {"jwt_issuer": "us", "jwt_audience": "chat"}
        found = examined(jwt_jwks_url=url, **meant)
    assert found["access.keys"].level is Level.FAIL
    assert found["access.audience"].level is Level.OK
    nobody = f"http://127.0.0.1:{free_port()}/keys"
    assert examined(jwt_jwks_url=nobody)["access.keys"].level is Level.FAIL
