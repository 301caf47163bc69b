"""A real language model answers, through its own HTTP server: SmolLM2 on llama.cpp."""

import asyncio
import random
import signal
import time
from collections.abc import Iterator
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest

from tests.end_to_end.smollm import ModelServer, RecordingProxy, recording_proxy, require_model
from tests.processes import ServerProcess, serving
from tests.servers import running
from tests.wire import PATIENCE_SECONDS, RESUME, SEND, Reply, Socket, eventually, open_socket

STORY = "Tell me a long story about a horse, with many chapters."
"""It says some hundred tokens about that, and never less than two hundred."""

QUESTION = "What is a horse? Answer in two sentences."
SYSTEM_PROMPT = "You are a friendly teacher."

USAGE = "usage { model inputTokens outputTokens timeToFirstToken duration }"
SILENCE_SECONDS = 3.0
CUTS = 15

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    require_model()
    server = ModelServer(tmp_path_factory.mktemp("model"))
    with running(server):
        yield server


@pytest.fixture(scope="module")
def proxy(model: ModelServer) -> Iterator[RecordingProxy]:
    with recording_proxy(model.port) as proxy:
        yield proxy


def asking(url: str, *options: str, **variables: str) -> Any:
    """A server whose model is at a URL."""
    environment = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "none", "NO_PROXY": "*", **variables}
    return serving("--completion", "openai:smollm2", *options, environment=environment)


@pytest.fixture(scope="module")
def shared_server(proxy: RecordingProxy) -> Iterator[ServerProcess]:
    """Hides the echoing one."""
    with asking(proxy.url, "--system-prompt", SYSTEM_PROMPT) as server:
        yield server


@pytest.fixture
def idle(model: ModelServer, proxy: RecordingProxy) -> Iterator[None]:
    """Nothing runs at the model before, and nothing is left running there."""
    proxy.connections = [each for each in proxy.connections if not each.left.is_set()]
    for connection in proxy.connections:
        connection.sent = b""
    yield
    deadline = monotonic() + PATIENCE_SECONDS
    while model.running_replies():
        assert monotonic() < deadline, "a reply was left running"
        time.sleep(0.02)


async def say(
    socket: Socket, content: str, conversation: str, *, most_chunks: int | None = None
) -> Reply:
    """Sends a message and follows the reply, to its end or for so many chunks."""
    message = {"id": uuid4().hex, "content": content, "conversationId": conversation}
    return await socket.follow(SEND, {"message": message}, most_chunks=most_chunks)


def failure(reply: Reply) -> tuple[str | None, str]:
    assert reply.error is not None
    return reply.status, reply.error["code"]


async def stored(socket: Socket, id: str | None, fields: str = "") -> dict[str, Any]:
    query = f"query Stored($id: ID!) {{ message(id: $id) {{ content status {fields} }} }}"
    result = await socket.execute(query, {"id": id})
    message: dict[str, Any] = result["data"]["message"]
    return message


async def stop(server: ServerProcess, id: str | None) -> None:
    """Stops a reply from somewhere else."""
    mutation = "mutation Stop($id: ID!) { stopMessage(id: $id) { status } }"
    async with open_socket(server.url) as socket:
        result = await socket.execute(mutation, {"id": id})
    assert result["data"]["stopMessage"]["status"] == "STOPPED"


@pytest.mark.usefixtures("idle")
async def test_a_model_streams_its_answer_and_what_it_took_is_kept(server: ServerProcess) -> None:
    async with open_socket(server.url) as socket:
        reply = await say(socket, QUESTION, "streams")
        message = await stored(socket, reply.message_id, USAGE)
    assert reply.status == "DONE"
    assert len(reply.chunks) > 2
    assert message["content"] == reply.content != ""
    usage = message["usage"]
    assert usage["model"] == "smollm2"
    assert usage["inputTokens"] > 20
    assert usage["outputTokens"] > 2
    assert 0 < usage["timeToFirstToken"] < usage["duration"]


