"""A scripted provider: speaks the wire format of OpenAI's chat completions, and misbehaves."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http.client import responses
from time import monotonic
from typing import Any, TypeAlias

PATIENCE_SECONDS = 10.0
"""How long anything that must happen may take; nothing waits as long as that when all is well."""

STREAM = {"Content-Type": "text/event-stream"}


@dataclass
class ProviderRequest:
    """One request as it arrived, and what became of its connection."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    arrived_at: float
    left: asyncio.Event = field(default_factory=asyncio.Event)
    left_at: float | None = None

    @property
    def messages(self) -> list[tuple[str, str]]:
        """Role and content of each message, in order."""
        return [(message["role"], message["content"]) for message in self.body["messages"]]

    async def until_left(self) -> float:
        """Returns when the client has closed the connection: the moment at which that was seen."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.left.wait()
        assert self.left_at is not None
        return self.left_at


class Exchange:
    """One request and its answer, piece by piece; the connection is closed behind it."""

    def __init__(self, request: ProviderRequest, writer: asyncio.StreamWriter) -> None:
        self.request = request
        self._writer = writer
        self._chunked = False

    async def start(
        self, status: int = 200, headers: Mapping[str, str] = STREAM, *, chunked: bool = True
    ) -> None:
        """Sends the head. A chunked body has its own end; another ends with the connection."""
        self._chunked = chunked
        lines = [f"HTTP/1.1 {status} {responses.get(status, '')}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if chunked:
            lines.append("Transfer-Encoding: chunked")
        await self.write("\r\n".join([*lines, "", ""]).encode())

    async def write(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def body(self, data: bytes) -> None:
        """Sends a piece of the body, in one chunk."""
        if self._chunked:
            data = f"{len(data):x}\r\n".encode() + data + b"\r\n"
        await self.write(data)

    async def event(self, data: object) -> None:
        """Sends one event; a string goes as it is."""
        await self.body(event(data))

    async def say(self, *texts: str) -> None:
        """Sends text deltas, an event each."""
        for text in texts:
            await self.event(chunk({"content": text}))

    async def finish(self, reason: str = "stop", usage: tuple[int, int] | None = (7, 5)) -> None:
        """Sends the finish reason, the usage and the end marker, and ends the body in order."""
        await self.event(chunk({}, finish_reason=reason))
        if usage is not None:
            read, written = usage
            await self.event(
                {
                    **chunk(None),
                    "choices": [],
                    "usage": {
                        "prompt_tokens": read,
                        "completion_tokens": written,
                        "total_tokens": read + written,
                    },
                }
            )
        await self.event("[DONE]")
        await self.end()

    async def end(self) -> None:
        """Ends the body in order, whatever was sent."""
        if self._chunked:
            await self.write(b"0\r\n\r\n")

    def reset(self) -> None:
        """Drops the connection without a goodbye."""
        self._writer.transport.abort()


Answer: TypeAlias = Callable[[Exchange], Awaitable[None]]
"""How a provider answers one request."""


def event(data: object) -> bytes:
    """One event of a stream; a string goes as it is, anything else as JSON."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return f"data: {text}\n\n".encode()


