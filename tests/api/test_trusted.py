"""Trusted documents: what is in the manifest runs, however it is named, and nothing else."""

import json
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphql import print_ast

from graphql_app.api.schema import schema
from graphql_app.api.trusted import read_trusted_documents
from graphql_app.app import create_app
from graphql_app.client import ChatClient, documents
from graphql_app.errors import ConfigurationError
from graphql_app.settings import Settings
from tests.processes import serving
from tests.wire import open_socket

QUERY = "query A { __typename }"
OTHER = "mutation B { clearMessages }"
EVENTS = "subscription C { conversationEvents { __typename } }"


CONVERSATIONS = print_ast(documents.CONVERSATIONS.document)


def hash_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()


CODEGEN = {"a": QUERY, hash_of(OTHER): OTHER, "c": EVENTS}
APOLLO = {
    "format": "apollo-persisted-query-manifest",
    "version": 1,
    "operations": [
        {"id": "a", "name": "A", "type": "query", "body": QUERY},
        {"id": hash_of(OTHER), "name": "B", "type": "mutation", "body": OTHER},
        {"id": "c", "name": "C", "type": "subscription", "body": EVENTS},
    ],
}


def written(folder: Path, value: object) -> str:
    file = folder / "manifest.json"
    file.write_text(value if isinstance(value, str) else json.dumps(value))
    return str(file)


@pytest.fixture(params=[CODEGEN, APOLLO], ids=["codegen", "apollo"])
def http(request: pytest.FixtureRequest, tmp_path: Path) -> httpx.AsyncClient:
    app = create_app(Settings(trusted_documents=written(tmp_path, request.param)))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


def persisted(hash: str) -> dict[str, Any]:
    return {"persistedQuery": {"version": 1, "sha256Hash": hash}}


@pytest.mark.parametrize(
    "body",
    [
        {"query": QUERY},
        {"documentId": "a"},
        {"documentId": f"sha256:{hash_of(QUERY)}"},
        {"documentId": hash_of(QUERY)},
        {"extensions": persisted(hash_of(QUERY))},
        {"query": QUERY, "extensions": persisted(hash_of(QUERY))},
        {"query": None, "documentId": "a", "operationName": "A"},
    ],
    ids=str,
)
async def test_a_trusted_document_runs_by_its_text_and_by_its_id(
    http: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    async with http:
        assert (await http.post("/graphql", json=body)).json() == {"data": {"__typename": "Query"}}
        parameters = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in body.items()
            if value is not None
        }
        answer = await http.get("/graphql", params=parameters, headers={"Accept": "text/html, */*"})
        assert answer.json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"query": QUERY + " "}, "DOCUMENT_NOT_TRUSTED"),
        ({"query": "{ __typename }"}, "DOCUMENT_NOT_TRUSTED"),
        ({"query": "{ syntax error"}, "DOCUMENT_NOT_TRUSTED"),
        ({"query": ""}, "DOCUMENT_NOT_TRUSTED"),
        ({"query": "{ __typename }", "documentId": "a"}, "DOCUMENT_NOT_TRUSTED"),
        ({"query": "{ __typename }", "extensions": persisted("a")}, "DOCUMENT_NOT_TRUSTED"),
        ({"documentId": "b"}, "DOCUMENT_NOT_TRUSTED"),
        ({"documentId": ""}, "DOCUMENT_NOT_TRUSTED"),
        ({"extensions": persisted("0" * 64)}, "PERSISTED_QUERY_NOT_FOUND"),
    ],
    ids=str,
)
async def test_nothing_else_runs(http: httpx.AsyncClient, body: dict[str, Any], code: str) -> None:
    async with http:
        answer = await http.post("/graphql", json=body)
        [error] = answer.json()["errors"]
        assert error["extensions"]["code"] == code
        stream = await http.post("/graphql", json=body, headers={"Accept": "text/event-stream"})
        assert code in stream.text


async def test_a_trusted_mutation_is_still_not_run_over_get(http: httpx.AsyncClient) -> None:
    async with http:
        answer = await http.get("/graphql", params={"documentId": hash_of(OTHER)})
    assert answer.status_code == 405


