"""The commands, as far as they have to do with who may come in."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import jwt
import pytest

from tests.access.test_jwks import publishing
from tests.processes import refusing, serving
from tests.tokens import P256, RSA, SECRET, jwk, private_pem, token

SECRET_NAME = "GRAPHQL_APP_JWT_SECRET"
SHORT = "too short to be a secret"
OPEN = "it is open: whoever reaches it needs no token"


# Serving.


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_says_in_one_line_at_its_start_whether_it_is_open(
    workers: str, tmp_path: Path
) -> None:
    options = ("--workers", workers, "--store", f"sqlite:///{tmp_path}/chat.db")
    with serving(*options) as server:
        assert server.log.count(OPEN) == 1
    with serving(*options, environment={SECRET_NAME: SECRET}) as server:
        assert OPEN not in server.log
        assert SECRET not in server.log


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_server_that_would_be_open_to_other_machines_does_not_start(
    host: str, workers: str, tmp_path: Path
) -> None:
    refused = refusing(
        *("--port", "0", "--host", host, "--workers", workers),
        *("--store", f"sqlite:///{tmp_path}/chat.db"),
    )
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"graphql-app: host: {host} can be reached from other ")
    assert "--open" in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("name", "value", "begin"),
    [
        (SECRET_NAME, SHORT, "jwt_secret: it has 24 bytes"),
        (SECRET_NAME, "", "jwt_secret: it is empty"),
        ("GRAPHQL_APP_JWT_PUBLIC_KEY", private_pem(RSA), "jwt_public_key: this is a private key"),
        ("GRAPHQL_APP_JWT_JWKS_URL", "http://a:b@issuer", "jwt_jwks_url: it must not carry"),
        ("GRAPHQL_APP_JWT_AUDIENCE", "chat", "jwt_audience: it goes with one of"),
        ("GRAPHQL_APP_OPEN", "perhaps", "open: "),
    ],
    ids=["short", "empty", "private", "password", "no key", "open"],
)
def test_what_cannot_be_is_one_line_that_says_no_secret(
    name: str, value: str, begin: str, workers: str, tmp_path: Path
) -> None:
    refused = refusing(
        *("--port", "0", "--workers", workers, "--store", f"sqlite:///{tmp_path}/chat.db"),
        environment={name: value},
    )
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"graphql-app: {begin}")
    assert refused.stderr.count("\n") == 1
    for line in value.splitlines()[1:] or [SHORT]:
        assert line not in refused.stderr


def test_a_server_believes_the_keys_that_are_published_and_lives_while_nobody_publishes_them() -> (
    None
):
    keys = json.dumps({"keys": [jwk(P256, kid="k")]}).encode()
    good = {"Authorization": f"Bearer {token(key=P256, algorithm='ES256', headers={'kid': 'k'})}"}
    query = {"query": "{ __typename }"}
    with (
        publishing(200, keys) as url,
        serving(environment={"GRAPHQL_APP_JWT_JWKS_URL": url}) as server,
    ):
        answer = httpx.get(f"{server.http}/graphql", params=query, headers=good)
        assert answer.json() == {"data": {"__typename": "Query"}}
    with serving(environment={"GRAPHQL_APP_JWT_JWKS_URL": url}) as server:
        for _ in range(3):
            answer = httpx.get(f"{server.http}/graphql", params=query, headers=good)
            assert answer.status_code == 503
            [error] = answer.json()["errors"]
            assert error["extensions"]["code"] == "AUTHENTICATION_UNAVAILABLE"
        assert server.log.count("cannot be fetched") == 1
        assert httpx.get(f"{server.http}/readyz").status_code == 200


# Making a token.


def test_the_command_makes_a_token_that_the_settings_ask_for() -> None:
    made = refusing(
        *("--sub", "alice", "--minutes", "5"),
        command="token",
        environment={
            SECRET_NAME: SECRET,
            "GRAPHQL_APP_JWT_ISSUER": "me",
            "GRAPHQL_APP_JWT_AUDIENCE": "chat",
        },
    )
    assert (made.returncode, made.stderr) == (0, "")
    said = jwt.decode(made.stdout.strip(), SECRET, ["HS256"], audience="chat", issuer="me")
    assert said["sub"] == "alice"
    assert said["exp"] - said["iat"] == 300


@pytest.mark.parametrize(
    ("options", "environment", "sentence"),
    [
        (("--sub", "alice"), {}, "jwt_secret: a token is signed with it; set it."),
        (
            ("--sub", ""),
            {SECRET_NAME: SECRET},
            "sub must be 1 to 128 printable characters.",
        ),
        (
            ("--sub", "alice"),
            {SECRET_NAME: SHORT},
            "jwt_secret: it has 24 bytes and needs at least 32; `openssl rand -base64 48` makes "
            "one.",
        ),
    ],
    ids=["no secret", "no owner", "weak secret"],
)
def test_a_token_that_would_not_be_believed_is_not_made(
    options: tuple[str, ...], environment: dict[str, str], sentence: str
) -> None:
    refused = refusing(*options, command="token", environment=environment)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == f"graphql-app: {sentence}\n"


# Chatting.


def chatting(
    url: str, *options: str, environment: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "graphql_app", "chat", "--url", url, *options],
        input="Hello there\n",
        capture_output=True,
        text=True,
        env={**(environment or {}), "PATH": ""},
        timeout=60,
        check=False,
    )


def test_the_terminal_takes_its_token_from_the_environment_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{token('alice')}\n")
    environment = {SECRET_NAME: SECRET}
    with serving("--completion", "echo", "--word-delay", "0", environment=environment) as server:
        from_file = chatting(server.url, "--token-file", str(file))
        assert (from_file.returncode, from_file.stdout) == (0, "Hello there\n")
        environment = {"GRAPHQL_APP_TOKEN": token("alice")}
        from_environment = chatting(server.url, environment=environment)
        assert (from_environment.returncode, from_environment.stdout) == (0, "Hello there\n")

        without = chatting(server.url)
        assert without.returncode == 1
        assert "4403 (A token is required)." in without.stderr

        wrong = token("alice", key="x" * 32)
        refused = chatting(server.url, environment={"GRAPHQL_APP_TOKEN": wrong})
        assert refused.returncode == 1
        assert "4403 (The token is not valid)." in refused.stderr
        assert wrong not in refused.stderr

        file.unlink()
        missing = chatting(server.url, "--token-file", str(file))
        assert missing.returncode == 1
        assert missing.stderr == (
            f"graphql-app: The token in {str(file)!r} cannot be read: No such file or directory.\n"
        )


def test_a_token_is_no_option_since_others_see_what_a_command_was_started_with() -> None:
    refused = refusing("--token", token(), command="chat")
    assert refused.returncode == 2
    assert "No such option" in refused.stderr
