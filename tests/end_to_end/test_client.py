"""The Python client with a real server, and a network between them that fails."""

import asyncio
import subprocess
import sys
import textwrap
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from graphql_app.client import ChatClient, ChatClientError, ConnectionChange, Retry, Update
from graphql_app.messages import MessageChanged, MessagesReset, Role, Status, utf16_length
from tests.chats import settled
from tests.faults import leaking_nothing
from tests.processes import ServerProcess, serving
from tests.proxies import CuttingProxy, cutting_proxy

PATIENCE_SECONDS = 60.0
QUICK = Retry(first_seconds=0.01, longest_seconds=0.1)

AWKWARD = "\n".join(
    [
        "Families  like 👩‍👩‍👧‍👦 and flags 🏳️‍🌈 🇪🇺 stay whole;",
        "",
        "日本語 한국어 中文 𠮷野家 𝕬𝖇𝖈 too, e\u0301 and \u202bעברית\u202c, x\u00ad\u200by.",
        "```python",
        "def f():\n\treturn  '\\n'  # two  blanks",
        "```",
        "",
        "   the end   of   a   part",
    ]
    * 3
)


@pytest.fixture
async def proxy(server: ServerProcess) -> AsyncIterator[CuttingProxy]:
    async with cutting_proxy(server.port) as proxy:
        yield proxy


class Connections:
    """Knows what became of a client's connection."""

    def __init__(self) -> None:
        self.changes: list[ConnectionChange] = []
        self.lost = asyncio.Event()

    def __call__(self, change: ConnectionChange) -> None:
        self.changes.append(change)
        if not change.connected:
            self.lost.set()


async def followed(updates: AsyncGenerator[Update, None]) -> Update:
    """The last update, after checking that each follows from the one before."""
    content, last = "", None
    async with aclosing(updates):
        async for update in updates:
            assert last is None or not last.status.is_final
            assert update.replaced == 0
            content += update.text
            assert update.content == content
            last = update
    assert last is not None
    assert last.status.is_final
    return last


async def test_dozens_of_cuts_lose_nothing_and_double_nothing(proxy: CuttingProxy) -> None:
    async def cutting(updates: AsyncGenerator[Update, None]) -> AsyncGenerator[Update, None]:
        async for number, update in numbered(updates):
            yield update
            if number % 3 == 1:
                proxy.cut_connections()

    sends = 0
    with leaking_nothing():
        async with ChatClient(proxy.url, retry=QUICK) as client:
            while proxy.connections < 30:  # A slow machine sees fewer updates, and cuts less often.
                last = await followed(cutting(client.send(AWKWARD, conversation_id="cuts")))
                assert (last.content, last.status) == (AWKWARD, Status.DONE)
                sends += 1
            messages = await client.messages("cuts")
    assert [(message.role, message.content) for message in messages] == [
        (Role.USER, AWKWARD),
        (Role.ASSISTANT, AWKWARD),
    ] * sends


async def numbered(updates: AsyncIterator[Update]) -> AsyncIterator[tuple[int, Update]]:
    number = 0
    async for update in updates:
        yield number, update
        number += 1


async def test_cuts_at_any_moment_give_one_reply_with_the_exact_text(proxy: CuttingProxy) -> None:
    """Cut while connecting, too, and before anything was said."""

    async def cut_again_and_again() -> None:
        for number in range(40):
            await asyncio.sleep(0.003 * number)
            proxy.cut_connections()

    async with ChatClient(proxy.url, retry=QUICK) as client:
        cutting = asyncio.create_task(cut_again_and_again())
        last = await followed(client.send(AWKWARD, conversation_id="any moment"))
        await cutting
        messages = await client.messages("any moment")
    assert last.content == AWKWARD
    assert [message.content for message in messages] == [AWKWARD, AWKWARD]


async def test_a_connection_that_stalls_is_found_and_replaced(proxy: CuttingProxy) -> None:
    connections = Connections()
    async with ChatClient(
        proxy.url, retry=QUICK, ping_seconds=0.5, on_connection=connections
    ) as client:
        updates = client.send(AWKWARD, conversation_id="stall")
        first = await anext(updates)
        proxy.stall()
        rest = asyncio.create_task(followed(client.follow(first.message_id)))
        await connections.lost.wait()
        proxy.resume()
        assert (await rest).content == AWKWARD
        await updates.aclose()
    assert connections.changes[1].reason == "no sign of life"


async def test_a_stall_is_found_while_more_is_to_be_sent_than_the_network_takes(
    proxy: CuttingProxy,
) -> None:
    """The ping itself is stuck then."""
    connections = Connections()
    async with ChatClient(
        proxy.url,
        retry=QUICK,
        ping_seconds=0.5,
        max_request_bytes=100_000_000,
        on_connection=connections,
    ) as client:
        proxy.stall()
        sending = asyncio.create_task(contents(client.send("x" * 30_000_000)))
        await connections.lost.wait()
        sending.cancel()
        proxy.resume()
    assert connections.changes[1].reason == "no sign of life"


async def test_a_client_can_be_closed_while_more_is_to_be_sent_than_the_network_takes(
    server: ServerProcess,
) -> None:
    with leaking_nothing():
        async with cutting_proxy(server.port) as proxy, asyncio.timeout(PATIENCE_SECONDS):
            async with ChatClient(
                proxy.url, ping_seconds=3_600, max_request_bytes=100_000_000
            ) as client:
                proxy.stall()
                sending = asyncio.create_task(contents(client.send("x" * 30_000_000)))
                await settled()
            with pytest.raises(ChatClientError) as error:
                await sending
            assert error.value.code == "CLIENT_CLOSED"


