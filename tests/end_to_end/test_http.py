"""GraphQL over HTTP: what is asked, how it is answered, and what is refused."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.end_to_end.node import BUILD, need_node, run_script
from tests.processes import ServerProcess
from tests.wire import PATIENCE_SECONDS

RESPONSE_JSON = "application/graphql-response+json"
LEGACY_JSON = "application/json"
EVENT_STREAM = "text/event-stream"

TYPENAME = "{ __typename }"
CLEAR = "mutation { clearMessages }"
SEND = 'subscription { sendMessage(message: {id: "get", content: "x"}) { text } }'
REGENERATE = 'subscription { regenerateMessage(message: {id: "get", messageId: "x"}) { text } }'
EVENTS = "subscription { conversationEvents { __typename } }"


@pytest.fixture
async def http(server: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    """A client that says what it sends and nothing more."""
    async with httpx.AsyncClient(
        base_url=server.http,
        timeout=PATIENCE_SECONDS,
        verify=False,  # There is nothing to verify, and loading certificates takes long.
    ) as client:
        client.headers.clear()
        yield client


def body(query: object = TYPENAME, **more: object) -> bytes:
    return json.dumps({"query": query, **more}).encode()


JSON = {"content-type": LEGACY_JSON}


# The specification.


async def test_all_audits_of_graphql_http_pass(server: ServerProcess) -> None:
    need_node()
    audit = await run_script("audit.mjs", f"{server.http}/graphql")
    assert audit["total"] == 61
    assert [each for each in audit["results"] if each["status"] != "ok"] == []


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        (None, LEGACY_JSON),
        ("*/*", LEGACY_JSON),
        (LEGACY_JSON, LEGACY_JSON),
        (RESPONSE_JSON, RESPONSE_JSON),
        ("application/*", RESPONSE_JSON),
        (f"{RESPONSE_JSON}, {LEGACY_JSON};q=0.9", RESPONSE_JSON),
        (f"{LEGACY_JSON};q=0.9, {RESPONSE_JSON}", RESPONSE_JSON),
        (f"{RESPONSE_JSON};q=0.1, {LEGACY_JSON}", LEGACY_JSON),
        (f"text/html, {LEGACY_JSON};q=0.5", LEGACY_JSON),
        (f"{RESPONSE_JSON}; charset=utf-8", RESPONSE_JSON),
        (RESPONSE_JSON.upper(), RESPONSE_JSON),
        ("text/html,application/xhtml+xml,*/*;q=0.8", LEGACY_JSON),
        (f"multipart/mixed;subscriptionSpec=1.0, {LEGACY_JSON}", LEGACY_JSON),
    ],
)
async def test_an_answer_comes_as_the_client_prefers(
    http: httpx.AsyncClient, accept: str | None, answered: str
) -> None:
    headers = JSON if accept is None else {**JSON, "accept": accept}
    answer = await http.post("/graphql", content=body(), headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == f"{answered}; charset=utf-8"
    assert answer.json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize(
    "accept",
    [
        "text/plain",
        "image/*",
        f"{LEGACY_JSON};q=0",
        f"{LEGACY_JSON};q=nonsense",
        "multipart/mixed",
        "multipart/mixed;subscriptionSpec=1.0",
        "\u00ff",
        ";;;",
    ],
)
async def test_a_client_that_accepts_no_answer_of_ours_gets_406(
    http: httpx.AsyncClient, accept: str
) -> None:
    headers = {**JSON, "accept": accept.encode("latin-1")}
    answer = await http.post("/graphql", content=body(), headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == 406
    assert "Accept must allow" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("query ($id: ID!) { message(id: $id) { id } }", "BAD_USER_INPUT"),
    ],
)
@pytest.mark.parametrize(("accept", "status"), [(RESPONSE_JSON, 400), (LEGACY_JSON, 200)])
async def test_a_request_that_cannot_run_has_no_data_and_a_status_by_its_media_type(
    http: httpx.AsyncClient, query: str, code: str, accept: str, status: int
) -> None:
    headers = {**JSON, "accept": accept}
    answer = await http.post("/graphql", content=body(query), headers=headers)
    assert answer.status_code == status
    assert "data" not in answer.json()
    assert [error["extensions"]["code"] for error in answer.json()["errors"]] == [code]


@pytest.mark.parametrize("accept", [RESPONSE_JSON, LEGACY_JSON])
async def test_an_error_of_a_field_is_200_with_what_there_is(
    http: httpx.AsyncClient, accept: str
) -> None:
    query = '{ __typename message(id: "") { id } }'
    headers = {**JSON, "accept": accept}
    answer = await http.post("/graphql", content=body(query), headers=headers)
    assert answer.status_code == 200
    assert answer.json()["data"] == {"__typename": "Query", "message": None}


async def test_a_query_may_be_asked_by_get(http: httpx.AsyncClient) -> None:
    parameters = {
        "query": "query A($id: ID!) { message(id: $id) { id } } query B { __typename }",
        "variables": '{"id": "none"}',
        "operationName": "A",
        "extensions": "{}",
    }
    answer = await http.get("/graphql", params=parameters)
    assert answer.json() == {"data": {"message": None}}


@pytest.mark.parametrize(
    ("query", "accept"),
    [
        (CLEAR, LEGACY_JSON),
        ("mutation { ...F } fragment F on Mutation { clearMessages }", LEGACY_JSON),
        (SEND, EVENT_STREAM),
        (SEND, LEGACY_JSON),
        (SEND, "multipart/mixed;subscriptionSpec=1.0"),
        (REGENERATE, EVENT_STREAM),
        (
            "subscription { ...F } fragment F on Subscription "
            '{ other: sendMessage(message: {id: "get", content: "x"}) { text } }',
            EVENT_STREAM,
        ),
        (
            "subscription { ...F } fragment F on Subscription { ... { ...G } } fragment G on "
            'Subscription { sendMessage(message: {id: "get", content: "x"}) { text } }',
            EVENT_STREAM,
        ),
    ],
)
async def test_what_changes_something_is_405_by_get_and_does_nothing(
    http: httpx.AsyncClient, query: str, accept: str
) -> None:
    answer = await http.get("/graphql", params={"query": query}, headers={"accept": accept})
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert (
        answer.json()["errors"][0]["message"] == "An operation that changes something needs POST."
    )
    found = await http.post("/graphql", content=body('{ message(id: "get") { id } }'), headers=JSON)
    assert found.json() == {"data": {"message": None}}


@pytest.mark.parametrize("query", [SEND, EVENTS])
async def test_a_subscription_by_plain_post_is_406_and_the_answer_says_what_to_do(
    http: httpx.AsyncClient, query: str
) -> None:
    answer = await http.post("/graphql", content=body(query), headers=JSON)
    assert answer.status_code == 406
    message = answer.json()["errors"][0]["message"]
    assert "WebSocket" in message
    assert EVENT_STREAM in message


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD"])
async def test_other_methods_are_405_and_are_told_which_are_allowed(
    http: httpx.AsyncClient, method: str
) -> None:
    answer = await http.request(method, "/graphql")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, POST"
    if method != "HEAD":
        assert answer.json() == {"errors": [{"message": "GraphQL takes GET and POST."}]}


# Requests that are none.

BAD_BODIES: dict[str, bytes] = {
    "nothing": b"",
    "blanks": b"  ",
    "an empty list": b"[]",
    "a batch": b'[{"query": "{ __typename }"}]',
    "a number": b"3",
    "a string": b'"x"',
    "null": b"null",
    "true": b"true",
    "no JSON": b"{ __typename }",
    "half of a JSON text": b'{"query": "{ __typename }"',
    "invalid UTF-8": b'{"query": "\xff"}',
    "a surrogate in UTF-8": b'{"query": "{ a(b: \\"\xed\xa0\x80\\") }"}',
    "UTF-16": '{"query": "{ __typename }"}'.encode("utf-16"),
    "UTF-16 without mark": '{"query": "{ __typename }"}'.encode("utf-16-le"),
    "NaN": b'{"query": "{ __typename }", "variables": {"a": NaN}}',
    "100,000 brackets": b"[" * 100_000,
    "deep variables": b'{"query": "{ __typename }", "variables": {"a": %s}}'
    % (b"[" * 50_000 + b"]" * 50_000),
    "a number with 10,000 digits": b'{"query": "{ __typename }", "variables": {"a": %s}}'
    % (b"1" * 10_000),
    "an empty object": b"{}",
    "no query": b'{"variables": {}}',
    "a query in capitals": b'{"QUERY": "{ __typename }"}',
    "a query that is null": body(None),
    "a query that is a number": body(1),
    "a query that is a list": body([TYPENAME]),
    "a query that is an object": body({}),
    "variables that are a list": body(variables=[]),
    "variables that are a string": body(variables="{}"),
    "variables that are a number": body(variables=1),
    "variables that are false": body(variables=False),
    "an operation name that is a number": body(operationName=1),
    "an operation name that is a list": body(operationName=[]),
    "extensions that are a list": body(extensions=[]),
    "extensions that are a string": body(extensions="x"),
    "a form": b"query=%7B__typename%7D",
}

BAD_CONTENT_TYPES = [
    None,
    "",
    ";",
    "text/plain",
    "application/graphql",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/jsonx",
    "application/json; charset=latin-1",
    "application/json; charset=utf-16",
    "application/json; charset=",
    "application/json; charset",
    "\u00ff",
]

ODD_HEADERS: list[dict[str, str]] = [
    {"content-type": "application/json; charset*=utf-8''x"},
    {"content-type": "application/json; charset*0*=utf-8''x"},
    {"content-type": f"application/json; charset*{'1' * 5_000}*=x"},
    {"content-type": "application/json; \u00ff=\u00fe;;;=;"},
    {"accept": "multipart/mixed; subscriptionSpec*=utf-8''1.0"},
    {"accept": f"multipart/mixed; subscriptionSpec*{'1' * 5_000}*=1.0"},
    {"accept": "multipart/mixed; boundary*0*=x; subscriptionSpec=1.0"},
    {"accept": "application/json;q=1e400, */*;q=nan"},
    {"accept": "," * 10_000},
    {"accept": ""},
]

BAD_QUERY_STRINGS = [
    "",
    "quer=%7B__typename%7D",
    "query[]=%7B__typename%7D",
    "%",
    "&&==&",
    "variables=%7B%7D",
    "query=%7B__typename%7D&variables=x",
    "query=%7B__typename%7D&variables=%7B",
    "query=%7B__typename%7D&variables=[]",
    "query=%7B__typename%7D&variables=3",
    "query=%7B__typename%7D&variables=%22x%22",
    "query=%7B__typename%7D&variables=%7B%22a%22:NaN%7D",
    "query=%7B__typename%7D&variables=" + "[" * 20_000,
    "query=%7B__typename%7D&variables=" + "1" * 10_000,
    "query=%7B__typename%7D&variables=%ff",
    "query=%7B__typename%7D&extensions=x",
    "query=%7B__typename%7D&extensions=[]",
]


def check_refusal(answer: httpx.Response, *statuses: int) -> None:
    assert answer.status_code in statuses
    assert answer.headers["content-type"] == LEGACY_JSON
    [error] = answer.json()["errors"]
    assert error["message"].endswith(".")


@pytest.mark.parametrize("content", BAD_BODIES.values(), ids=BAD_BODIES.keys())
@pytest.mark.parametrize("accept", [LEGACY_JSON, RESPONSE_JSON, EVENT_STREAM])
async def test_a_body_that_is_no_request_is_400_with_a_sentence(
    http: httpx.AsyncClient, content: bytes, accept: str
) -> None:
    headers = {**JSON, "accept": accept}
    check_refusal(await http.post("/graphql", content=content, headers=headers), 400)


@pytest.mark.parametrize("content_type", BAD_CONTENT_TYPES)
async def test_a_body_of_another_content_type_or_charset_is_415(
    http: httpx.AsyncClient, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"content-type": content_type.encode("latin-1")}
    answer = await http.post("/graphql", content=body(), headers=headers)  # type: ignore[arg-type]
    check_refusal(answer, 415)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "APPLICATION/JSON",
        'application/json; charset="UTF-8"',
        "application/json;",
    ],
)
async def test_a_json_body_may_be_announced_in_several_ways(
    http: httpx.AsyncClient, content_type: str
) -> None:
    headers = {"content-type": content_type}
    answer = await http.post("/graphql", content=body(), headers=headers)
    assert answer.json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize("odd", ODD_HEADERS, ids=lambda odd: str(odd)[:60])
async def test_odd_headers_are_answered_or_refused(
    http: httpx.AsyncClient, odd: dict[str, str]
) -> None:
    headers = {name: value.encode("latin-1") for name, value in {**JSON, **odd}.items()}
    answer = await http.post("/graphql", content=body(), headers=headers)  # type: ignore[arg-type]
    assert answer.status_code in (200, 406, 415)


@pytest.mark.parametrize("query_string", BAD_QUERY_STRINGS, ids=lambda text: text[:60])
async def test_a_query_string_that_is_no_request_is_400_with_a_sentence(
    http: httpx.AsyncClient, query_string: str
) -> None:
    check_refusal(await http.get(f"/graphql?{query_string}"), 400)


@pytest.mark.parametrize(
    "query",
    [
        "{ a " * 5_000,
        "{ messages(last: " + "[" * 5_000 + "1" + "]" * 5_000 + ") { id } }",
        "{ messages(last: " + "1" * 10_000 + ") { id } }",
        "{ " + "... on Query { " * 150 + "__typename" + " }" * 151,
        '{ __type(name: "Query") { ' + "ofType { " * 150 + "name" + " }" * 152,
        "query (" + " ".join(f"$a{n}: Int = {{b: [1]}}" for n in range(500)) + ") { __typename }",
        "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }",
        "\0",
        "\ud800",
        '"""' * 3_000,
    ],
    ids=lambda query: ascii(query[:40]),
)
async def test_a_hostile_document_is_answered_in_time_and_without_an_internal_error(
    http: httpx.AsyncClient, query: str
) -> None:
    answer = await http.post("/graphql", content=body(query), headers=JSON)
    assert answer.status_code == 200
    codes = {error["extensions"]["code"] for error in answer.json().get("errors", [])}
    assert codes <= {
        "DOCUMENT_TOO_COSTLY",
        "GRAPHQL_PARSE_FAILED",
        "GRAPHQL_VALIDATION_FAILED",
    }
    assert answer.elapsed.total_seconds() < 5


