"""Whatever is posted, gotten or garbled, it is answered, and not with a failure of ours."""

import json
import urllib.parse
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import graphql
import pytest
import requests
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from hypothesis_graphql import queries

from tests.attack.attacks import asking, getting
from tests.attack.generated import COUNTS, GOAL, anything, generating, mangled, payloads
from tests.attack.http_inputs import CHUNKED
from tests.attack.peers import Answer, HungUpError, handshake, peer, request
from tests.attack.target import Target, check_answer, check_errors
from tests.wire import PATIENCE_SECONDS

SDL = Path(__file__).parents[2] / "schema.graphql"

REFUSALS = {400, 403, 404, 405, 406, 408, 411, 413, 414, 415, 417, 426, 431}
"""The statuses with which a client may be told that it is wrong."""

OPERATIONS = [
    ("Query", "messages"),
    ("Query", "message"),
    ("Query", "conversations"),
    ("Mutation", "clearMessages"),
    ("Mutation", "stopMessage"),
]
SUBSCRIPTIONS = ["sendMessage", "regenerateMessage", "resumeMessage", "conversationEvents"]

schema = schemathesis.graphql.from_path(SDL)


def as_queries(sdl: str) -> graphql.GraphQLSchema:
    """The schema with its subscriptions for queries: nothing generates subscriptions."""
    return graphql.build_schema(sdl + "schema { query: Subscription }")


subscriptions = as_queries(SDL.read_text())


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def target(shared_target: Target) -> Iterator[Target]:
    """The server; thousands of requests may bring thousands of lines into its log."""
    with shared_target.undisturbed(lines=20_000):
        yield shared_target


def test_ten_thousand_attacks_are_generated() -> None:
    assert sum(COUNTS.values()) >= GOAL
    assert {(root, field) for root in ("Query", "Mutation") for field in schema[root]} == set(
        OPERATIONS
    )


def check_graphql(answer: Answer) -> None:
    """Fails unless an answer of /graphql is JSON that says what was found, or what was wrong."""
    check_answer(answer)
    assert answer.status in {200, *REFUSALS}
    if (answer.header("content-type") or "").startswith("application/"):
        value: Any = json.loads(answer.body)
        assert "data" in value or value["errors"]
        if answer.status == 200:
            check_errors(value.get("errors", []))


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=str)
@pytest.mark.parametrize(("root", "field"), OPERATIONS)
def test_queries_and_mutations_made_from_the_schema_are_answered(
    target: Target,
    session: requests.Session,
    root: str,
    field: str,
    mode: schemathesis.GenerationMode,
) -> None:
    count = COUNTS["queries and mutations"] // len(OPERATIONS) // len(schemathesis.GenerationMode)
    url = f"{target.server.http}/graphql"
    ran = 0

    @generating(count)
    @given(case=schema[root][field].as_strategy(generation_mode=mode))
    def answers(case: schemathesis.Case[Any]) -> None:
        nonlocal ran
        ran += 1
        response = case.call(base_url=url, session=session, timeout=PATIENCE_SECONDS)
        headers = tuple((name, value[0]) for name, value in response.headers.items())
        check_graphql(Answer(response.status_code, headers, response.content))
        assert case.meta is not None
        if case.meta.generation.mode.is_negative:
            assert response.json()["errors"]

    answers()
    assert ran >= count


@pytest.mark.parametrize("field", SUBSCRIPTIONS)
@pytest.mark.parametrize(
    "accept", [b"text/event-stream", b"multipart/mixed;subscriptionSpec=1.0"], ids=bytes.decode
)
def test_event_streams_made_from_the_schema_begin_as_they_should(
    target: Target, field: str, accept: bytes
) -> None:
    @generating(COUNTS["event streams"] // len(SUBSCRIPTIONS) // 2)
    @given(document=queries(subscriptions, fields=[field]))
    def begins(document: str) -> None:
        with peer(target.port) as follower:
            follower.say(asking(f"subscription {document}", b"Accept: " + accept))
            head = follower.head()
            check_answer(head)
            assert head.status == 200
            follower.cut()  # Some go on for ever.

    begins()


header_values = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30
).map(lambda value: value.encode("latin-1"))
content_types = st.sampled_from([b"application/json", b"application/json; charset=utf-8"])
accepts = st.sampled_from([b"*/*", b"application/json", b"application/graphql-response+json"])
bodies = (payloads | anything).map(lambda value: json.dumps(value).encode()) | st.binary()
query_strings = st.dictionaries(
    st.sampled_from(["query", "variables", "operationName", "extensions"]),
    payloads.map(json.dumps) | st.text(max_size=30),
).map(lambda each: urllib.parse.urlencode(each, errors="replace").encode())


@generating(COUNTS["bodies and headers"])
@given(
    body=bodies,
    content_type=content_types | header_values,
    accept=accepts | header_values,
)
def test_any_body_under_any_header_is_answered(
    target: Target, body: bytes, content_type: bytes, accept: bytes
) -> None:
    headers = (b"Content-Type: " + content_type, b"Accept: " + accept)
    with peer(target.port) as attacker:
        attacker.say(request(*headers, content=body))
        check_graphql(attacker.answer())


@generating(COUNTS["query strings"])
@given(query_string=query_strings, accept=accepts | header_values)
def test_any_query_string_is_answered(target: Target, query_string: bytes, accept: bytes) -> None:
    with peer(target.port) as attacker:
        attacker.say(getting(b"/graphql?" + query_string, b"Accept: " + accept))
        check_graphql(attacker.answer())


ORIGINALS = [
    asking("{ __typename }", b"Accept: */*"),
    getting(b"/graphql?query=%7B__typename%7D", b"Connection: keep-alive"),
    getting(b"/static/index.html", b"Range: bytes=0-1", b"If-None-Match: *"),
    getting(b"/", b"Accept-Encoding: gzip, br", b"Cookie: a=b"),
    CHUNKED + b'1a\r\n{"query":"{ __typename }"}\r\n0\r\n\r\n',
    handshake(Sec_WebSocket_Key=b"dGhlIHNhbXBsZSBub25jZQ=="),
    request(method=b"OPTIONS", target=b"*"),
]


@generating(COUNTS["mangled requests"])
@given(sent=mangled(ORIGINALS))
def test_a_mangled_request_is_answered_or_waited_for(target: Target, sent: bytes) -> None:
    with peer(target.port) as attacker:
        attacker.say(sent)
        attacker.end()  # It may lack its end.
        with suppress(HungUpError):
            while (answer := attacker.answer(has_body=b"HEAD" not in sent)).status != 101:
                check_answer(answer, may_break_off=True)
