"""What a document costs: the memoised rule against a naive one, and what is left for validation."""

import random
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLList,
    GraphQLObjectType,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    Source,
    get_introspection_query,
    get_nullable_type,
    parse,
    specified_rules,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from graphql_app.api import cost
from graphql_app.api.cost import BOUNDS, LISTS, Bounds, Measure, check_answer, check_shape, parsed
from graphql_app.api.requests import parse_operation
from graphql_app.api.schema import MAX_ERRORS, schema
from graphql_app.errors import DocumentTooCostlyError
from tests.documents import KINDS, hostile, invented

INTROSPECTION = get_introspection_query(
    specified_by_url=True,
    directive_is_repeatable=True,
    schema_description=True,
    input_value_deprecation=True,
)
PLAIN = (
    "id conversationId role content status createdAt replyToId error { code message } "
    "usage { model inputTokens outputTokens timeToFirstToken duration }"
)

NAMED = PLAIN.replace("}", "__typename }") + " __typename"
ALL = f"{NAMED} replies {{ {NAMED} }}"
"""All that there is of a message, with what Apollo Client adds."""


# The same, naively.


def naive(document: DocumentNode, selections: SelectionSetNode, parents: int) -> dict[str, int]:
    """What a selection set costs, with each fragment followed wherever it is spread."""
    fragments = {
        definition.name.value: definition
        for definition in document.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }
    total = {"depth": 0, "selections": 0, "aliases": 0, "entries": 0, "values": 0}
    for node in selections.selections:
        total["selections"] += 1
        count, inner = parents, None
        if isinstance(node, FieldNode):
            total["values"] += parents
            total["aliases"] += node.alias is not None
            inner = node.selection_set
            match node.name.value:
                case "messages" | "conversations":
                    count = parents * asked(node)
                    total["entries"] += count
                case "replies":
                    count = 1_000 + 3 * parents
                    total["entries"] += count
        elif isinstance(node, FragmentSpreadNode):
            inner = fragments[node.name.value].selection_set
        else:
            assert isinstance(node, InlineFragmentNode)
            inner = node.selection_set
        if inner is not None:
            more = naive(document, inner, count)
            total = {
                key: max(total[key], more[key]) if key == "depth" else total[key] + more[key]
                for key in total
            }
    total["depth"] += 1
    return total


def asked(node: FieldNode) -> int:
    for argument in node.arguments or ():
        if argument.name.value in ("last", "first"):
            return min(int(getattr(argument.value, "value", 1_000)), 1_000)
    return 1_000


