"""Replies over real sockets: exact through cuts, ended for everybody, shown alike everywhere."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.end_to_end.answers import BLOCK
from tests.processes import ServerProcess, serving
from tests.wire import MESSAGE, PATIENCE_SECONDS, RESUME, SEND, Refused, Reply, Socket, open_socket

ROOT = Path(__file__).parents[2]

MESSAGES = f"query ($id: ID!) {{ messages(conversationId: $id) {MESSAGE} }}"
STOP = f"mutation ($id: ID!) {{ stopMessage(id: $id) {MESSAGE} }}"
CLEAR = "mutation ($id: ID!) { clearMessages(conversationId: $id) }"
EVENTS = f"""
    subscription ($id: ID!) {{
      conversationEvents(conversationId: $id) {{
        ... on MessagesReset {{ conversationId messages {MESSAGE} }}
        ... on MessageChanged {{ message {MESSAGE} }}
      }}
    }}
"""

AWKWARD = {
    "double blanks": "two  blanks   three\t\ttabs ",
    "blanks around": "  \n leading and trailing \n\n ",
    "line ends": "unix\nwindows\r\nold mac\rline separator\u2028next line\u0085form feed\f",
    "code": "```python\ndef f(x):\n    return {\n        'a': \"b\\n\",\n    }\n```\n\nend",
    "JSON and HTML": '{"a": "\\u0041"} <script>alert(1)</script> &amp; \\',
    "CJK": "日本語の文、中文。 한국어 \U00020bb7野家",
    "combining marks": "e\u0301 a\u0308\u0323 Z\u0351\u036b\u0343\u036a\u0302 \u1112\u1161\u11ab",
    "emoji": "👩\u200d👩\u200d👧\u200d👦 🏴\u200d\u2620\ufe0f 👍🏽 🇩🇪 1\ufe0f\u20e3",
    "right to left": "شكراً \u202eabc\u202c שלום",
    "odd code points": "\ufeffbom \ufffe \uffff \ue000 \U0010ffff \ufffd \x01\x1b[31m \x7f",
    "only one": "\U0001f600",
    "long": "\U0001f600 word\u00a0" * 3_000,
}


@pytest.fixture(scope="module")
def quick_server() -> Iterator[ServerProcess]:
    """A server that echoes a few hundred words a second."""
    with serving("--completion", "echo", "--word-delay", "0.004") as server:
        yield server


@pytest.fixture
def quick(quick_server: ServerProcess) -> Iterator[ServerProcess]:
    begin = len(quick_server.log)
    yield quick_server
    quick_server.check_log(begin)


@pytest.fixture(scope="module")
def instant_server() -> Iterator[ServerProcess]:
    """A server that echoes without any delay."""
    with serving("--completion", "echo", "--word-delay", "0") as server:
        yield server


@pytest.fixture(scope="module")
def obedient_server() -> Iterator[ServerProcess]:
    """A server that answers as it is told."""
    with serving("--completion", "tests.end_to_end.answers:complete", directory=ROOT) as server:
        yield server


def draft(content: str, conversation: str | None = None) -> dict[str, Any]:
    return {"id": uuid4().hex, "content": content, "conversationId": conversation or uuid4().hex}


async def stored(server: ServerProcess, conversation: str) -> list[dict[str, Any]]:
    async with open_socket(server.url) as socket:
        result = await socket.execute(MESSAGES, {"id": conversation})
    messages: list[dict[str, Any]] = result["data"]["messages"]
    return messages


async def check_stored(
    server: ServerProcess, message: dict[str, Any], reply: Reply, status: str = "DONE"
) -> None:
    """Fails unless a conversation is one message and the one reply that a client has."""
    user, assistant = await stored(server, message["conversationId"])
    assert (user["id"], user["role"], user["content"]) == (
        message["id"],
        "USER",
        message["content"],
    )
    assert (assistant["id"], assistant["replyToId"]) == (reply.message_id, message["id"])
    assert (assistant["content"], assistant["status"]) == (reply.content, reply.status)
    assert reply.status == status


# The text.


@pytest.mark.parametrize("content", AWKWARD.values(), ids=AWKWARD.keys())
async def test_an_awkward_text_is_streamed_exactly(
    instant_server: ServerProcess, content: str
) -> None:
    message = draft(content)
    async with open_socket(instant_server.url) as socket:
        reply = await socket.follow(SEND, {"message": message})
    assert reply.content == content
    await check_stored(instant_server, message, reply)
    instant_server.check_log()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20))
async def test_any_text_is_streamed_exactly(instant_server: ServerProcess, content: str) -> None:
    content += "x"  # Only blanks would be refused.
    async with open_socket(instant_server.url) as socket:
        reply = await socket.follow(SEND, {"message": draft(content)})
        assert (reply.content, reply.status) == (content, "DONE")
        # From anywhere in it, too.
        for offset in range(len(content.encode("utf-16-le")) // 2 + 2):
            message = {"id": reply.message_id, "offset": offset}
            resumed = await socket.follow(RESUME, {"message": message}, Reply(content))
            assert (resumed.content, resumed.status) == (content, "DONE")


async def test_the_first_chunk_comes_at_once_and_is_empty_and_only_the_last_is_final(
    server: ServerProcess,
) -> None:
    async with open_socket(server.url) as socket:
        reply = await socket.follow(SEND, {"message": draft("one two three")})
    first, *_, last = reply.chunks
    assert (first["offset"], first["text"], first["status"]) == (0, "", "STREAMING")
    assert {chunk["status"] for chunk in reply.chunks[:-1]} == {"STREAMING"}
    assert last["status"] == "DONE"


async def test_a_client_that_has_everything_is_told_so_at_once(
    obedient_server: ServerProcess,
) -> None:
    """However long nothing more comes."""
    async with open_socket(obedient_server.url) as socket:
        sent = await socket.follow(SEND, {"message": draft("wait")}, most_chunks=2)
    async with open_socket(obedient_server.url) as socket:
        has = {"id": sent.message_id, "content": sent.content}
        reply = await socket.follow(RESUME, {"message": has}, Reply(sent.content), most_chunks=1)
    [chunk] = reply.chunks
    assert (chunk["offset"], chunk["text"], chunk["status"]) == (7, "", "STREAMING")
    obedient_server.check_log()


# Cuts.


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


class Wanderer:
    """A client that is cut off again and again, and comes back in every way there is.

    Each way of coming back has a name, an operation, and may spoil what the client has before.
    """

    WAYS = ("content", "wrong", "longer", "offset", "nothing", "send", "foreign")

    def __init__(self, url: str, message: dict[str, Any], chance: random.Random) -> None:
        self.reply = Reply()
        self.ways: set[str] = set()
        self._url = url
        self._message = message
        self._chance = chance

    async def wander(self, cuts: int) -> None:
        for _ in range(cuts):
            await self._follow(self._chance.randint(1, 12))
        await self._follow(None)

    async def _follow(self, most_chunks: int | None) -> None:
        query, message = self._come_back()
        async with open_socket(self._url) as socket:
            await socket.follow(query, {"message": message}, self.reply, most_chunks=most_chunks)
            if self._chance.random() < 0.7:
                socket.cut()

    def _come_back(self) -> tuple[str, dict[str, Any]]:
        reply, chance = self.reply, self._chance
        if reply.message_id is None:
            return SEND, self._message
        way = chance.choice(self.WAYS)
        self.ways.add(way)
        resume: dict[str, Any] = {"id": reply.message_id}
        match way:
            case "send":
                return SEND, self._message
            case "nothing":
                return RESUME, resume
            case "offset":
                return RESUME, {**resume, "offset": units(reply.content)}
            case "wrong":
                at = chance.randint(0, len(reply.content))
                reply.content = reply.content[:at] + "\u2603" + reply.content[at + 1 :]
            case "longer":
                reply.content += chance.choice(["x", "\U0001f600 and more", "\n" * 9])
            case "foreign":
                reply.content = "\U0001f601" * 5
        return RESUME, {**resume, "content": reply.content}


@pytest.mark.parametrize("seed", [1, 2])
async def test_any_cuts_and_any_ways_of_coming_back_end_in_the_exact_text_and_one_reply(
    quick: ServerProcess, seed: int
) -> None:
    chance = random.Random(seed)
    words = ["word", "  two", "\n\n", "\U0001f600", "\u65e5\u672c", "e\u0301", "```\n"]
    messages = [
        draft(" ".join(chance.choice(words) for _ in range(150)) + f" {number}")
        for number in range(20)
    ]
    wanderers = [
        Wanderer(quick.url, message, random.Random(f"{seed} {number}"))
        for number, message in enumerate(messages)
    ]
    await asyncio.gather(*(wanderer.wander(cuts=10) for wanderer in wanderers))
    for message, wanderer in zip(messages, wanderers, strict=True):
        assert wanderer.reply.content == message["content"]
        await check_stored(quick, message, wanderer.reply)
    assert set().union(*(wanderer.ways for wanderer in wanderers)) == set(Wanderer.WAYS)


async def test_a_text_that_could_not_have_come_from_the_server_is_healed(
    server: ServerProcess,
) -> None:
    content = "one \U0001f600 two"
    async with open_socket(server.url) as socket:
        sent = await socket.follow(SEND, {"message": draft(content)})
        for wrong, offset in (
            ("one \ud83d", 4),
            ("one \U0001f601", 4),
            ("\0", 0),
            ("one \udc00", 4),
            ("one \U0001f600 two", 10),
            ("one \U0001f600 twx", 9),
            ("one \U0001f600 two and more", 10),
        ):
            id = await socket.subscribe(
                RESUME, {"message": {"id": sent.message_id, "content": wrong}}
            )
            [chunk] = [
                frame["payload"]["data"]["resumeMessage"]
                async for frame in socket.frames(id)
                if frame["type"] == "next"
            ]
            missing = content.encode("utf-16-le")[2 * offset :].decode("utf-16-le")
            assert (chunk["offset"], chunk["text"]) == (offset, missing)


@pytest.mark.parametrize(
    ("asked", "offset", "text"),
    [
        (0, 0, "a\U0001f600b"),
        (1, 1, "\U0001f600b"),
        (2, 1, "\U0001f600b"),
        (3, 3, "b"),
        (4, 4, ""),
        (5, 4, ""),
        (2**31 - 1, 4, ""),
    ],
)
async def test_an_offset_beyond_the_end_or_inside_a_pair_resumes_where_that_makes_sense(
    server: ServerProcess, asked: int, offset: int, text: str
) -> None:
    async with open_socket(server.url) as socket:
        sent = await socket.follow(SEND, {"message": draft("a\U0001f600b")})
        id = await socket.subscribe(RESUME, {"message": {"id": sent.message_id, "offset": asked}})
        frame = await socket.receive()
        assert frame["payload"]["data"]["resumeMessage"] == {
            "messageId": sent.message_id,
            "offset": offset,
            "text": text,
            "status": "DONE",
            "error": None,
        }
        assert await socket.receive() == {"id": id, "type": "complete"}


async def test_sending_one_id_on_several_sockets_at_once_is_one_reply_with_one_text(
    quick: ServerProcess,
) -> None:
    message = draft("word " * 50)
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(open_socket(quick.url)) for _ in range(8)]
        replies = await asyncio.gather(
            *(socket.follow(SEND, {"message": message}) for socket in sockets)
        )
    assert len({reply.message_id for reply in replies}) == 1
    for reply in replies:
        assert reply.content == message["content"]
        await check_stored(quick, message, reply)


# At full speed, and for many.


ROUGH = {
    "aliases": (
        "id: messageId at: offset from: offset delta: text again: text status "
        "error { code message }"
    ),
    "fragments": "...All ... on StreamChunk { text } ...Rest @include(if: true)",
    "__typename": "__typename messageId text offset status error { __typename code message }",
}


@pytest.mark.parametrize("selected", ROUGH.values(), ids=ROUGH.keys())
@pytest.mark.parametrize("id", ["%s", '{"}', "\\", "日\n\u2028", "\ud800"], ids=ascii)
async def test_any_selection_under_any_operation_id_is_streamed_exactly(
    instant_server: ServerProcess, selected: str, id: str
) -> None:
    content = '%s "two" {three} \\four 日本\u2028 \U0001f600 ' * 20 + "end"
    fragments = (
        "fragment All on StreamChunk { messageId offset ...Rest } "
        "fragment Rest on StreamChunk { status error { code } }"
    )
    query = (
        "subscription ($message: MessageInput!) { sendMessage(message: $message) "
        f"{{ {selected} }} }} " + fragments * ("...All" in selected)
    )
    reply = ""
    statuses = []
    async with open_socket(instant_server.url) as socket:
        await socket.subscribe(query, {"message": draft(content)}, id=id)
        async for frame in socket.frames(id):
            if frame["type"] == "next":
                chunk = frame["payload"]["data"]["sendMessage"]
                text = chunk["delta"] if "delta" in chunk else chunk["text"]
                at = chunk["at"] if "at" in chunk else chunk["offset"]
                assert chunk.get("again", text) == text
                assert chunk.get("from", at) == at
                assert chunk.get("__typename", "StreamChunk") == "StreamChunk"
                assert at == units(reply)
                reply += text
                statuses.append(chunk["status"])
    assert frame["type"] == "complete"
    assert reply == content
    assert statuses == ["STREAMING"] * (len(statuses) - 1) + ["DONE"]
    instant_server.check_log()


async def test_many_who_follow_one_reply_all_get_the_exact_text(quick: ServerProcess) -> None:
    message = draft("word  日本 \U0001f600 " * 60 + "end")
    async with AsyncExitStack() as stack:
        sender = await stack.enter_async_context(open_socket(quick.url))
        sent = await sender.follow(SEND, {"message": message}, most_chunks=2)
        sockets = [await stack.enter_async_context(open_socket(quick.url)) for _ in range(60)]
        resume = {"message": {"id": sent.message_id}}

        async def follow(socket: Socket, number: int) -> Reply:
            await asyncio.sleep(number * 0.005)  # So that all are somewhere else.
            return await socket.follow(RESUME, resume)

        *replies, whole = await asyncio.gather(
            *(follow(socket, number) for number, socket in enumerate(sockets)), sender.rest(sent)
        )
    for reply in (*replies, whole):
        assert (reply.content, reply.status) == (message["content"], "DONE")


async def test_many_replies_at_full_speed_on_one_socket_are_all_exact(
    instant_server: ServerProcess,
) -> None:
    messages = [draft(f"{number} {'word 日 ' * 300}end {number}") for number in range(20)]
    replies = {f"{number}": Reply() for number in range(len(messages))}
    ended = 0
    async with open_socket(instant_server.url) as socket:
        for number, message in enumerate(messages):
            await socket.subscribe(SEND, {"message": message}, id=f"{number}")
        while ended < len(messages):
            frame = await socket.receive()
            if frame["type"] == "complete":
                ended += 1
            else:
                replies[frame["id"]].apply(frame["payload"]["data"]["sendMessage"])
    for message, reply in zip(messages, replies.values(), strict=True):
        assert (reply.content, reply.status) == (message["content"], "DONE")


async def test_a_client_that_reads_slowly_gets_everything_in_the_end(
    obedient_server: ServerProcess,
) -> None:
    blocks, followers = 80, 60  # More than what the system's own buffers hold.
    async with open_socket(obedient_server.url) as sender, open_socket(obedient_server.url) as slow:
        sent = await sender.follow(SEND, {"message": draft(f"blocks {blocks}")}, most_chunks=1)
        replies = {f"{number}": Reply() for number in range(followers)}
        for id in replies:
            await slow.subscribe(RESUME, {"message": {"id": sent.message_id}}, id=id)
        slow.connection.transport.pause_reading()
        await sender.rest(sent)
        slow.connection.transport.resume_reading()
        ended = 0
        while ended < followers:
            frame = await slow.receive()
            if frame["type"] == "complete":
                ended += 1
            else:
                replies[frame["id"]].apply(frame["payload"]["data"]["resumeMessage"])
    for reply in replies.values():
        assert (reply.content, reply.status) == (BLOCK * blocks, "DONE")
    assert min(len(reply.chunks) for reply in replies.values()) < blocks, "chunks were joined"
    obedient_server.check_log()


# Ending.


@pytest.fixture
async def three(quick: ServerProcess) -> AsyncIterator[list[Socket]]:
    """Three sockets, as of three windows."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_socket(quick.url)) for _ in range(3)]