@pytest.mark.usefixtures("idle")
async def test_a_reply_that_is_cut_again_and_again_is_exact_and_was_asked_for_once(
    server: ServerProcess, proxy: RecordingProxy
) -> None:
    chance = random.Random(6)
    message = {"id": "cut", "content": STORY, "conversationId": "cut"}
    reply = Reply()
    for _ in range(CUTS):
        # A client that was cut resumes with what it has, or, if it knows no better, sends again.
        is_known = reply.message_id is not None and chance.random() < 0.5
        resume = {"id": reply.message_id, "content": reply.content}
        query, variables = (RESUME, resume) if is_known else (SEND, message)
        async with open_socket(server.url) as socket:
            most_chunks = chance.randint(1, 6)
            await socket.follow(query, {"message": variables}, reply, most_chunks=most_chunks)
            socket.cut()
        assert reply.status == "STREAMING"
    await stop(server, reply.message_id)
    resume = {"id": reply.message_id, "content": reply.content}
    async with open_socket(server.url) as socket:
        await socket.follow(RESUME, {"message": resume}, reply)
        kept = await stored(socket, reply.message_id)
    assert (reply.content, reply.status) == (kept["content"], "STOPPED")
    assert len(reply.content) > CUTS
    assert len(proxy.requests()) == 1


@pytest.mark.usefixtures("idle")
async def test_a_stop_in_the_middle_ends_the_models_work_within_a_second(
    server: ServerProcess, model: ModelServer, proxy: RecordingProxy
) -> None:
    async with open_socket(server.url) as socket:
        reply = await say(socket, STORY, "stopped", most_chunks=5)
        assert model.running_replies() == 1
        await stop(server, reply.message_id)
        stopped_at = monotonic()
        await eventually(proxy.connections[-1].left.is_set)
        await eventually(lambda: model.running_replies() == 0)
        seconds = monotonic() - stopped_at
        await socket.rest(reply)
        kept = await stored(socket, reply.message_id)
    assert seconds < 1.0
    assert (reply.content, reply.status) == (kept["content"], "STOPPED")


@pytest.mark.usefixtures("idle")
async def test_a_stop_before_the_first_word_closes_the_request_even_while_the_model_hangs(
    server: ServerProcess, model: ModelServer, proxy: RecordingProxy
) -> None:
    model.pause()
    try:
        async with open_socket(server.url) as socket:
            reply = await say(socket, STORY, "early", most_chunks=1)
            await eventually(lambda: len(proxy.requests()) == 1)
            await stop(server, reply.message_id)
            stopped_at = monotonic()
            await eventually(proxy.connections[-1].left.is_set)
            assert monotonic() - stopped_at < 1.0
    finally:
        model.resume()
    await eventually(lambda: model.running_replies() == 0)


@pytest.mark.usefixtures("idle")
async def test_a_client_that_leaves_ends_nothing_and_clearing_ends_the_request(
    server: ServerProcess, model: ModelServer
) -> None:
    async with open_socket(server.url) as socket:
        reply = await say(socket, STORY, "left", most_chunks=3)
        socket.cut()
    async with open_socket(server.url) as socket:
        resumed = await socket.follow(RESUME, {"message": {"id": reply.message_id}}, most_chunks=5)
        assert resumed.content.startswith(reply.content)
        assert model.running_replies() == 1
    async with open_socket(server.url) as socket:
        await socket.execute('mutation { clearMessages(conversationId: "left") }')
        cleared_at = monotonic()
        await eventually(lambda: model.running_replies() == 0)
    assert monotonic() - cleared_at < 1.0