# Too large a body.


async def exchange(server: ServerProcess, *parts: bytes) -> bytes:
    """The beginning of the server's answer to raw bytes, which may end too soon."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        for part in parts:
            writer.write(part)
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await reader.read(200)
    finally:
        writer.close()


POST = b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


async def test_a_body_that_says_it_is_too_large_is_413_before_it_comes(
    server: ServerProcess,
) -> None:
    answer = await exchange(server, POST + b"Content-Length: 3000000000\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_body_that_grows_too_large_is_413_before_it_ends(server: ServerProcess) -> None:
    half = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    answer = await exchange(
        server, POST + b"Transfer-Encoding: chunked\r\n\r\n", half, half, b"1\r\nx\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_body_of_almost_2_mib_is_accepted(http: httpx.AsyncClient) -> None:
    content = body(variables={"a": "x" * (2**21 - 100)})
    answer = await http.post("/graphql", content=content, headers=JSON)
    assert answer.json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: x\r\n\r\n",
        POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        POST + b"Transfer-Encoding: chunked\r\n\r\nx\r\n",
        b"GET /graphql HTTP/1.1\r\nHost: localhost\r\n"
        b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_400(server: ServerProcess, data: bytes) -> None:
    assert (await exchange(server, data)).startswith(b"HTTP/1.1 400 ")


HANDSHAKE = (
    b"GET /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.mark.parametrize(
    ("more", "status"),
    [
        (b"Content-Length: 5\r\n\r\nhello", 400),
        (b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"X-Long: " + b"x" * 10_000 + b"\r\n\r\n", 431),
        (b"X-Many: x\r\n" * 200 + b"\r\n", 431),
    ],
    ids=["a body", "a body in chunks", "a long header", "many headers"],
)
async def test_a_handshake_that_the_websocket_library_cannot_read_is_answered(
    server: ServerProcess, more: bytes, status: int
) -> None:
    assert (await exchange(server, HANDSHAKE + more)).startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize("sent", [b"{", body()], ids=["half of a body", "a whole one"])
async def test_a_client_that_leaves_before_its_answer_disturbs_nobody(
    server: ServerProcess, http: httpx.AsyncClient, sent: bytes
) -> None:
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(POST + b"Content-Length: %d\r\n\r\n" % len(body()) + sent)
        await writer.drain()
        writer.transport.abort()
    answer = await http.post("/graphql", content=body(), headers=JSON)
    assert answer.status_code == 200


async def test_a_socket_from_a_foreign_page_is_refused(server: ServerProcess) -> None:
    handshake = (
        b"GET /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nOrigin: http://evil.example\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert (await exchange(server, handshake)).startswith(b"HTTP/1.1 403 ")


# Beside GraphQL.


@pytest.mark.parametrize(("path", "text"), [("/healthz", "ok"), ("/readyz", "ready")])
async def test_health_and_readiness_are_said_in_a_word(
    http: httpx.AsyncClient, path: str, text: str
) -> None:
    answer = await http.get(path)
    assert (answer.status_code, answer.text) == (200, text)


async def test_the_root_is_the_chat_or_says_how_to_build_it(http: httpx.AsyncClient) -> None:
    answer = await http.get("/")
    if (BUILD / "index.html").is_file():
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.text == (BUILD / "index.html").read_text()
    else:
        assert answer.status_code == 503
        assert answer.text == "This page was not built; `make setup` builds it."


async def test_what_is_nowhere_is_404(http: httpx.AsyncClient) -> None:
    for path in ("/nothing", "/static/../app.py", "/static/%2e%2e/app.py", "/static/%00", "/%ff"):
        assert (await http.get(path)).status_code == 404
