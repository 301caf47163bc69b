"""The Python client against a server that does what a test tells it."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest
from gql import GraphQLRequest
from gql.transport.websockets import WebsocketsTransport
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from graphql_app.client import (
    CLIENT_CLOSED,
    CONNECTION_FAILED,
    CONNECTION_LOST,
    CONNECTION_REFUSED,
    REQUEST_TOO_LARGE,
    UNKNOWN,
    Backoff,
    ChatClient,
    ChatClientError,
    ConnectionChange,
    GapError,
    ReplyText,
    Retry,
    Update,
)
from graphql_app.messages import (
    MessageChanged,
    MessagesReset,
    ReplyError,
    ReplyErrorCode,
    Role,
    Status,
    common_prefix,
    utf16_length,
)
from tests.faults import leaking_nothing

PATIENCE_SECONDS = 20.0
LEAVE_SECONDS = 5.0
"""How long the tasks of both ends may take to be gone, once the client is closed."""

QUICK = Retry(first_seconds=0.002, longest_seconds=0.02)

# A scripted server.


@dataclass(frozen=True)
class Close:
    """The server closes the socket."""

    code: int
    reason: str = ""


@dataclass(frozen=True)
class Errors:
    """The operation ends with an error message."""

    errors: list[dict[str, Any]]


@dataclass(frozen=True)
class Wait:
    """Nothing happens until the test lets it."""

    event: asyncio.Event


CUT = "the connection is reset"
COMPLETE = "the operation completes"

Step: TypeAlias = dict[str, Any] | Close | Errors | Wait | str


class ScriptedServer:
    """Speaks graphql-transport-ws; each operation that comes gets the next list of steps."""

    def __init__(self, *scripts: list[Step]) -> None:
        self.operations: list[dict[str, Any]] = []
        self.completed = 0
        self.connections = 0
        self.initial_payloads: list[dict[str, Any]] = []
        self.closing_new_with: Close | None = None
        self.answers_pings = True
        self.url = ""
        self._scripts = list(scripts)

    async def __call__(self, connection: ServerConnection) -> None:
        self.connections += 1
        self.initial_payloads.append(json.loads(await connection.recv())["payload"])
        if (close := self.closing_new_with) is not None:
            await connection.close(close.code, close.reason)
            return
        await self._send(connection, type="connection_ack")
        async with asyncio.TaskGroup() as operations:
            async for text in connection:
                frame = json.loads(text)
                if frame["type"] == "subscribe":
                    self.operations.append(frame["payload"])
                    steps = self._scripts.pop(0)
                    operations.create_task(self._play(connection, frame["id"], steps))
                elif frame["type"] == "complete":
                    self.completed += 1
                elif frame["type"] == "ping" and self.answers_pings:
                    await self._send(connection, type="pong")

    async def _play(self, connection: ServerConnection, id: str, steps: list[Step]) -> None:
        for step in steps:
            match step:
                case Wait(event):
                    await event.wait()
                case Close(code, reason):
                    await connection.close(code, reason)
                case Errors(errors):
                    await self._send(connection, id=id, type="error", payload=errors)
                case dict():
                    await self._send(connection, id=id, type="next", payload=step)
                case _ if step is CUT:
                    connection.transport.abort()
                case _:
                    await self._send(connection, id=id, type="complete")

    async def _send(self, connection: ServerConnection, **frame: Any) -> None:
        await connection.send(json.dumps(frame))


@asynccontextmanager
async def scripted(*scripts: list[Step]) -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer(*scripts)
    subprotocols = [Subprotocol("graphql-transport-ws")]
    async with serve(server, "127.0.0.1", 0, subprotocols=subprotocols) as listening:
        port = listening.sockets[0].getsockname()[1]
        server.url = f"ws://127.0.0.1:{port}/graphql"
        before = asyncio.all_tasks()
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield server
        if left := asyncio.all_tasks() - before - {asyncio.current_task()}:
            _, left = await asyncio.wait(left, timeout=LEAVE_SECONDS)
        assert not left, f"tasks left behind: {left}"


def chunk(
    offset: int, text: str, status: str = "STREAMING", error: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "data": {
            "sendMessage": {
                "messageId": "r1",
                "offset": offset,
                "text": text,
                "status": status,
                "error": error,
            }
        }
    }


def message(**changed: Any) -> dict[str, Any]:
    return {
        "id": "m1",
        "conversationId": "default",
        "role": "USER",
        "content": "Hello",
        "status": "DONE",
        "createdAt": "2026-11-23T12:00:00.123+00:00",
        "replyToId": None,
        "error": None,
        **changed,
    }


def refusal(code: str | None, message: str = "No.") -> Errors:
    extensions = {} if code is None else {"extensions": {"code": code}}
    return Errors([{"message": message, **extensions}])


async def contents(updates: AsyncIterator[Update]) -> list[str]:
    return [update.content async for update in updates]


# The rule.


def wire(offset: int, text: str, status: str = "STREAMING") -> dict[str, Any]:
    chunk_: dict[str, Any] = chunk(offset, text, status)["data"]["sendMessage"]
    return chunk_


def test_the_first_chunk_of_a_reply_tells_its_id_even_if_it_is_empty() -> None:
    assert ReplyText().apply(wire(0, "")) == Update("r1", "", "", Status.STREAMING)


def test_a_chunk_at_the_end_appends() -> None:
    reply = ReplyText("r1", "👩")
    update = reply.apply(wire(2, " é"))
    assert update == Update("r1", " é", "👩 é", Status.STREAMING)


def test_text_that_is_there_already_is_not_told_again() -> None:
    reply = ReplyText("r1", "one two")
    reply.apply(wire(7, ""))
    assert reply.apply(wire(0, "one two")) is None
    assert reply.apply(wire(0, "one two three")) == Update(
        "r1", " three", "one two three", Status.STREAMING
    )


def test_wrong_text_is_replaced_from_where_it_stops_being_right() -> None:
    reply = ReplyText("r1", "one 2wo")
    assert reply.apply(wire(4, "two")) == Update(
        "r1", "two", "one two", Status.STREAMING, replaced=3
    )


def test_text_that_could_not_have_come_from_the_server_is_healed() -> None:
    reply = ReplyText("r1", "one\ud83d")
    assert reply.apply(wire(3, "👩")) == Update("r1", "👩", "one👩", Status.STREAMING, replaced=1)


def test_a_final_status_is_told_without_new_text() -> None:
    reply = ReplyText("r1", "one")
    reply.apply(wire(3, ""))
    assert reply.apply(wire(3, "", "STOPPED")) == Update("r1", "", "one", Status.STOPPED)


def test_a_chunk_beyond_the_text_is_a_gap_but_tells_the_id() -> None:
    reply = ReplyText()
    with pytest.raises(GapError):
        reply.apply(wire(1, "x"))
    assert (reply.message_id, reply.content) == ("r1", "")


texts = st.text(st.sampled_from("ab \n漢\u0301👩\u200d"), max_size=12)


@given(stored=texts, shown=st.text(st.sampled_from("ab👩\ud83d"), max_size=12), data=st.data())
def test_whatever_is_shown_the_updates_lead_to_the_stored_text(
    stored: str, shown: str, data: st.DataObject
) -> None:
    """As the server does it: where the common beginning ends, then on, with repetitions."""
    reply = ReplyText("r1", shown)
    content = shown
    position = len(common_prefix(stored, shown))
    for _ in range(data.draw(st.integers(1, 4))):
        end = data.draw(st.integers(position, len(stored)))
        update = reply.apply(wire(utf16_length(stored[:position]), stored[position:end]))
        if update is not None:
            content = content[: len(content) - update.replaced] + update.text
            assert update.content == content
        assert reply.content == stored[:end]
        position = data.draw(st.integers(0, end))
    reply.apply(wire(utf16_length(stored[:position]), stored[position:], "DONE"))
    assert reply.content == stored


# The delays.


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def upper(low: float, high: float) -> float:
    return high


def test_the_delays_double_up_to_the_longest() -> None:
    backoff = Backoff(Retry(first_seconds=1, longest_seconds=10), Clock(), upper)
    assert [backoff.next_delay() for _ in range(6)] == [1, 2, 4, 8, 10, 10]


def test_the_jitter_takes_up_to_half_of_a_delay() -> None:
    backoff = Backoff(Retry(first_seconds=1, longest_seconds=10), Clock(), lambda low, high: low)
    assert [backoff.next_delay() for _ in range(2)] == [0.5, 1]


def test_the_delays_start_anew_when_it_works_again() -> None:
    backoff = Backoff(Retry(first_seconds=1), Clock(), upper)
    backoff.next_delay()
    backoff.reset()
    assert backoff.next_delay() == 1


def test_an_outage_that_lasts_too_long_ends_the_attempts() -> None:
    clock = Clock()
    backoff = Backoff(Retry(outage_seconds=60), clock, upper)
    assert backoff.next_delay() is not None
    clock.now = 59
    assert backoff.next_delay() is not None
    clock.now = 60
    assert backoff.next_delay() is None


def test_thousands_of_failures_do_not_overflow() -> None:
    backoff = Backoff(Retry(), Clock(), upper)
    assert [backoff.next_delay() for _ in range(5_000)][-1] == Retry().longest_seconds


# Replies across faults.


async def test_a_reply_is_followed_to_its_end() -> None:
    script: list[Step] = [chunk(0, ""), chunk(0, "one"), chunk(3, " two"), chunk(7, "", "DONE")]
    async with scripted([*script, COMPLETE]) as server, ChatClient(server.url) as client:
        updates = [update async for update in client.send("Hello", id="m1")]
    assert updates == [
        Update("r1", "", "", Status.STREAMING),
        Update("r1", "one", "one", Status.STREAMING),
        Update("r1", " two", "one two", Status.STREAMING),
        Update("r1", "", "one two", Status.DONE),
    ]
    [operation] = server.operations
    assert operation["variables"] == {
        "message": {"id": "m1", "content": "Hello", "conversationId": "default"}
    }


async def test_a_send_that_was_cut_before_the_first_chunk_is_repeated_with_the_same_id() -> None:
    async with (
        scripted([CUT], [CUT], [chunk(0, "one", "DONE"), COMPLETE]) as server,
        ChatClient(server.url, retry=QUICK) as client,
    ):
        assert await contents(client.send("Hello")) == ["one"]
    ids = [operation["variables"]["message"]["id"] for operation in server.operations]
    assert len(ids) == 3
    assert len(set(ids)) == 1
    assert len(ids[0]) == 36


@pytest.mark.parametrize("fault", [CUT, COMPLETE, Close(1012, "Service Restart"), Close(1000)])
async def test_a_reply_that_was_cut_is_resumed_with_the_text_so_far(fault: Step) -> None:
    async with (
        scripted(
            [chunk(0, ""), chunk(0, "one 👩"), fault],
            [chunk(6, ""), fault],
            [chunk(6, " two"), chunk(10, "", "DONE"), COMPLETE],
        ) as server,
        ChatClient(server.url, retry=QUICK) as client,
    ):
        assert await contents(client.send("Hello")) == ["", "one 👩", "one 👩 two", "one 👩 two"]
    assert [operation["variables"]["message"] for operation in server.operations[1:]] == [
        {"id": "r1", "content": "one 👩"},
        {"id": "r1", "content": "one 👩"},
    ]


async def test_a_chunk_beyond_the_text_makes_it_resume_with_what_it_has() -> None:
    async with (
        scripted(
            [chunk(0, "one"), chunk(99, "lost")],
            [chunk(3, " two", "DONE"), COMPLETE],
        ) as server,
        ChatClient(server.url, retry=QUICK) as client,
    ):
        assert await contents(client.send("Hello")) == ["one", "one two"]
    assert server.operations[1]["variables"]["message"] == {"id": "r1", "content": "one"}
    assert server.connections == 1


async def test_following_begins_with_the_text_that_is_there() -> None:
    async with (
        scripted([chunk(4, "two", "DONE"), COMPLETE]) as server,
        ChatClient(server.url) as client,
    ):
        [update] = [update async for update in client.follow("r1", content="one 2wo")]
    assert server.operations[0]["variables"]["message"] == {"id": "r1", "content": "one 2wo"}
    assert (update.text, update.replaced, update.content) == ("two", 3, "one two")


async def test_two_replies_on_one_connection_both_survive_its_end() -> None:
    go = asyncio.Event()
    async with (
        scripted(
            [chunk(0, "one"), Wait(go), CUT],
            [chunk(0, "uno")],
            [chunk(3, "", "DONE"), COMPLETE],
            [chunk(3, "", "DONE"), COMPLETE],
        ) as server,
        ChatClient(server.url, retry=QUICK) as client,
    ):
        first, second = client.send("1"), client.send("2")
        assert [(await anext(first)).content, (await anext(second)).content] == ["one", "uno"]
        go.set()
        assert sorted(await asyncio.gather(contents(first), contents(second))) == [["one"], ["uno"]]
    assert server.connections == 2


async def test_leaving_the_iterator_ends_the_subscription_and_nothing_else() -> None:
    async with (
        scripted([chunk(0, "one")], [{"data": {"message": None}}, COMPLETE]) as server,
        ChatClient(server.url) as client,
    ):
        async with aclosing(client.send("Hello")) as updates:
            await anext(updates)
        assert await client.message("m1") is None  # The frames come in order.
        assert server.completed == 1
        assert server.connections == 1


async def test_cancelling_while_a_reply_streams_is_heard_even_if_the_connection_dies() -> None:
    async with (
        scripted([chunk(0, "one")]) as server,
        ChatClient(server.url, retry=QUICK) as client,
    ):
        updates = client.send("Hello")
        await anext(updates)
        waiting = asyncio.create_task(contents(updates))
        await asyncio.sleep(0)
        assert client._connection._transport is not None
        assert client._connection._transport.adapter.websocket is not None
        client._connection._transport.adapter.websocket.transport.abort()
        waiting.cancel()
        await asyncio.wait({waiting}, timeout=LEAVE_SECONDS)
        assert waiting.cancelled()


async def turns(number: int) -> None:
    """Lets the loop do what is due, so many times."""
    for _ in range(number):
        await asyncio.sleep(0)


@pytest.mark.parametrize("turn", range(16))
async def test_cancelling_in_any_turn_of_the_end_of_a_connection_is_heard(turn: int) -> None:
    async with (
        scripted([chunk(0, "one")], [chunk(3, "")]) as server,
        ChatClient(server.url, retry=QUICK) as client,
    ):
        updates = client.send("Hello")
        await anext(updates)
        waiting = asyncio.create_task(contents(updates))
        await asyncio.sleep(0)
        transport = client._connection._transport
        assert transport is not None
        assert transport.adapter.websocket is not None
        transport.adapter.websocket.transport.abort()
        await turns(turn)
        assert waiting.cancel()
        await asyncio.wait({waiting}, timeout=LEAVE_SECONDS)
        assert waiting.cancelled()


async def test_a_client_that_is_closed_ends_its_iterators() -> None:
    async with scripted([chunk(0, "one")], [chunk(0, "uno")]) as server:
        async with ChatClient(server.url) as client:
            suspended, waiting = client.send("1"), client.send("2")
            await anext(suspended)
            await anext(waiting)
            rest = asyncio.create_task(contents(waiting))
            await asyncio.sleep(0)
        for end in (rest, contents(suspended), client.messages()):
            with pytest.raises(ChatClientError) as error:
                await end
            assert error.value.code == CLIENT_CLOSED


async def test_a_client_can_be_closed_while_it_reconnects() -> None:
    lost = asyncio.Event()
    async with scripted([chunk(0, "one"), CUT]) as server:
        async with ChatClient(
            server.url,
            retry=Retry(first_seconds=3_600, longest_seconds=3_600),
            on_connection=lambda change: None if change.connected else lost.set(),
        ) as client:
            rest = asyncio.create_task(contents(client.send("Hello")))
            await lost.wait()
        with pytest.raises(ChatClientError) as error:
            await rest
        assert error.value.code == CLIENT_CLOSED


@pytest.mark.parametrize("turn", range(12))
@pytest.mark.parametrize("is_connected", [True, False], ids=["connected", "reconnecting"])
async def test_cancelling_while_the_client_is_being_closed_is_heard(
    is_connected: bool, turn: int
) -> None:
    lost = asyncio.Event()
    async with (
        scripted([chunk(0, "one"), *([] if is_connected else [CUT])]) as server,
        ChatClient(
            server.url,
            retry=Retry(first_seconds=3_600, longest_seconds=3_600),
            on_connection=lambda change: None if change.connected else lost.set(),
        ) as client,
    ):
        updates = client.send("Hello")
        await anext(updates)
        rest = asyncio.create_task(contents(updates))
        if not is_connected:
            await lost.wait()
        closing = asyncio.create_task(client.close())
        await turns(turn)
        was_in_time = rest.cancel()
        await asyncio.wait({rest, closing})
        if was_in_time:
            assert rest.cancelled()
        else:
            assert isinstance(rest.exception(), ChatClientError)


async def test_a_connection_that_gives_no_sign_of_life_is_lost() -> None:
    changes: list[ConnectionChange] = []

    def changed(change: ConnectionChange) -> None:
        changes.append(change)
        server.answers_pings = len(changes) > 1

    async with (
        scripted([chunk(0, "one")], [chunk(3, " two", "DONE"), COMPLETE]) as server,
        ChatClient(server.url, retry=QUICK, ping_seconds=0.3, on_connection=changed) as client,
    ):
        assert await contents(client.send("Hello")) == ["one", "one two"]
    assert [(change.connected, change.reason) for change in changes] == [
        (True, ""),
        (False, "no sign of life"),
        (True, ""),
    ]


async def test_what_is_sent_as_the_connection_breaks_is_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """gql tells the end of a connection to those that listen then, and the late ones nothing."""
    send_query = WebsocketsTransport._send_query

    async def break_while_sending(transport: WebsocketsTransport, request: GraphQLRequest) -> int:
        monkeypatch.undo()
        id = await send_query(transport, request)
        await transport.close()
        return id

    async with (
        scripted([], [chunk(0, "one", "DONE"), COMPLETE]) as server,
        ChatClient(server.url, retry=QUICK) as client,
    ):
        monkeypatch.setattr(WebsocketsTransport, "_send_query", break_while_sending)
        assert await contents(client.send("Hello")) == ["one"]


async def test_a_server_that_breaks_off_again_and_again_is_given_up() -> None:
    breaking_off: list[list[Step]] = [[chunk(3, ""), COMPLETE]] * 100
    async with (
        scripted([chunk(0, "one"), COMPLETE], *breaking_off) as server,
        ChatClient(
            server.url, retry=Retry(first_seconds=0.05, longest_seconds=0.1, outage_seconds=0.2)
        ) as client,
    ):
        with pytest.raises(
            ChatClientError, match="keeps ending the operation without a result"
        ) as error:
            await contents(client.send("Hello"))
        assert error.value.code == CONNECTION_LOST


async def test_a_request_that_no_server_accepts_is_not_sent() -> None:
    async with scripted([]) as server, ChatClient(server.url) as client:
        with pytest.raises(ChatClientError, match=r"2,097,152 bytes") as error:
            await contents(client.send("漢" * 400_000))
        assert error.value.code == REQUEST_TOO_LARGE
        assert server.operations == []


# Connections.


async def test_a_server_that_is_not_there_is_an_error_after_a_few_attempts() -> None:
    async with scripted() as server:
        url = server.url
    changes: list[ConnectionChange] = []
    with leaking_nothing(), pytest.raises(ChatClientError) as error:
        async with ChatClient(url, retry=QUICK, on_connection=changes.append):
            pass
    assert error.value.code == CONNECTION_FAILED
    assert str(error.value) == f"Could not connect to {url}: connection refused."
    assert [change.reason for change in changes] == ["connection refused"] * 2
    assert all(change.retry_seconds is not None for change in changes)


@pytest.mark.parametrize("code", [4400, 4401, 4403])
async def test_a_server_that_refuses_the_client_is_not_asked_again(code: int) -> None:
    async with scripted() as server:
        server.closing_new_with = Close(code, "Go away.")
        with pytest.raises(ChatClientError) as error:
            async with ChatClient(server.url, retry=QUICK):
                pass
        assert str(error.value) == f"{server.url} refuses the connection: {code} (Go away)."
        assert error.value.code == CONNECTION_REFUSED
        assert server.connections == 1


# Tokens.


def counted() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"token {next(numbers)}"


async def test_a_token_is_sent_with_every_connection_beside_what_else_is() -> None:
    async with (
        scripted([CUT], [{"data": {"messages": []}}, COMPLETE]) as server,
        ChatClient(
            server.url, retry=QUICK, token="abc", init_payload={"tab": 1, "authorization": "no"}
        ) as client,
    ):
        assert await client.messages() == []
    assert server.initial_payloads == [{"tab": 1, "authorization": "Bearer abc"}] * 2


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_token_that_expires_is_replaced_and_the_reply_goes_on(is_async: bool) -> None:
    next_token = counted()

    async def waited_for() -> str:
        await asyncio.sleep(0)
        return next_token()

    async with (
        scripted(
            [chunk(0, "One "), Close(4403, "The token has expired.")],
            [chunk(4, "two "), Close(4403, "The token has expired.")],
            [chunk(8, "three", "DONE"), COMPLETE],
        ) as server,
        ChatClient(server.url, retry=QUICK, token=waited_for if is_async else next_token) as client,
    ):
        assert (await contents(client.send("Hello")))[-1] == "One two three"
    assert [payload["authorization"] for payload in server.initial_payloads] == [
        f"Bearer token {number}" for number in (1, 2, 3)
    ]


async def test_two_refusals_in_a_row_are_one_too_many() -> None:
    async with scripted() as server:
        server.closing_new_with = Close(4403, "The token is not valid.")
        with pytest.raises(ChatClientError, match=r"4403.*not valid") as error:
            async with ChatClient(server.url, retry=QUICK, token=counted()):
                pass
        assert error.value.code == CONNECTION_REFUSED
        assert server.connections == 2


async def test_a_token_that_is_taken_and_refused_before_any_result_is_refused() -> None:
    """Or a clock that is wrong would make the client connect again and again."""
    closing: list[Step] = [Close(4403, "The token has expired.")]
    async with (
        scripted(closing, closing, [{"data": {"messages": []}}, COMPLETE]) as server,
        ChatClient(server.url, retry=QUICK, token=counted()) as client,
    ):
        with pytest.raises(ChatClientError, match="4403") as error:
            await client.messages()
        assert error.value.code == CONNECTION_REFUSED
        assert await client.messages() == []  # Another try has another token.


async def test_a_token_that_stays_the_same_is_not_sent_again_when_it_was_refused() -> None:
    async with (
        scripted([chunk(0, "One "), Close(4403, "The token has expired.")]) as server,
        ChatClient(server.url, retry=QUICK, token="abc") as client,
    ):
        with pytest.raises(ChatClientError, match="4403") as error:
            await contents(client.send("Hello"))
        assert error.value.code == CONNECTION_REFUSED
        assert server.connections == 1


async def test_what_the_function_that_makes_tokens_raises_reaches_the_caller() -> None:
    def fail() -> str:
        raise LookupError("nobody is logged in")

    async with scripted() as server:
        with leaking_nothing(), pytest.raises(LookupError, match="logged in"):
            async with ChatClient(server.url, retry=QUICK, token=fail):
                pass
        assert server.connections == 0


async def test_a_connection_closed_for_good_is_an_error_for_its_operations_only() -> None:
    async with (
        scripted([Close(1009, "Too big")], [{"data": {"messages": []}}, COMPLETE]) as server,
        ChatClient(server.url, retry=QUICK) as client,
    ):
        with pytest.raises(ChatClientError, match="1009") as error:
            await contents(client.send("Hello"))
        assert error.value.code == CONNECTION_REFUSED
        assert await client.messages() == []


async def test_an_address_that_is_no_graphql_socket_is_not_asked_again() -> None:
    async with scripted() as server:
        http = await asyncio.start_server(not_found, "127.0.0.1", 0)
        port = http.sockets[0].getsockname()[1]
        with pytest.raises(ChatClientError, match="HTTP 404") as error:
            async with ChatClient(f"ws://127.0.0.1:{port}/", retry=QUICK):
                pass
        http.close()
        assert error.value.code == CONNECTION_REFUSED
        assert server.connections == 0


async def not_found(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    writer.close()


async def test_an_address_that_is_none_is_an_error() -> None:
    with pytest.raises(ChatClientError) as error:
        async with ChatClient("http://127.0.0.1/graphql", retry=QUICK):
            pass
    assert error.value.code == CONNECTION_REFUSED


async def test_the_first_message_carries_the_payload_that_was_given() -> None:
    async with scripted() as server:
        async with ChatClient(server.url, init_payload={"token": "t"}):
            pass
        assert server.initial_payloads == [{"token": "t"}]


async def test_a_later_outage_is_bounded_too() -> None:
    async with scripted([chunk(0, "one"), CUT]) as server:
        retry = Retry(first_seconds=0.05, longest_seconds=0.1, outage_seconds=0.2)
        async with ChatClient(server.url, retry=retry) as client:
            updates = client.send("Hello")
            await anext(updates)
            server.closing_new_with = Close(1013, "Try Again Later")
            with pytest.raises(ChatClientError, match="1013") as error:
                await contents(updates)
            assert error.value.code == CONNECTION_LOST
            assert server.connections > 2


# What the server says.


async def test_a_refusal_has_the_code_of_the_server() -> None:
    async with (
        scripted([refusal("MESSAGE_ID_CONFLICT", "The id was used.")]) as server,
        ChatClient(server.url) as client,
    ):
        with pytest.raises(ChatClientError, match=r"^The id was used\.$") as error:
            await contents(client.send("Hello"))
        assert error.value.code == "MESSAGE_ID_CONFLICT"
        assert len(server.operations) == 1


async def test_a_store_that_is_unavailable_is_an_error_and_no_drop() -> None:
    failed = {"data": None, "errors": [refusal("STORE_UNAVAILABLE").errors[0]]}
    async with scripted([failed, COMPLETE]) as server, ChatClient(server.url) as client:
        with pytest.raises(ChatClientError) as error:
            await client.messages()
        assert error.value.code == "STORE_UNAVAILABLE"


async def test_a_refusal_without_a_code_is_unknown() -> None:
    async with scripted([refusal(None)]) as server, ChatClient(server.url) as client:
        with pytest.raises(ChatClientError, match=r"^No\.$") as error:
            await client.stop("r1")
        assert error.value.code == UNKNOWN


async def test_an_error_code_of_a_later_version_counts_as_a_failed_completion() -> None:
    error = {"code": "MODEL_ASLEEP", "message": "It sleeps."}
    async with (
        scripted([chunk(0, "one", "ERROR", error), COMPLETE]) as server,
        ChatClient(server.url) as client,
    ):
        [update] = [update async for update in client.send("Hello")]
    assert update.error == ReplyError(ReplyErrorCode.COMPLETION_FAILED, "It sleeps.")


async def test_a_status_of_a_later_version_ends_the_reply() -> None:
    async with (
        scripted([chunk(0, "one", "EVAPORATED"), COMPLETE]) as server,
        ChatClient(server.url) as client,
    ):
        [update] = [update async for update in client.send("Hello")]
    assert update.status is Status.ERROR
    assert update.error is not None
    assert "EVAPORATED" in update.error.message


async def test_messages_are_typed() -> None:
    found = message(role="ASSISTANT", status="STOPPED", replyToId="m0")
    async with (
        scripted([{"data": {"messages": [found]}}, COMPLETE]) as server,
        ChatClient(server.url) as client,
    ):
        [answer] = await client.messages("c1", last=3, before="m9")
    assert (answer.role, answer.status, answer.reply_to_id) == (
        Role.ASSISTANT,
        Status.STOPPED,
        "m0",
    )
    assert answer.created_at.isoformat() == "2026-11-23T12:00:00.123000+00:00"
    assert server.operations[0]["variables"] == {
        "conversationId": "c1",
        "last": 3,
        "before": "m9",
    }


@pytest.mark.parametrize(
    ("ask", "answer", "expected"),
    [
        (lambda client: client.message("m1"), {"message": None}, None),
        (lambda client: client.messages(), {"messages": []}, []),
        (lambda client: client.conversations(), {"conversations": []}, []),
    ],
    ids=["message", "messages", "conversations"],
)
@pytest.mark.parametrize("fault", [CUT, COMPLETE])
async def test_a_query_that_was_cut_is_asked_again(
    ask: Callable[[ChatClient], Any], answer: dict[str, Any], expected: Any, fault: Step
) -> None:
    async with (
        scripted([fault], [{"data": answer}, COMPLETE]) as server,
        ChatClient(server.url, retry=QUICK) as client,
    ):
        assert await ask(client) == expected


async def test_a_stop_that_was_cut_is_repeated() -> None:
    async with (
        scripted([CUT], [{"data": {"stopMessage": message(status="STOPPED")}}]) as server,
        ChatClient(server.url, retry=QUICK) as client,
    ):
        assert (await client.stop("m1")).status is Status.STOPPED


async def test_a_clear_that_was_cut_is_not_repeated() -> None:
    async with (
        scripted([CUT], [{"data": {"clearMessages": 4}}]) as server,
        ChatClient(server.url, retry=QUICK) as client,
    ):
        with pytest.raises(ChatClientError, match="unknown") as error:
            await client.clear()
        assert error.value.code == CONNECTION_LOST
        assert len(server.operations) == 1
        assert await client.clear() == 4


async def test_events_begin_anew_with_a_reset_after_a_cut() -> None:
    reset = {
        "__typename": "MessagesReset",
        "conversationId": "default",
        "messages": [message()],
    }
    changed = {"__typename": "MessageChanged", "message": message(id="m2")}
    later = {"__typename": "ConversationRenamed"}
    first: list[Step] = [
        {"data": {"conversationEvents": event}} for event in (reset, later, changed)
    ]
    async with (
        scripted([*first, CUT], [first[0]]) as server,
        ChatClient(server.url, retry=QUICK) as client,
        aclosing(client.events(last=5)) as events,
    ):
        seen = [await anext(events) for _ in range(3)]
    assert [type(event) for event in seen] == [MessagesReset, MessageChanged, MessagesReset]
    assert server.operations[0]["variables"] == {"conversationId": "default", "last": 5}


# Asking for another reply


async def test_another_reply_is_followed_to_its_end() -> None:
    script: list[Step] = [chunk(0, ""), chunk(0, "two", "DONE")]
    async with scripted([*script, COMPLETE]) as server, ChatClient(server.url) as client:
        assert await contents(client.regenerate("m1", id="r1")) == ["", "two"]
    [operation] = server.operations
    assert "regenerateMessage" in operation["query"]
    assert operation["variables"] == {"message": {"id": "r1", "messageId": "m1"}}


async def test_another_reply_that_was_cut_is_asked_for_with_the_same_id_and_then_resumed() -> None:
    async with (
        scripted([CUT], [chunk(0, "one"), CUT], [chunk(3, "", "DONE"), COMPLETE]) as server,
        ChatClient(server.url, retry=QUICK) as client,
    ):
        assert await contents(client.regenerate("m1")) == ["one", "one"]
    first, again, resumed = (operation["variables"]["message"] for operation in server.operations)
    assert first == again
    assert len(first["id"]) == 36
    assert resumed == {"id": "r1", "content": "one"}