def measured(document: DocumentNode) -> dict[str, int]:
    operation = document.definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    fragments = [each for each in document.definitions if isinstance(each, FragmentDefinitionNode)]
    total = Measure(fragments, most_depth=1_000).cost(operation.selection_set)
    return {
        "depth": total.depth,
        "selections": total.selections,
        "aliases": total.aliases,
        "entries": total.entries.at_the_top,
        "values": total.values.at_the_top,
    }


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Small documents whose fragments spread only later ones."""
    count = draw(st.integers(0, 4))

    def selections(depth: int, first: int) -> str:
        kinds = ["id", "a: content", "error { code }"]
        if first < count:
            kinds += ["spread"] * 2
        if depth:
            kinds += [
                "messages",
                "conversations(first: 3)",
                "replies",
                "b: replies",
                "message",
                "...",
            ]
            kinds += ["messages(last: 2)", "messages(last: 5000)"]
        parts = []
        for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=4)):
            if kind == "spread":
                parts.append(f"...F{draw(st.integers(first, count - 1))}")
            elif kind in ("id", "a: content", "error { code }"):
                parts.append(kind)
            else:
                parts.append(f"{kind} {selections(depth - 1, first)}")
        return f"{{ {' '.join(parts)} }}"

    query = f"query {selections(3, 0)}"
    return query + "".join(f" fragment F{i} on A {selections(2, i + 1)}" for i in range(count))


@settings(deadline=None)
@given(documents())
def test_what_is_measured_once_is_what_following_every_path_gives(query: str) -> None:
    document = parse(query)
    operation = document.definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    assert measured(document) == naive(document, operation.selection_set, 1)


@settings(deadline=None)
@given(documents(), st.sampled_from(["id", "x: id", "replies { id }", "messages { ...F }"]))
def test_who_asks_for_more_never_pays_less(query: str, more: str) -> None:
    grown = parse(query.replace("{", f"{{ {more} ", 1) + " fragment F on A { id }")
    before, after = measured(parse(query)), measured(grown)
    assert all(before[key] <= after[key] for key in before)
    assert before["selections"] < after["selections"]


# What is let in.


@pytest.mark.parametrize(
    "query",
    [
        INTROSPECTION,
        f"{{ messages {{ {PLAIN} }} }}",
        f"{{ messages {{ {PLAIN} replies {{ {PLAIN} }} }} conversations {{ id title }} }}",
        f"{{ message(id: 1) {{ {PLAIN} replies {{ {PLAIN} replies {{ id }} }} }} }}",
        f"subscription {{ conversationEvents {{ ... on MessagesReset {{ messages {{ {PLAIN} }} }} "
        f"... on MessageChanged {{ message {{ {PLAIN} }} }} }} }}",
        f"{{ messages {{ {ALL} }} conversations {{ id title createdAt updatedAt __typename }} }}",
        f"subscription {{ conversationEvents {{ ... on MessagesReset {{ messages {{ {ALL} }} }} "
        f"... on MessageChanged {{ message {{ {ALL} }} }} }} }}",
    ],
    ids=[
        *("introspection", "a list", "all replies of a list", "a message", "events"),
        *("all of a list, from Apollo", "all of events, from Apollo"),
    ],
)
def test_what_clients_ask_for_is_let_in_with_room(query: str) -> None:
    parse_operation(query, None)
    total = measured(parse(query))
    for bound in ("depth", "selections", "aliases"):
        assert 2 * total[bound] <= getattr(BOUNDS, bound), bound
    assert 1.2 * total["entries"] <= BOUNDS.entries
    assert 1.2 * total["values"] <= BOUNDS.values


def test_the_introspection_of_tools_has_a_fourth_of_the_tokens_that_a_document_may_have() -> None:
    assert 4 * parse(INTROSPECTION).token_count <= BOUNDS.tokens
    parse_operation(INTROSPECTION, "IntrospectionQuery")


def test_a_message_fits_into_a_document_however_it_is_escaped() -> None:
    content = "\\u4e00" * 32_768
    query = f'subscription {{ sendMessage(message: {{id: "a", content: "{content}"}}) {{ text }} }}'
    parse_operation(query, None)


# What is refused.


def refusal(query: str, variables: dict[str, Any] | None = None) -> str:
    """How a document is refused as too costly; "" if it is not."""
    try:
        parse_operation(query, None, variables)
    except GraphQLError as error:
        if not isinstance(error.original_error, DocumentTooCostlyError):
            raise
        return error.message.removeprefix("The document is too costly: it has more than ")
    return ""


def fragments(count: int, form: str) -> str:
    return " ".join(form.replace("{i}", str(i)).replace("{j}", str(i + 1)) for i in range(count))


BOMB = "{ messages { ...F0 } } %s fragment F%d on Message { id }"


@pytest.mark.parametrize(
    ("query", "beyond"),
    [
        ("{ a }" + " " * BOUNDS.length, "200,704 characters."),
        ("#\n" * 801 + "{ a }", "800 comments."),
        ("{ a(b: [" + "1 " * 800 + "]) }", "800 tokens."),
        (fragments(51, "query A{i} { a }"), "50 operations."),
        ("{ a }" + fragments(51, "fragment F{i} on A { a }"), "50 fragments."),
        ("{ a " * 41 + "}" * 41, "40 levels."),
        (BOMB % (fragments(45, "fragment F{i} on A { ...F{j} }"), 45), "40 levels."),
        (BOMB % (fragments(28, "fragment F{i} on A { ...F{j} ...F{j} }"), 28), "500 selections."),
        (
            BOMB % (fragments(28, "fragment F{i} on A { a: a {...F{j}} b: a {...F{j}} }"), 28),
            "40 levels.",
        ),
        ("{ " + fragments(501, "a{i}") + " }", "500 selections."),
        ("{ " + fragments(51, "a{i}: a") + " }", "50 aliases."),
        ("{ " + "a " * 46 + "}", "1,000 fields of the same name."),
        ("{ " + fragments(46, "...F{i}") + " }", "1,000 fields of the same name."),
        (
            "{ " + fragments(11, "a{i}: messages { id }") + " }",
            "10,000 entries in the lists of its answer.",
        ),
        ("{ messages { messages { id } } }", "10,000 entries in the lists of its answer."),
        (
            "{ messages { replies { " + fragments(40, "a{i}: id") + " } } }",
            "150,000 values in its answer.",
        ),
        ("{ " + fragments(5, "a{i}: __schema { ...F }") + " } " + INTROSPECTION, ""),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_document_beyond_a_bound_is_refused_by_the_name_of_the_bound(
    query: str, beyond: str
) -> None:
    if beyond:
        assert refusal(query) == beyond


@pytest.mark.parametrize("levels", [28, 35])
def test_a_bomb_of_fragments_is_measured_in_as_many_steps_as_it_has_fragments(
    levels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0
    measure = Measure.cost

    def counted(self: Measure, *args: Any) -> cost.Cost:
        nonlocal steps
        steps += 1
        return measure(self, *args)

    monkeypatch.setattr(Measure, "cost", counted)
    form = "fragment F{i} on Message { ...F{j} ...F{j} ...F{j} }"
    assert refusal(BOMB % (fragments(levels, form), levels)) == "500 selections."
    assert steps == levels + 3


@pytest.mark.parametrize(
    "query",
    [
        "{ ...F } fragment F on Query { ...F }",
        "{ ...F } fragment F on Query { ...G } fragment G on Query { a { ...F } }",
        "{ a } fragment F on Query { ... { ...F } }",
        "{ a } fragment G on Query { ...F } fragment F on Query { ...G }",
    ],
)
def test_a_fragment_that_spreads_itself_is_refused_as_invalid(query: str) -> None:
    with pytest.raises(GraphQLError, match=r"^Cannot spread fragment '[FG]' within itself\.") as it:
        parse_operation(query, None)
    assert it.value.original_error is None


# Lists.


@pytest.mark.parametrize(
    ("variables", "beyond"),
    [
        ({"n": 10}, ""),
        ({"n": 500}, ""),
        ({"n": 501}, "10,000 entries in the lists of its answer."),
        ({"n": 10**100}, "10,000 entries in the lists of its answer."),
        ({"n": None}, "10,000 entries in the lists of its answer."),
        ({"n": "10"}, "10,000 entries in the lists of its answer."),
        ({"n": True}, "10,000 entries in the lists of its answer."),
        ({"n": -10}, "10,000 entries in the lists of its answer."),
        ({}, ""),
        ({"m": 1_000}, ""),
    ],
)
def test_the_length_of_lists_is_what_the_variables_of_each_operation_say(
    variables: dict[str, Any], beyond: str
) -> None:
    query = f"query ($n: Int = 7) {{ {fragments(20, 'a{i}: messages(last: $n) {{ id }}')} }}"
    query = query.replace("{{", "{").replace("}}", "}")
    for _ in range(2):
        assert refusal(query, variables) == beyond
        assert refusal(query, {"n": 1}) == ""


def test_only_the_operation_that_is_meant_has_an_answer() -> None:
    query = "query A { messages { messages { id } } } query B { messages { id } }"
    parse_operation(query, "B")
    with pytest.raises(GraphQLError, match="too costly"):
        parse_operation(query, "A")


def test_every_list_of_the_schema_has_its_length_in_the_table() -> None:
    lists: dict[str, tuple[str, GraphQLObjectType]] = {}
    for kind in schema._schema.type_map.values():
        if isinstance(kind, GraphQLObjectType):
            for name, described in kind.fields.items():
                if isinstance(get_nullable_type(described.type), GraphQLList):
                    is_of_enums = kind.name == "__Directive" and name == "locations"
                    if not is_of_enums:
                        lists[name] = (kind.name, kind)
                        arguments = {"last", "first"} & set(described.args)
                        assert LISTS[name][0] == (arguments.pop() if arguments else None)
    assert set(lists) == set(LISTS)


def test_the_table_says_of_introspection_about_what_our_schema_has() -> None:
    kinds = list(schema._schema.type_map.values())
    objects = [kind for kind in kinds if isinstance(kind, GraphQLObjectType)]
    assert len(kinds) <= LISTS["types"][1].each
    average = sum(len(kind.fields) for kind in objects) / len(objects)
    assert average <= LISTS["fields"][1].each


# What is left for validation.


def steps_of(work: Callable[[], object]) -> int:
    """How many functions are called until something is done."""
    steps = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal steps
        steps += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return steps


def steps_to_decide(query: str) -> int:
    """How many functions are called until a document is accepted or refused."""

    def decide() -> None:
        with suppress(DocumentTooCostlyError, GraphQLError):
            schema.errors_in(parsed(query), specified_rules)

    return steps_of(decide)


MOST_STEPS = 250_000
"""Some 20 ms on the machine of `docs/performance.md`; the worst document that is known takes 13."""


@pytest.mark.parametrize(("kind", "query"), [*hostile(10_000)], ids=list(KINDS))
def test_a_hostile_document_of_10_kilobytes_is_decided_in_bounded_steps(
    kind: str, query: str
) -> None:
    assert len(query) <= 10_000
    assert steps_to_decide(query) < MOST_STEPS


@pytest.mark.parametrize(("kind", "make"), list(KINDS.items()), ids=list(KINDS))
def test_the_largest_hostile_document_that_is_let_in_is_decided_in_bounded_steps(
    kind: str, make: Callable[[int], str]
) -> None:
    assert steps_to_decide(largest_let_in(make)) < MOST_STEPS


def largest_let_in(make: Callable[[int], str]) -> str:
    low, high = 1, 10_000
    while low < high:
        middle = (low + high + 1) // 2
        query = make(middle)
        is_let_in = len(query) <= 10_000
        if is_let_in:
            try:
                parsed(query)
            except DocumentTooCostlyError:
                is_let_in = False
            except GraphQLError:
                pass
        low, high = (middle, high) if is_let_in else (low, middle - 1)
    return make(low)


@pytest.mark.parametrize("seed", range(40))
def test_documents_that_nobody_thought_of_are_decided_in_bounded_steps(seed: int) -> None:
    chance = random.Random(seed)
    for size in (500, 1_500, 4_000, 10_000):
        assert steps_to_decide(invented(chance, size)) < MOST_STEPS


def test_validation_tells_the_first_few_errors() -> None:
    document = parse("{ " + fragments(50, "a{i}") + " }")
    errors = schema.errors_in(document, specified_rules)
    assert len(errors) == MAX_ERRORS + 1
    assert "limit reached" in errors[-1].message


def test_lines_are_looked_for_once_however_many_errors_are_in_them() -> None:
    lines, errors = 5_000, 48
    document = parsed("\n" * lines + "{ " + fragments(errors, "a{i}: message(id: 1) { id }") + " }")
    [operation] = document.definitions
    assert isinstance(operation, OperationDefinitionNode)
    nodes = operation.selection_set.selections
    # Each line takes two steps or three; of all errors together it would be half a million.
    assert steps_of(lambda: [GraphQLError("wrong", node) for node in nodes]) < 50_000


@given(st.text("a\n\r \u2028\x0b", max_size=30), st.integers(0, 31))
def test_a_place_in_a_text_is_told_as_everywhere(text: str, position: int) -> None:
    assert cost.Text(text).get_location(position) == Source(text).get_location(position)


def test_bounds_can_be_others() -> None:
    with pytest.raises(DocumentTooCostlyError, match="more than 2 aliases"):
        check_shape(parse("{ a: a b: a c: a }"), Bounds(aliases=2))
    document = parse("{ messages(last: 3) { id } }")
    [operation] = document.definitions
    assert isinstance(operation, OperationDefinitionNode)
    with pytest.raises(DocumentTooCostlyError, match="more than 2 entries"):
        check_answer(document, operation, {}, Bounds(entries=2))
