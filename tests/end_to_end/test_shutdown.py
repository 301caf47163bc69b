"""What the signals do to a real server: sockets are told, and the process ends."""

import asyncio
import signal
from pathlib import Path

import httpx
import pytest

from tests.processes import ServerProcess, serving
from tests.wire import SEND, how_closed, open_socket

ROOT = Path(__file__).parents[2]
SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
ENDS_WITHIN_SECONDS = 20.0


def answering() -> tuple[str, ...]:
    return ("--completion", "tests.end_to_end.answers:complete")


async def ends(server: ServerProcess) -> int:
    return await asyncio.to_thread(server.process.wait, ENDS_WITHIN_SECONDS)


@SIGNALS
async def test_sockets_are_closed_with_1012_and_the_process_ends(number: signal.Signals) -> None:
    with serving(*answering(), directory=ROOT) as server:
        async with open_socket(server.url) as socket:
            message = {"id": "m1", "content": "wait"}
            reply = await socket.follow(SEND, {"message": message}, most_chunks=2)
            assert reply.content == "waiting"
            server.process.send_signal(number)
            assert (await how_closed(socket.connection))[0] == 1012
            await ends(server)


async def test_an_open_event_stream_does_not_keep_the_process() -> None:
    with serving(*answering(), directory=ROOT) as server:
        query = 'subscription { sendMessage(message: {id: "m1", content: "wait"}) { text } }'
        async with (
            httpx.AsyncClient(base_url=server.http, timeout=30) as http,
            http.stream(
                "POST",
                "/graphql",
                json={"query": query},
                headers={"Accept": "text/event-stream"},
            ) as response,
        ):
            lines = response.aiter_lines()
            while "waiting" not in await anext(lines):
                pass
            server.process.send_signal(signal.SIGTERM)
            await ends(server)


@SIGNALS
@pytest.mark.parametrize("completion", ["stubborn", "thread"])
async def test_a_completion_that_cannot_be_cancelled_does_not_keep_the_process(
    number: signal.Signals, completion: str
) -> None:
    with serving(*answering(), directory=ROOT) as server:
        async with open_socket(server.url) as socket:
            message = {"id": "m1", "content": completion}
            await socket.follow(SEND, {"message": message}, most_chunks=2)
            server.process.send_signal(number)
            await how_closed(socket.connection)
            # SIGTERM ends the process itself; after SIGINT the interpreter would wait.
            by_interpreter = number is signal.SIGINT
            assert await ends(server) == (128 + number if by_interpreter else -number)
        assert ("in spite of completions" in server.log) is by_interpreter


@SIGNALS
async def test_a_server_that_has_served_a_page_ends_without_a_word(number: signal.Signals) -> None:
    with serving(*answering(), directory=ROOT) as server:
        async with httpx.AsyncClient(base_url=server.http) as http:
            # Files are read in a thread, which is idle for a while after.
            await http.get("/graphql", headers={"Accept": "text/html"})
        begin = len(server.log)
        server.process.send_signal(number)
        await ends(server)
        assert server.log[begin:] == ""


async def test_a_second_ctrl_c_ends_the_process_at_once() -> None:
    with serving(*answering(), directory=ROOT, traceback_is_expected=True) as server:
        async with open_socket(server.url) as socket:
            message = {"id": "m1", "content": "stubborn"}
            await socket.follow(SEND, {"message": message}, most_chunks=2)
            server.process.send_signal(signal.SIGINT)
            await how_closed(socket.connection)
            server.process.send_signal(signal.SIGINT)
            await ends(server)
