"""Whatever a client posts or gets, it is answered, and not with an internal error."""

import json
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.end_to_end.test_random_frames import anything, payloads
from tests.processes import ServerProcess
from tests.wire import PATIENCE_SECONDS

STATUSES = {200, 400, 405, 406, 413, 415}

header_values = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30
).map(str.strip)
content_types = st.sampled_from(["application/json", "application/json; charset=utf-8"])
accepts = st.sampled_from(["*/*", "application/json", "application/graphql-response+json"])
bodies = (payloads | anything).map(lambda value: json.dumps(value).encode()) | st.binary()
query_strings = st.dictionaries(
    st.sampled_from(["query", "variables", "operationName", "extensions"]),
    payloads.map(json.dumps) | st.text(st.characters(codec="utf-8"), max_size=30),
)


def check(answer: httpx.Response) -> None:
    """Fails unless an answer is JSON, with a status that says whose fault it was."""
    assert answer.status_code in STATUSES
    value: Any = answer.json()
    assert "data" in value or value["errors"]
    for error in value.get("errors", []):
        assert error.get("extensions", {}).get("code") != "INTERNAL_SERVER_ERROR"


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    body=bodies,
    content_type=content_types | header_values,
    accept=accepts | header_values,
    query_string=query_strings,
)
async def test_any_request_is_answered_and_not_with_an_internal_error(
    server: ServerProcess,
    body: bytes,
    content_type: str,
    accept: str,
    query_string: dict[str, str],
) -> None:
    headers = [
        (b"content-type", content_type.encode("latin-1")),
        (b"accept", accept.encode("latin-1")),
    ]
    async with httpx.AsyncClient(
        base_url=server.http, timeout=PATIENCE_SECONDS, verify=False
    ) as http:
        check(await http.post("/graphql", content=body, headers=headers))
        check(await http.get("/graphql", params=query_string))