@pytest.mark.parametrize("named", ["reply", "message"])
async def test_one_stop_ends_every_follower_at_the_same_text(
    quick: ServerProcess, three: list[Socket], named: str
) -> None:
    message = draft("word " * 2_000)
    one, other, stopper = three
    sent = await one.follow(SEND, {"message": message}, most_chunks=5)
    resumed = {"message": {"id": sent.message_id}}
    started = asyncio.Event()

    async def follow_from_the_beginning() -> Reply:
        reply = await other.follow(RESUME, resumed, most_chunks=5)
        started.set()
        return await other.rest(reply)

    following = asyncio.gather(one.rest(sent), follow_from_the_beginning())
    await started.wait()
    id = sent.message_id if named == "reply" else message["id"]
    stopped = (await stopper.execute(STOP, {"id": id}))["data"]["stopMessage"]
    for reply in await following:
        assert (reply.status, reply.content) == ("STOPPED", stopped["content"])
        await check_stored(quick, message, reply, "STOPPED")
    assert 0 < len(stopped["content"]) < len(message["content"])
    # A second stop changes nothing, and who comes later gets the same.
    assert (await stopper.execute(STOP, {"id": id}))["data"]["stopMessage"] == stopped
    late = await stopper.follow(RESUME, resumed)
    assert (late.status, late.content) == ("STOPPED", stopped["content"])