@pytest.mark.parametrize("wrong", [1, [], {}, True])
async def test_an_id_that_is_no_string_is_refused(http: httpx.AsyncClient, wrong: Any) -> None:
    async with http:
        for body in ({"documentId": wrong}, {"extensions": persisted(wrong)}):
            assert (await http.post("/graphql", json=body)).status_code == 400


async def test_without_a_manifest_a_hash_is_not_supported_and_a_query_is_asked_for() -> None:
    transport = httpx.ASGITransport(create_app(Settings()))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        answer = (await http.post("/graphql", json={"extensions": persisted("a")})).json()
        assert answer["errors"][0] == {
            "message": "PersistedQueryNotSupported",
            "extensions": {"code": "PERSISTED_QUERY_NOT_SUPPORTED"},
        }
        assert (await http.post("/graphql", json={})).status_code == 400


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("{", "is not JSON."),
        ([], "is no manifest"),
        ("1", "is no manifest"),
        ({}, "has no documents."),
        ({"a": 1}, "is no manifest"),
        ({"format": "apollo-persisted-query-manifest"}, "has no documents."),
        ({"format": "apollo-persisted-query-manifest", "operations": [{"id": "a"}]}, "no manifest"),
        ({"a": "{"}, "the document 'a' of .* cannot be used: Syntax Error: "),
        ({"a": "{ nothing }"}, "the document 'a' of .* is not valid: Cannot query field 'nothing'"),
        ({"0" * 64: "{ __typename } \ud800"}, "has another text than its hash says"),
        (
            {"a": "{ " + " ".join(f"a{i}: messages {{ id }}" for i in range(11)) + " }"},
            "cannot be used: The document is too costly: .* entries in the lists of its answer",
        ),
        ({"a": "{ a " * 50 + "}" * 50}, "cannot be used: The document is too costly: "),
        ({"0" * 64: QUERY}, "has another text than its hash says."),
        ({f"sha256:{'0' * 64}": QUERY}, "has another text than its hash says."),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_manifest_that_cannot_work_is_refused_with_a_reason(
    tmp_path: Path, value: object, reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason) as refused:
        read_trusted_documents(written(tmp_path, value), schema)
    assert str(refused.value).startswith("trusted_documents: ")


@pytest.mark.parametrize("file", ["/nowhere/at/all.json", "/"])
def test_a_manifest_that_is_not_there_is_refused(file: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^trusted_documents: .* cannot be read: "):
        create_app(Settings(trusted_documents=file))


def our_manifest(folder: Path) -> str:
    printed = subprocess.run(
        [sys.executable, "-m", "graphql_app", "documents"], capture_output=True, check=True
    ).stdout
    file = folder / "documents.json"
    file.write_bytes(printed)
    return str(file)


def test_the_documents_of_our_own_clients_are_all_there(tmp_path: Path) -> None:
    file = our_manifest(tmp_path)
    assert len(read_trusted_documents(file, schema)) > 10
    texts = json.loads(Path(file).read_text()).values()
    assert set(documents.sent_texts()) < set(texts)
    written_by_hand = Path(__file__).parents[2] / "client" / "src" / "api" / "operations"
    operations = [
        operation
        for each in written_by_hand.glob("*.graphql")
        for operation in re.findall(r"^(?:query|mutation|subscription) \w+", each.read_text(), re.M)
    ]
    assert len(operations) == 9
    for operation in operations:
        assert any(text.startswith(operation) and "\n" in text for text in texts), operation


async def test_our_own_client_works_with_a_server_that_runs_only_its_documents(
    tmp_path: Path,
) -> None:
    file = our_manifest(tmp_path)
    arguments = ("--completion", "echo", "--word-delay", "0", "--trusted-documents", file)
    with serving(*arguments) as server:
        async with ChatClient(server.url) as client:
            updates = [update async for update in client.send("one two", id="m1")]
            assert updates[-1].status.is_final
            assert [message.content for message in await client.messages()] == ["one two"] * 2
            assert await client.clear() == 2
        async with open_socket(server.url) as socket:
            [error] = (await socket.execute("{ __typename }"))["errors"]
            assert error["extensions"]["code"] == "DOCUMENT_NOT_TRUSTED"
            await socket.send(
                {"id": "9", "type": "subscribe", "payload": {"documentId": hash_of(CONVERSATIONS)}}
            )
            answer = await socket.receive()
            assert answer["payload"]["data"] == {"conversations": []}