@pytest.mark.usefixtures("idle")
async def test_two_replies_stream_at_once(server: ServerProcess, model: ModelServer) -> None:
    async with open_socket(server.url) as one, open_socket(server.url) as other:
        replies = [
            await say(each, STORY, f"at once {each}", most_chunks=5) for each in (one, other)
        ]
        assert model.running_replies() == 2
        for socket, reply in zip((one, other), replies, strict=True):
            before = len(reply.content)
            await socket.rest(reply, most_chunks=10)
            assert reply.status == "STREAMING"
            assert len(reply.content) > before
        for reply in replies:
            await stop(server, reply.message_id)
    await eventually(lambda: model.running_replies() == 0)


@pytest.mark.usefixtures("idle")
async def test_the_whole_conversation_goes_to_the_model_in_order(
    server: ServerProcess, proxy: RecordingProxy
) -> None:
    questions = ["My name is Ada. 你好 👋", "What is two and two?", "What is my name?"]
    expected = [("system", SYSTEM_PROMPT)]
    async with open_socket(server.url) as socket:
        for question in questions:
            reply = await say(socket, question, "in order", most_chunks=6)
            if reply.status == "STREAMING":
                # What the user saw of a stopped reply is what the model said.
                await stop(server, reply.message_id)
                await socket.rest(reply)
            expected += [("user", question), ("assistant", reply.content)]
    [*_, last] = proxy.requests()
    sent = [(message["role"], message["content"]) for message in last["messages"]]
    assert sent == expected[:-1]
    assert last["stream"] is True


async def test_a_model_that_is_killed_in_the_middle_is_told_and_answers_when_it_is_back(
    model: ModelServer,
) -> None:
    with asking(model.url) as server:
        async with open_socket(server.url) as socket:
            reply = await say(socket, STORY, "killed", most_chunks=5)
            model.kill()
            await socket.rest(reply)
            kept = await stored(socket, reply.message_id)
            away = await say(socket, QUESTION, "killed")
            model.start()
            back = await say(socket, QUESTION, "killed", most_chunks=3)
    assert failure(reply) == ("ERROR", "COMPLETION_BROKEN_OFF")
    assert reply.content == kept["content"] != ""
    assert failure(away) == ("ERROR", "COMPLETION_UNREACHABLE")
    assert (away.content, back.error) == ("", None)
    assert back.content != ""


async def test_a_model_that_falls_silent_is_told_and_answers_when_it_is_awake(
    model: ModelServer,
) -> None:
    silence = {"GRAPHQL_APP_COMPLETION_TIMEOUT_SECONDS": str(SILENCE_SECONDS)}
    with asking(model.url, **silence) as server:
        async with open_socket(server.url) as socket:
            reply = await say(socket, STORY, "silent", most_chunks=5)
            model.pause()
            try:
                await socket.rest(reply)
            finally:
                model.resume()
            awake = await say(socket, QUESTION, "silent", most_chunks=3)
    assert failure(reply) == ("ERROR", "COMPLETION_TIMEOUT")
    assert reply.content != ""
    assert awake.error is None
    assert awake.content != ""
    await eventually(lambda: model.running_replies() == 0)


async def test_a_model_that_hangs_before_its_first_word_is_told(model: ModelServer) -> None:
    with asking(model.url, GRAPHQL_APP_COMPLETION_TIMEOUT_SECONDS="1") as server:
        model.pause()
        try:
            async with open_socket(server.url) as socket:
                reply = await say(socket, QUESTION, "hangs")
        finally:
            model.resume()
    assert failure(reply) == ("ERROR", "COMPLETION_TIMEOUT")
    await eventually(lambda: model.running_replies() == 0)


async def test_a_server_that_shuts_down_ends_the_models_work(model: ModelServer) -> None:
    with asking(model.url, GRAPHQL_APP_NOTICE_SECONDS="0") as server:
        async with open_socket(server.url) as socket:
            await say(socket, STORY, "shut down", most_chunks=5)
            assert model.running_replies() == 1
            assert await asyncio.to_thread(server.terminate) == -signal.SIGTERM
    await eventually(lambda: model.running_replies() == 0)