async def test_a_long_outage_is_waited_out(proxy: CuttingProxy) -> None:
    connections = Connections()
    async with ChatClient(proxy.url, retry=QUICK, on_connection=connections) as client:
        updates = client.send(AWKWARD, conversation_id="outage")
        content = (await anext(updates)).text + (await anext(updates)).text
        await proxy.refuse_connections()
        rest = asyncio.create_task(contents(updates))
        while len(connections.changes) < 6:
            connections.lost.clear()
            await connections.lost.wait()
        await proxy.accept_connections()
        assert content + "".join(await rest) == AWKWARD
    assert connections.changes[-1].connected


async def contents(updates: AsyncIterator[Update]) -> list[str]:
    return [update.text async for update in updates]


async def test_a_reply_is_resumed_by_another_client_from_any_wrong_text(
    server: ServerProcess,
) -> None:
    async with ChatClient(server.url) as client, ChatClient(server.url) as other:
        async with aclosing(client.send(AWKWARD, conversation_id="wrong")) as updates:
            async for update in updates:
                if len(update.content) > 50:
                    break
        content = shown = update.content[:40] + "🐍\ud83d"
        async for healed in other.follow(update.message_id, content=shown):
            content = content[: len(content) - healed.replaced] + healed.text
            assert content == healed.content
    assert content == AWKWARD


async def test_a_reply_of_the_greatest_length_survives_cuts(tmp_path: Path) -> None:
    """A resume carries all of it, escaped to ASCII."""
    (tmp_path / "great.py").write_text(
        textwrap.dedent(
            """
            import asyncio

            async def complete(history):
                for part in range(64):
                    yield "漢字" * 2_048
                    await asyncio.sleep(0.02)
            """
        )
    )
    with serving("--completion", "great:complete", directory=tmp_path) as server:
        async with cutting_proxy(server.port) as proxy, asyncio.timeout(PATIENCE_SECONDS):
            async with ChatClient(proxy.url, retry=QUICK) as client:
                cuts = 0
                async for update in client.send("?"):
                    if utf16_length(update.content) > 20_000 * (cuts + 1):
                        cuts += 1
                        proxy.cut_connections()
            assert cuts > 3
            assert update.status is Status.DONE
            assert update.content == "漢字" * 131_072


async def test_another_client_can_stop_a_reply(server: ServerProcess) -> None:
    async with ChatClient(server.url) as client, ChatClient(server.url) as other:
        updates = client.send(AWKWARD, id="stop me", conversation_id="stop")
        await anext(updates)
        stopped = await other.stop("stop me")
        last = await followed_on(updates)
        assert (last.status, last.content) == (Status.STOPPED, stopped.content)
        assert await other.stop(last.message_id) == stopped


async def followed_on(updates: AsyncIterator[Update]) -> Update:
    return [update async for update in updates][-1]


async def test_clearing_ends_followers_and_reaches_windows(server: ServerProcess) -> None:
    async with (
        ChatClient(server.url) as client,
        ChatClient(server.url) as other,
        aclosing(other.events("clear")) as events,
        asyncio.timeout(PATIENCE_SECONDS),
    ):
        assert await anext(events) == MessagesReset("clear", ())
        updates = client.send(AWKWARD, id="clear me", conversation_id="clear")
        await anext(updates)
        for status in (Status.DONE, Status.STREAMING):
            event = await anext(events)
            assert isinstance(event, MessageChanged)
            assert event.message.status is status
        assert [found.id for found in await other.conversations(1)] == ["clear"]
        assert await other.clear("clear") == 2
        for end in (followed_on(updates), contents(client.send(AWKWARD, id="clear me"))):
            with pytest.raises(ChatClientError) as error:
                await end
            assert error.value.code in ("MESSAGE_CLEARED", "MESSAGE_ID_CONFLICT")
        async for event in events:
            if isinstance(event, MessagesReset):
                break
        assert event == MessagesReset("clear", ())


@pytest.mark.parametrize("blank", ["", "  \n"])
async def test_what_the_server_refuses_is_an_error_with_its_code(
    server: ServerProcess, blank: str
) -> None:
    async with ChatClient(server.url) as client:
        with pytest.raises(ChatClientError, match="content") as error:
            await contents(client.send(blank))
        assert error.value.code == "BAD_USER_INPUT"
        assert await client.message("nobody's") is None


async def test_a_connection_that_was_cut_while_idle_is_made_again_before_anything_is_sent(
    proxy: CuttingProxy,
) -> None:
    async with ChatClient(proxy.url, retry=QUICK) as client:
        transport = client._connection._transport
        assert transport is not None
        proxy.cut_connections()
        await transport.wait_closed()
        assert await client.clear("idle") == 0


async def test_many_followers_share_one_connection(server: ServerProcess) -> None:
    async with ChatClient(server.url) as client:
        updates = client.send(AWKWARD, conversation_id="many")
        first = await anext(updates)
        lasts = await asyncio.gather(
            *(followed(client.follow(first.message_id)) for _ in range(40)), followed_on(updates)
        )
    assert {last.content for last in lasts} == {AWKWARD}


def test_the_example_in_the_docstring_works(server: ServerProcess) -> None:
    docstring = ChatClient.__doc__
    assert docstring is not None
    code = docstring[docstring.index("        import asyncio") : docstring.index("\n    Every")]
    code = textwrap.dedent(code).replace("ws://127.0.0.1:3000/graphql", server.url)
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "Hello!\n[DONE]\n"


def test_the_client_imports_nothing_of_the_server() -> None:
    code = "import sys, graphql_app.client; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    imported = {name.split(".")[0] for name in done.stdout.split()}
    assert not imported & {"strawberry", "starlette", "uvicorn", "pydantic", "typer", "rich"}
    assert "graphql_app.chat" not in done.stdout.split()
