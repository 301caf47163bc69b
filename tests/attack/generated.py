"""What generated attacks are made of, and how many there are."""

import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

GOAL = 10_000
"""How many are generated at least; the tests of generated attacks count theirs together."""

COUNTS = {
    "queries and mutations": 1_500,
    "event streams": 400,
    "bodies and headers": 800,
    "query strings": 400,
    "mangled requests": 3_000,
    "messages": 1_000,
    "frames": 1_000,
    "mangled sockets": 2_000,
}
"""How many of each kind. A life of a socket (`test_lives_of_sockets.py`) comes on top."""


def generating(count: int) -> settings:
    """So many examples; in CI always the same ones.

    There, one that fails is shown as it is: what hangs would be tried for many minutes until
    it is as small as can be.
    """
    in_ci = bool(os.environ.get("CI"))
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=in_ci,
        phases=[Phase.generate] if in_ci else [Phase.generate, Phase.shrink],
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
"""Any value that JSON has, and NaN."""

documents = st.sampled_from(
    [
        "{ __typename }",
        "{ messages(last: $a) { id content error { code } } }",
        "query ($a: Int) { messages(last: $a) { ...F } } fragment F on Message { id }",
        "query ($a: ID!, $b: ID) { messages(conversationId: $a, before: $b) { createdAt } }",
        'mutation ($a: ID! = "x") { stopMessage(id: $a) { status } }',
        "mutation { clearMessages }",
        "subscription { conversationEvents { __typename } }",
        "subscription ($a: MessageInput!) { sendMessage(message: $a) { text offset } }",
        "subscription ($a: ResumeInput!) { resumeMessage(message: $a) { text offset } }",
        "subscription ($a: RegenerateInput!) { regenerateMessage(message: $a) { text } }",
        "{ __schema { types { fields { type { ofType { name } } } } } }",
    ]
) | st.text('{}()[]:!$@"\\#, \n.abc123\u65e5\ud800', max_size=30)

messages = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["1", "2", "3"]) | anything,
        "messageId": st.sampled_from(["1", "2", "3"]) | anything,
        "content": anything,
        "conversationId": st.just("default") | anything,
        "offset": st.integers(-5, 50) | anything,
    },
)

payloads = st.fixed_dictionaries(
    {},
    optional={
        "query": documents | anything,
        "variables": st.dictionaries(st.sampled_from("ab"), messages | anything) | anything,
        "operationName": anything,
        "extensions": anything,
    },
)
"""What may be posted, or stand in a subscribe message."""


@st.composite
def mangled(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """One of these, with a few pieces left out, doubled, put elsewhere, or changed."""
    data = bytearray(draw(st.sampled_from(originals)))
    places = st.integers(0, max(len(data) - 1, 0))
    for _ in range(draw(st.integers(1, 4))):
        begin, end = sorted((draw(places), draw(places)))
        piece = bytes(data[begin : min(end, begin + 64)])
        match draw(st.sampled_from(["cut", "doubled", "moved", "changed", "added"])):
            case "cut":
                del data[begin : begin + len(piece)]
            case "doubled":
                data[begin:begin] = piece
            case "moved":
                del data[begin : begin + len(piece)]
                place = draw(places)
                data[place:place] = piece
            case "changed":
                data[begin : begin + 1] = draw(st.binary(min_size=1, max_size=1))
            case _:
                data[begin:begin] = draw(
                    st.binary(max_size=8)
                    | st.sampled_from(
                        [b"\r\n", b"\r\n\r\n", b"\0", b"%", b"..", b"\xff", b": ", b","]
                    )
                )
    return bytes(data)