async def test_clearing_ends_every_follower_with_message_cleared(three: list[Socket]) -> None:
    message = draft("word " * 2_000)
    one, other, clearer = three
    sent = await one.follow(SEND, {"message": message}, most_chunks=3)
    joined = await other.follow(RESUME, {"message": {"id": sent.message_id}}, most_chunks=3)
    cleared = await clearer.execute(CLEAR, {"id": message["conversationId"]})
    assert cleared == {"data": {"clearMessages": 2}}
    async with asyncio.timeout(3):
        for socket, reply in ((one, sent), (other, joined)):
            with pytest.raises(Refused) as refused:
                await socket.rest(reply)
            assert refused.value.code == "MESSAGE_CLEARED"
    found = await clearer.execute(MESSAGES, {"id": message["conversationId"]})
    assert found == {"data": {"messages": []}}


# Windows in step.


class Window:
    """Shows one conversation on a socket of its own."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []

    async def open(self, conversation: str) -> None:
        await self.socket.subscribe(EVENTS, {"id": conversation})
        await self.see(1)

    async def see(self, count: int) -> None:
        """Reads so many events more."""
        for _ in range(count):
            frame = await self.socket.receive()
            assert frame["type"] == "next", frame
            self.events.append(frame["payload"]["data"]["conversationEvents"])

    async def see_nothing_more(self) -> None:
        await self.socket.send({"type": "ping"})
        assert await self.socket.receive() == {"type": "pong"}

    def changes(self, message_id: str) -> list[tuple[str, str, str]]:
        """Role, status and content of a message and of its reply, one after the other."""
        return [
            (message["role"], message["status"], message["content"])
            for event in self.events
            if (message := event.get("message"))
            and message_id in (message["id"], message["replyToId"])
        ]


async def test_every_window_sees_the_list_and_then_three_changes_for_each_send_in_one_order(
    quick: ServerProcess, three: list[Socket]
) -> None:
    conversation = uuid4().hex
    async with open_socket(quick.url) as sender:
        before = draft("before", conversation)
        await sender.follow(SEND, {"message": before})
        windows = [Window(socket) for socket in three]
        for window in windows:
            await window.open(conversation)
            [reset] = window.events
            assert reset["conversationId"] == conversation
            assert reset["messages"] == await stored(quick, conversation)

        messages = [draft(f"{number} " * 20, conversation) for number in range(5)]
        async with AsyncExitStack() as stack:
            senders = [await stack.enter_async_context(open_socket(quick.url)) for _ in messages]
            await asyncio.gather(
                *(
                    sender.follow(SEND, {"message": message})
                    for sender, message in zip(senders, messages, strict=True)
                )
            )
        for window in windows:
            await window.see(3 * len(messages))
            await window.see_nothing_more()
    assert windows[0].events == windows[1].events == windows[2].events
    for message in messages:
        assert windows[0].changes(message["id"]) == [
            ("USER", "DONE", message["content"]),
            ("ASSISTANT", "STREAMING", ""),
            ("ASSISTANT", "DONE", message["content"]),
        ]
    created = [
        event["message"]["createdAt"]
        for event in windows[0].events[1:]
        if event["message"]["status"] == "STREAMING" or event["message"]["role"] == "USER"
    ]
    assert created == sorted(set(created))


async def test_a_window_that_opens_in_mid_stream_misses_nothing(
    quick: ServerProcess, three: list[Socket]
) -> None:
    message = draft("word " * 40)
    sent = await three[0].follow(SEND, {"message": message}, most_chunks=3)
    window = Window(three[1])
    await window.open(message["conversationId"])
    user, assistant = window.events[0]["messages"]
    assert (user["id"], assistant["status"]) == (message["id"], "STREAMING")
    assert message["content"].startswith(assistant["content"])
    assert assistant["content"].startswith(sent.content)
    await window.see(1)
    assert window.changes(message["id"]) == [("ASSISTANT", "DONE", message["content"])]


async def test_a_clear_is_one_reset_for_every_window_and_nothing_older_comes_after_it(
    quick: ServerProcess, three: list[Socket]
) -> None:
    conversation = uuid4().hex
    windows = [Window(socket) for socket in three]
    for window in windows:
        await window.open(conversation)
    for _ in range(3):
        for _ in range(3):
            async with open_socket(quick.url) as sender:
                message = draft("old " * 500, conversation)
                await sender.follow(SEND, {"message": message}, most_chunks=1)
        async with open_socket(quick.url) as clearer:
            await clearer.execute(CLEAR, {"id": conversation})
    async with open_socket(quick.url) as sender:
        new = draft("new", conversation)
        await sender.follow(SEND, {"message": new})
    for window in windows:
        while len(window.changes(new["id"])) < 3:
            await window.see(1)
        await window.see_nothing_more()
        *until_clear, reset, user, streaming, done = window.events
        assert reset == {"conversationId": conversation, "messages": []}
        assert user["message"]["id"] == new["id"]
        assert streaming["message"]["id"] == done["message"]["id"]
        assert "new" not in str(until_clear)
        cleared: set[str] = set()
        shown: set[str] = set()
        for event in window.events:
            if "messages" in event:
                cleared |= shown
                shown = {message["id"] for message in event["messages"]}
            else:
                shown.add(event["message"]["id"])
            assert not shown & cleared


async def test_a_window_of_another_conversation_sees_nothing(
    quick: ServerProcess, three: list[Socket]
) -> None:
    window = Window(three[0])
    await window.open(uuid4().hex)
    await three[1].follow(SEND, {"message": draft("x")})
    await window.see_nothing_more()


@pytest.mark.parametrize(
    ("query", "result"),
    [
        ('mutation { stopMessage(id: "ID") { status } }', {"stopMessage": {"status": "STOPPED"}}),
        ('mutation { clearMessages(conversationId: "ID") }', {"clearMessages": 2}),
        ('{ message(id: "ID") { status } }', {"message": {"status": "DONE"}}),
    ],
)
async def test_nothing_overtakes_the_send_before_it_on_a_socket(
    server: ServerProcess, query: str, result: dict[str, Any]
) -> None:
    async with open_socket(server.url) as socket:
        for _ in range(20):
            id = uuid4().hex
            message = {"id": id, "content": "word " * 1_000, "conversationId": id}
            send = {"query": SEND, "variables": {"message": message}}
            for frame in (
                {"id": "send", "type": "subscribe", "payload": send},
                {"id": "next", "type": "subscribe", "payload": {"query": query.replace("ID", id)}},
            ):
                socket.connection.protocol.send_text(json.dumps(frame).encode())
            socket.connection.transport.write(b"".join(socket.connection.protocol.data_to_send()))
            while (frame := await socket.receive())["id"] != "next":
                pass
            assert frame["payload"] == {"data": result}
            await socket.complete("send")
            while (await socket.receive()) != {"id": "next", "type": "complete"}:
                pass


async def test_what_is_sent_by_a_client_that_leaves_at_once_is_stored_and_answered(
    server: ServerProcess,
) -> None:
    ids = [uuid4().hex for _ in range(60)]
    before = ['{"type": "ping"}', '{"id": "0", "type": "subscribe", "payload": {"query": "{"}}']
    for number, id in enumerate(ids):
        async with open_socket(server.url) as socket:
            message = {"id": id, "content": "one two", "conversationId": id}
            payload = {"query": SEND, "variables": {"message": message}}
            protocol = socket.connection.protocol
            subscribe = {"id": "1", "type": "subscribe", "payload": payload}
            # Frames that are answered come before: nobody is there for the answer any more.
            for frame in before[: number % 3] if number % 2 == 0 else []:
                protocol.send_text(frame.encode())
            protocol.send_text(json.dumps(subscribe).encode())
            if number % 2:
                protocol.send_text(b'{"id": "1", "type": "complete"}')
            else:
                protocol.send_close(1000)
            socket.connection.transport.write(b"".join(protocol.data_to_send()))
            if number % 2:
                # The id is free at once, and nothing of the old operation comes under it.
                assert await socket.execute("{ __typename }") == {"data": {"__typename": "Query"}}
    async with open_socket(server.url) as socket, asyncio.timeout(PATIENCE_SECONDS):
        for id in ids:
            contents: list[str] = []
            while contents != ["one two", "one two"]:
                found = await socket.execute(MESSAGES, {"id": id})
                contents = [message["content"] for message in found["data"]["messages"]]
