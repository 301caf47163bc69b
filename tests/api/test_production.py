"""What a server does not show that is no place for developers."""

from typing import Any

import httpx
import pytest
from graphql import (
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    get_introspection_query,
    parse,
    specified_rules,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from graphql_app.api.schema import new_schema, schema
from graphql_app.app import create_app
from graphql_app.settings import Settings, read_settings

JSON = {"Content-Type": "application/json"}
QUIET = new_schema(suggestions=False)


def http(app: Starlette) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


async def asked(
    app: Starlette, query: str, variables: dict[str, Any] | None = None
) -> dict[str, Any]:
    body = {"query": query, "variables": variables}
    async with http(app) as client:
        answer: dict[str, Any] = (await client.post("/graphql", json=body)).json()
    return answer


@pytest.mark.parametrize("switch", ["introspection", "playground", "suggestions"])
@pytest.mark.parametrize(
    ("production", "chosen", "allowed"),
    [
        (False, None, True),
        (True, None, False),
        (True, True, True),
        (False, False, False),
    ],
)
def test_what_is_for_developers_is_there_unless_in_production_or_as_it_is_set(
    switch: Any, production: bool, chosen: bool | None, allowed: bool
) -> None:
    chosen_settings = read_settings({"production": production, switch: chosen})
    assert chosen_settings.allows(switch) is allowed


# Introspection.


@pytest.mark.parametrize(
    "query",
    [
        get_introspection_query(),
        "{ __schema { types { name } } }",
        '{ a: __type(name: "Message") { name } }',
        "{ ...F } fragment F on Query { ... { __schema { queryType { name } } } }",
    ],
    ids=lambda query: query[:30],
)
async def test_the_schema_can_be_kept_to_oneself(query: str) -> None:
    answer = await asked(create_app(Settings(introspection=False)), query)
    assert answer.get("data") is None
    assert "introspection has been disabled" in answer["errors"][0]["message"]
    assert answer["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"


async def test_who_knows_the_schema_still_learns_the_types_of_what_comes() -> None:
    answer = await asked(create_app(Settings(introspection=False)), "{ __typename }")
    assert answer == {"data": {"__typename": "Query"}}


async def test_one_server_shows_the_schema_and_another_beside_it_does_not() -> None:
    query = "{ __schema { queryType { name } } }"
    shows, hides = create_app(Settings()), create_app(Settings(production=True))
    for _ in range(2):  # A document that was found to be valid is not looked at again.
        assert (await asked(shows, query))["data"]["__schema"]["queryType"] == {"name": "Query"}
        assert "errors" in await asked(hides, query)


# Suggestions.


def near(name: str) -> st.SearchStrategy[str]:
    """Names that are mistaken for a name: a letter more, less, or another."""
    places = st.integers(0, len(name) - 1)
    return st.one_of(
        places.map(lambda at: name[:at] + name[at + 1 :]),
        places.map(lambda at: name[: at + 1] + "x" + name[at + 1 :]),
        places.map(lambda at: name[:at] + "z" + name[at + 1 :]),
        st.sampled_from([name.upper(), name.lower(), name[0].swapcase() + name[1:], name + "s"]),
    ).filter(lambda near: near.isidentifier() and near != name)


TYPES = [name for name in schema._schema.type_map if not name.startswith("__")]
FIELDS = [
    name
    for kind in schema._schema.type_map.values()
    if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType) and not kind.name.startswith("__")
    for name in kind.fields
]
INPUT_FIELDS = [
    name
    for kind in schema._schema.type_map.values()
    if isinstance(kind, GraphQLInputObjectType)
    for name in kind.fields
]
DOCUMENTS = {
    "a field": (FIELDS, "{ NAME messages { NAME } } subscription S { sendMessage { NAME } NAME }"),
    "an argument": (
        ["last", "first", "before", "conversationId", "id"],
        "{ messages(NAME: 1) { id } conversations(NAME: 1) { id } message(NAME: 1) { id } }",
    ),
    "a type": (
        TYPES,
        "query($a: NAME) { messages { ... on NAME { id } } } fragment F on NAME { id }",
    ),
    "a directive": (["skip", "include", "deprecated"], "{ messages { id @NAME(if: true) } }"),
    "an argument of a directive": (["if"], "{ messages { id @skip(NAME: true) } }"),
    "a field of an input": (
        INPUT_FIELDS,
        'subscription { sendMessage(message: {id: "1", content: "a", NAME: 1}) { text } }',
    ),
    "a fragment": (["Fields"], "{ messages { ...NAME } } fragment Fields on Message { id }"),
    "a variable": (["last"], "query($last: Int) { messages(last: $NAME) { id } }"),
}
CASES = [(query, name) for names, query in DOCUMENTS.values() for name in dict.fromkeys(names)]


@settings(deadline=None)
@given(st.data())
def test_no_error_of_a_document_says_what_could_have_been_meant(data: st.DataObject) -> None:
    query, name = data.draw(st.sampled_from(CASES))
    document = parse(query.replace("NAME", data.draw(near(name))))
    errors = QUIET.errors_in(document, specified_rules)
    assert errors
    assert not any("mean" in error.message for error in errors)


@pytest.mark.parametrize(
    "query",
    [
        "{ messages }",
        "{ a: messages(last: 1) }",
        "subscription { conversationEvents }",
        "query A { message(id: 1) } query B { messages { usage } }",
    ],
)
def test_an_object_without_a_selection_is_told_without_a_suggestion(query: str) -> None:
    errors = QUIET.errors_in(parse(query), specified_rules)
    assert errors
    for error in errors:
        assert error.message.endswith("must have a selection of subfields.")
    assert "Did you mean" in schema.errors_in(parse(query), specified_rules)[0].message


QUIET_APP = create_app(Settings(suggestions=False))


@settings(deadline=None)
@given(st.data())
async def test_no_error_of_a_variable_says_what_could_have_been_meant(data: st.DataObject) -> None:
    name = data.draw(near(data.draw(st.sampled_from(INPUT_FIELDS))))
    answer = await asked(
        QUIET_APP,
        "mutation($a: Int) { clearMessages(conversationId: $a) }",
        {"a": {name: 1}},
    )
    assert "mean" not in str(answer)
    events = "subscription($m: MessageInput!) { sendMessage(message: $m) { text } }"
    async with http(QUIET_APP) as client:
        response = await client.post(
            "/graphql",
            json={"query": events, "variables": {"m": {"id": "1", "content": "a", name: 1}}},
            headers={"Accept": "text/event-stream"},
        )
    assert "BAD_USER_INPUT" in response.text
    assert "mean" not in response.text


async def test_without_being_told_errors_say_what_could_have_been_meant() -> None:
    app = create_app(Settings())
    answer = await asked(app, "{ mesages { id } }")
    assert "Did you mean 'messages'" in answer["errors"][0]["message"]
    async with http(app) as client:
        response = await client.post(
            "/graphql",
            json={
                "query": "subscription($m: MessageInput!) { sendMessage(message: $m) { text } }",
                "variables": {"m": {"id": "1", "content": "a", "contend": 1}},
            },
            headers={"Accept": "text/event-stream"},
        )
    assert "Did you mean 'content'" in response.text


# The playground.


@pytest.mark.parametrize(
    "path", ["/graphql", "/static/playground.html", "/static/playground.html.gz"]
)
async def test_a_playground_that_is_switched_off_is_nowhere(path: str) -> None:
    async with http(create_app(Settings(playground=False))) as client:
        answer = await client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert "text/plain" in answer.headers["content-type"]


async def test_without_the_playground_a_query_by_get_is_answered_as_ever() -> None:
    async with http(create_app(Settings(playground=False))) as client:
        answer = await client.get(
            "/graphql", params={"query": "{ __typename }"}, headers={"Accept": "text/html, */*"}
        )
    assert answer.json() == {"data": {"__typename": "Query"}}


async def test_a_large_variable_that_is_wrong_is_told_in_a_few_sentences() -> None:
    names = {f"offse{number}": 1 for number in range(20_000)}
    answer = await asked(
        create_app(Settings()),
        "query($a: Int) { messages(last: $a) { id } }",
        {"a": {"x" * 100_000: 1, **names}},
    )
    assert len(str(answer)) < 10_000
    async with http(create_app(Settings())) as client:
        response = await client.post(
            "/graphql",
            json={
                "query": "subscription($m: ResumeInput!) { resumeMessage(message: $m) { text } }",
                "variables": {"m": {"id": "1", "x" * 100_000: 1, **names}},
            },
            headers={"Accept": "text/event-stream"},
        )
    assert response.text.count("not to include unknown field") == 5
    assert len(response.text) < 10_000
