"""What a client wants its answer to look like."""

import pytest

from graphql_app.api.negotiation import (
    LEGACY_JSON,
    RESPONSE_JSON,
    media_types,
    negotiated,
    wanted_protocol,
)


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        ("*/*", LEGACY_JSON),
        ("application/*", RESPONSE_JSON),
        ("application/json", LEGACY_JSON),
        ("application/graphql-response+json", RESPONSE_JSON),
        ("application/graphql-response+json, application/json;q=0.9", RESPONSE_JSON),
        ("application/graphql-response+json;q=0.5, application/json", LEGACY_JSON),
        ("Application/GraphQL-Response+JSON; charset=utf-8", RESPONSE_JSON),
        ("text/html, */*;q=0.1", LEGACY_JSON),
        ("application/json;q=0", None),
        ("application/json;q=much", None),
        ("text/html", None),
        ("", None),
    ],
)
def test_the_preferred_kind_of_json_is_taken(accept: str, answer: str | None) -> None:
    assert negotiated(accept) == answer


@pytest.mark.parametrize(
    ("accept", "protocol"),
    [
        ("text/event-stream", "sse"),
        ("application/json, text/event-stream;q=0.5", "sse"),
        ('multipart/mixed;boundary=graphql;subscriptionSpec="1.0"', "multipart-subscription"),
        ("multipart/mixed;subscriptionSpec=1.0, application/json", "multipart-subscription"),
        ("multipart/mixed", "http"),
        ("application/json", "http"),
        ("", "http"),
    ],
)
def test_a_stream_comes_as_it_is_asked_for(accept: str, protocol: str) -> None:
    assert wanted_protocol(accept) == protocol


def test_parameters_are_read_without_their_quotes_and_blanks() -> None:
    assert list(media_types('A/B; c = "D" ;e, f/g')) == [
        ("a/b", {"c": "d", "e": ""}),
        ("f/g", {}),
    ]