def chunk(delta: Mapping[str, Any] | None, finish_reason: str | None = None) -> dict[str, Any]:
    """A chunk of a chat completion."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_780_000_000,
        "model": "scripted-2026",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }


def saying(
    *texts: str, finish_reason: str = "stop", usage: tuple[int, int] | None = (7, 5)
) -> Answer:
    """A whole answer, a delta for each text."""

    async def answer(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.event(chunk({"role": "assistant", "content": ""}))
        await exchange.say(*texts)
        await exchange.finish(finish_reason, usage)

    return answer


def dripping(*texts: str, delay_seconds: float = 0.0, size: int = 1) -> Answer:
    """A whole answer, so many bytes at a time, wherever that cuts."""

    async def answer(exchange: Exchange) -> None:
        await exchange.start(chunked=False)
        pieces = [event(chunk({"content": text})) for text in texts]
        pieces += [event(chunk({}, finish_reason="stop")), event("[DONE]")]
        data = b"".join(pieces)
        for begin in range(0, len(data), size):
            await exchange.write(data[begin : begin + size])
            await asyncio.sleep(delay_seconds)

    return answer


def breaking_off(*texts: str, in_order: bool = False) -> Answer:
    """Half an answer; `in_order` ends the body as if that were all."""

    async def answer(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.event(chunk({"role": "assistant", "content": ""}))
        await exchange.say(*texts)
        if in_order:
            await exchange.end()

    return answer


def stalling(*texts: str) -> Answer:
    """Says this and then nothing more, until the client leaves."""

    async def answer(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.say(*texts)
        await exchange.request.left.wait()

    return answer


def then_garbage(*texts: str, garbage: bytes = b"data: {]\n\n") -> Answer:
    """Says this, then bytes that mean nothing, and ends the body in order."""

    async def answer(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.say(*texts)
        await exchange.body(garbage)
        await exchange.end()

    return answer


def then_error(*texts: str, error: Mapping[str, Any]) -> Answer:
    """Says this, then an error inside the stream, as providers do when it has begun."""

    async def answer(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.say(*texts)
        await exchange.event({"error": error})
        await exchange.end()

    return answer


def failing(
    status: int,
    *,
    code: str | None = None,
    type: str | None = None,
    message: str = "It failed.",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """A refusal with a status, in the format of OpenAI's errors."""

    async def answer(exchange: Exchange) -> None:
        body = json.dumps({"error": {"message": message, "type": type, "code": code}}).encode()
        head = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        await exchange.start(status, {**head, **(headers or {})}, chunked=False)
        await exchange.write(body)

    return answer


async def hanging(exchange: Exchange) -> None:
    """Takes the request and sends nothing, not even the head, until the client leaves."""
    await exchange.request.left.wait()


async def resetting(exchange: Exchange) -> None:
    """Takes the request and drops the connection."""
    exchange.reset()


async def closing(exchange: Exchange) -> None:
    """Takes the request and closes the connection in order, without an answer."""


class ScriptedProvider:
    """Answers requests as it was told; what it was asked stays in `requests`.

    `will` says how the next requests are answered, one each; the others get `otherwise`.
    """

    def __init__(self) -> None:
        self.requests: list[ProviderRequest] = []
        self.otherwise: Answer = saying("Hello", " there.")
        self.port = 0
        self._script: list[Answer] = []
        self._open = set[asyncio.StreamWriter]()
        self._tasks = set[asyncio.Task[None]]()
        self._defects = list[BaseException]()
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Condition()

    @property
    def url(self) -> str:
        """What OPENAI_BASE_URL is to be."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    def will(self, *answers: Answer) -> None:
        self._script.extend(answers)

    async def asked(self, times: int = 1) -> ProviderRequest:
        """Returns when so many requests have come, the last of them."""
        async with asyncio.timeout(PATIENCE_SECONDS), self._changed:
            await self._changed.wait_for(lambda: len(self.requests) >= times)
        return self.requests[times - 1]

    async def until_idle(self) -> None:
        """Returns when no connection is open."""
        async with asyncio.timeout(PATIENCE_SECONDS), self._changed:
            await self._changed.wait_for(lambda: not self._open)

    async def listen(self) -> None:
        """Accepts connections, at the same port as before if there was one."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Drops all connections, and refuses new ones."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert not self._defects, f"the provider itself failed: {self._defects!r}"

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (defect := task.exception()) is not None:
            self._defects.append(defect)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                request = await _request(reader)
                async with self._changed:
                    self.requests.append(request)
                    self._changed.notify_all()
                answer = self._script.pop(0) if self._script else self.otherwise
                watcher = asyncio.create_task(_watch(reader, request))
                try:
                    await answer(Exchange(request, writer))
                finally:
                    watcher.cancel()
                    await asyncio.gather(watcher, return_exceptions=True)
        finally:
            writer.close()
            async with self._changed:
                self._open.discard(writer)
                self._changed.notify_all()


async def _request(reader: asyncio.StreamReader) -> ProviderRequest:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *fields = head.strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in fields)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return ProviderRequest(line.split()[1], headers, json.loads(body or b"{}"), monotonic())


async def _watch(reader: asyncio.StreamReader, request: ProviderRequest) -> None:
    """Notes when the client closes the connection; a client sends nothing behind its request."""
    with suppress(ConnectionError):
        await reader.read()
    request.left_at = monotonic()
    request.left.set()


@asynccontextmanager
async def scripted_provider() -> AsyncIterator[ScriptedProvider]:
    """A provider on a free loopback port."""
    provider = ScriptedProvider()
    await provider.listen()
    try:
        yield provider
    finally:
        await provider.close()
