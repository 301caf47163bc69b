"""The Python client: sends messages and follows replies, whatever becomes of the connection.

    send ──▶ subscribe ──▶ chunk … chunk ──▶ final status ──▶ end
                 ▲            │ cut, bare complete, or a gap
                 └────────────┘ then: resume with the text so far, or repeat the send

All operations of a client share one socket. It is opened again when an operation finds it broken;
the operations then subscribe anew, each from where it stands.
"""

import asyncio
import random
import ssl
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from gql import GraphQLRequest
from gql.transport.exceptions import (
    TransportConnectionFailed,
    TransportError,
    TransportProtocolError,
    TransportQueryError,
    TransportServerError,
)
from gql.transport.websockets import WebsocketsTransport
from graphql import ExecutionResult
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
    ProxyError,
)

from graphql_app.messages import (
    Conversation,
    Message,
    MessageChanged,
    MessagesReset,
    ReplyError,
    ReplyErrorCode,
    Role,
    Status,
    common_prefix,
    utf16_length,
)

DEFAULT_URL: Final = "ws://127.0.0.1:3000/graphql"
DEFAULT_CONVERSATION: Final = "default"

CONNECTION_FAILED: Final = "CONNECTION_FAILED"
CONNECTION_LOST: Final = "CONNECTION_LOST"
CONNECTION_REFUSED: Final = "CONNECTION_REFUSED"
REQUEST_TOO_LARGE: Final = "REQUEST_TOO_LARGE"
CLIENT_CLOSED: Final = "CLIENT_CLOSED"
UNKNOWN: Final = "UNKNOWN"

FINAL_CLOSE_CODES = frozenset({1009, 4400, 4401, 4403, 4406, 4409, 4429})
"""Close codes after which the same thing would only be refused again."""

RETRIED_HTTP_STATUSES = frozenset({408, 425, 429})
"""Refused handshakes that may go well later, besides all of 500 and above."""

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""The largest frame to receive. One reply is up to 1.6 MB of escaped text; a list has many."""

MAX_REQUEST_BYTES = 2 * 1024 * 1024
"""The largest frame to send: what a server accepts that nobody has configured otherwise."""

CLOSE_SECONDS = 1.0
"""How long the other end may take for its half of the closing handshake."""

CHUNK = "{ messageId offset text status error { code message } }"
MESSAGE = "{ id conversationId role content status createdAt replyToId error { code message } }"

SEND = GraphQLRequest(
    f"subscription Send($message: MessageInput!) {{ sendMessage(message: $message) {CHUNK} }}"
)
RESUME = GraphQLRequest(
    f"subscription Resume($message: ResumeInput!) {{ resumeMessage(message: $message) {CHUNK} }}"
)
EVENTS = GraphQLRequest(
    "subscription Events($conversationId: ID!, $last: Int) {"
    " conversationEvents(conversationId: $conversationId) { __typename"
    f" ... on MessagesReset {{ conversationId messages(last: $last) {MESSAGE} }}"
    f" ... on MessageChanged {{ message {MESSAGE} }} }} }}"
)
MESSAGES = GraphQLRequest(
    "query Messages($conversationId: ID!, $last: Int, $before: ID) {"
    f" messages(conversationId: $conversationId, last: $last, before: $before) {MESSAGE} }}"
)
ONE_MESSAGE = GraphQLRequest(f"query Message($id: ID!) {{ message(id: $id) {MESSAGE} }}")
CONVERSATIONS = GraphQLRequest(
    "query Conversations($first: Int) { conversations(first: $first) { id createdAt updatedAt } }"
)
STOP = GraphQLRequest(f"mutation Stop($id: ID!) {{ stopMessage(id: $id) {MESSAGE} }}")
CLEAR = GraphQLRequest(
    "mutation Clear($conversationId: ID!) { clearMessages(conversationId: $conversationId) }"
)


@dataclass(frozen=True, slots=True)
class Update:
    """What a piece of a reply changes: `text` takes the place of the last `replaced` characters.

    `replaced` is 0 unless text that was given to `follow` turns out to be wrong.
    """

    message_id: str
    text: str
    content: str
    """The whole text so far."""
    status: Status
    error: ReplyError | None = None
    """Set exactly when status is ERROR."""
    replaced: int = 0


@dataclass(frozen=True, slots=True)
class ConnectionChange:
    """The connection was made, or was lost and is tried again after `retry_seconds`."""

    connected: bool
    reason: str = ""
    retry_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """How a lost connection is made again: after delays that double, each cut by up to a half.

    The jitter keeps the clients of a restarted server from returning all at once. The delays start
    anew with each result that arrives.
    """

    first_seconds: float = 0.5
    longest_seconds: float = 10.0
    connect_attempts: int = 3
    """How often the very first connection is tried."""
    outage_seconds: float = 600.0
    """How long a later one is, counted from the first failure without a result since."""


class ChatClientError(Exception):
    """The server refused an operation, or cannot be reached. Nothing is tried again.

    `code` is the server's `extensions.code` (UNKNOWN if it has none), or one of the client's own:

    - CONNECTION_FAILED: the first connection could not be made.
    - CONNECTION_LOST: a later one was not made again in time, or broke while `clear` was under way.
    - CONNECTION_REFUSED: the server does not want this client, or does not speak its protocol.
    - REQUEST_TOO_LARGE: the message, or the text to resume with, is more than a frame may carry.
    - CLIENT_CLOSED: the client was closed while the operation ran.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class ChatClient:
    """A connection to the chat that survives being cut.

        import asyncio
        from graphql_app.client import ChatClient

        async def main() -> None:
            async with ChatClient("ws://127.0.0.1:3000/graphql") as client:
                async for update in client.send("Hello!"):
                    print(update.text, end="", flush=True)
                print(f"\\n[{update.status}]")

        asyncio.run(main())

    Every method raises `ChatClientError` for what the server refuses, and when the connection
    cannot be had within the bounds of `retry`. Cancelling any of them is safe. Leaving an iterator,
    or closing the client, detaches only: the reply goes on.

    Args:
        url: where the server takes sockets, ws:// or wss://.
        init_payload: what connection_init carries, a token perhaps.
        headers: of the handshake.
        retry: how a connection is made again.
        ping_seconds: how often the server is asked for a sign of life, and how long it may take.
        max_message_bytes: the largest frame to receive; None for any.
        max_request_bytes: the largest frame to send. Not every network lets the answer through that
            a larger one gets from the server, and the client would try again and again.
        on_connection: is told when the connection is made, lost, and tried again.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        init_payload: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        retry: Retry | None = None,
        ping_seconds: float = 5.0,
        max_message_bytes: int | None = MAX_MESSAGE_BYTES,
        max_request_bytes: int = MAX_REQUEST_BYTES,
        on_connection: Callable[[ConnectionChange], None] | None = None,
    ) -> None:
        self.url = url
        self._init_payload = dict(init_payload or {})
        self._headers = dict(headers or {})
        self._retry = retry or Retry()
        self._ping_seconds = ping_seconds
        self._max_message_bytes = max_message_bytes
        self._max_request_bytes = max_request_bytes
        self._on_connection = on_connection
        self._backoff = Backoff(self._retry)
        self._transport: _Transport | None = None
        self._opening: asyncio.Task[None] | None = None
        self._streams: set[AsyncGenerator[ExecutionResult, None]] = set()
        self._was_connected = False
        self._closed = False

    async def __aenter__(self) -> "ChatClient":
        try:
            await self._connected()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection. What still iterates gets CLIENT_CLOSED; replies go on."""
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        if self._transport is not None:
            # The transport waits for its streams; one that is just being read ends by itself.
            for stream in list(self._streams):
                with suppress(RuntimeError):
                    await stream.aclose()
            await self._transport.close()

    # Sending and following.

    async def send(
        self,
        content: str,
        *,
        id: str | None = None,
        conversation_id: str = DEFAULT_CONVERSATION,
    ) -> AsyncGenerator[Update, None]:
        """Sends a message, once it is iterated, and follows the reply to its end.

        The last update, and only it, has a final status. Sending one id again, with the same
        content, joins the reply.

        Args:
            id: made with uuid4 if not given.
        """
        message = {
            "id": id or str(uuid.uuid4()),
            "content": content,
            "conversationId": conversation_id,
        }
        async with aclosing(self._follow(ReplyText(), message)) as updates:
            async for update in updates:
                yield update

    async def follow(
        self, reply_id: str, *, content: str | None = None
    ) -> AsyncGenerator[Update, None]:
        """Follows a reply to its end, from where `content` stops being right.

        Args:
            content: the text that is there already; the first update says what to change.
        """
        async with aclosing(self._follow(ReplyText(reply_id, content or ""), None)) as updates:
            async for update in updates:
                yield update

    async def events(
        self, conversation_id: str = DEFAULT_CONVERSATION, *, last: int | None = None
    ) -> AsyncGenerator[MessagesReset | MessageChanged, None]:
        """A conversation as it is, and then as it changes, without end.

        Begins with a `MessagesReset`, and so it does again whenever changes may have been missed.

        Args:
            last: how many messages a reset has at most; the server's limit if not said.
        """
        request = _request(EVENTS, {"conversationId": conversation_id, "last": last})
        patience = Backoff(self._retry)
        while True:
            with suppress(_CutError):
                async with aclosing(self._results(request)) as results:
                    async for data in results:
                        event = _event(data["conversationEvents"])
                        if isinstance(event, MessageChanged):
                            patience.reset()
                        if event is not None:
                            yield event
                await self._pause(patience)

    # Asking and changing.

    async def messages(
        self,
        conversation_id: str = DEFAULT_CONVERSATION,
        *,
        last: int | None = None,
        before: str | None = None,
    ) -> list[Message]:
        """A conversation's messages, oldest first: the `last` of those older than `before`."""
        variables = {"conversationId": conversation_id, "last": last, "before": before}
        data = await self._execute(MESSAGES, variables)
        return [_message(message) for message in data["messages"]]

    async def message(self, id: str) -> Message | None:
        """A message as it is now; None if there is none."""
        found = (await self._execute(ONE_MESSAGE, {"id": id}))["message"]
        return None if found is None else _message(found)

    async def conversations(self, first: int | None = None) -> list[Conversation]:
        """The conversations that have messages, the most recently used first."""
        data = await self._execute(CONVERSATIONS, {"first": first})
        return [
            Conversation(
                id=conversation["id"],
                created_at=datetime.fromisoformat(conversation["createdAt"]),
                updated_at=datetime.fromisoformat(conversation["updatedAt"]),
            )
            for conversation in data["conversations"]
        ]

    async def stop(self, id: str) -> Message:
        """Ends a reply now and returns it; one that has ended stays as it is.

        Args:
            id: the reply's, or that of the message it answers.
        """
        return _message((await self._execute(STOP, {"id": id}))["stopMessage"])

    async def clear(self, conversation_id: str = DEFAULT_CONVERSATION) -> int:
        """Removes a conversation's messages and ends what streams in it; returns how many.

        If the connection breaks before the answer is there, this is not repeated, since it would
        take away what was sent meanwhile: it raises CONNECTION_LOST, and both may be true.
        """
        variables = {"conversationId": conversation_id}
        data = await self._execute(CLEAR, variables, repeatable=False)
        removed: int = data["clearMessages"]
        return removed

    # Operations across connections.

    async def _follow(
        self, reply: "ReplyText", message: Mapping[str, str] | None
    ) -> AsyncGenerator[Update, None]:
        patience = Backoff(self._retry)
        while True:
            if reply.message_id is None:
                request = _request(SEND, {"message": message})
            else:
                resume = {"id": reply.message_id, "content": reply.content}
                request = _request(RESUME, {"message": resume})
            with suppress(_CutError):
                with suppress(GapError):
                    async with aclosing(self._results(request)) as results:
                        async for data in results:
                            [chunk] = data.values()
                            update = reply.apply(chunk)
                            if update is None:
                                continue
                            yield update
                            if update.status.is_final:
                                return
                            if update.text:
                                patience.reset()
                await self._pause(patience)

    async def _execute(
        self, request: GraphQLRequest, variables: Mapping[str, Any], *, repeatable: bool = True
    ) -> dict[str, Any]:
        """The one result of a query or a mutation."""
        patience = Backoff(self._retry)
        while True:
            try:
                async with aclosing(
                    self._results(_request(request, variables), send_stop=False)
                ) as results:
                    async for data in results:
                        return data
            except _CutError:
                if repeatable:
                    continue
            if not repeatable:
                raise ChatClientError(
                    CONNECTION_LOST,
                    "The connection broke before the answer came; whether it was done is unknown.",
                )
            await self._pause(patience)

    async def _pause(self, patience: "Backoff") -> None:
        """Waits before an operation that was cut, while the connection lives, is tried again."""
        delay = patience.next_delay()
        if delay is None:
            raise ChatClientError(CONNECTION_LOST, "The server breaks off again and again.")
        await asyncio.sleep(delay)

    async def _results(
        self, request: GraphQLRequest, *, send_stop: bool = True
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The results of one operation on one connection.

        Raises:
            _CutError: the connection broke; try again.
        """
        transport = await self._connected()
        stream = transport.subscribe(request, send_stop=send_stop)
        self._streams.add(stream)
        try:
            async for result in stream:
                if result.errors:
                    raise _error(result.errors)
                if result.data is not None:
                    self._backoff.reset()
                    yield result.data
        except TransportQueryError as error:
            raise _error(error.errors or ()) from None
        except TransportError as error:
            await transport.close()
            raise _CutError from error
        finally:
            self._streams.discard(stream)
            await stream.aclose()

    # The connection.

    async def _connected(self) -> "_Transport":
        """The transport, opened if it is not."""
        while True:
            if self._closed:
                raise ChatClientError(CLIENT_CLOSED, "The client was closed.")
            if self._transport is not None and self._transport.close_exception is None:
                return self._transport
            if self._opening is None:
                # A task of its own: operations that wait for it may be cancelled one by one.
                self._opening = asyncio.create_task(self._open())
                self._opening.add_done_callback(self._opened)
            opening = self._opening
            try:
                await asyncio.shield(opening)
            except asyncio.CancelledError:
                if self._closed and opening.cancelled():
                    continue
                raise

    def _opened(self, opening: "asyncio.Task[None]") -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # Perhaps nobody waits for it any more.

    async def _open(self) -> None:
        """Opens the connection, as often as it may be tried.

        Raises:
            ChatClientError: it cannot be had.
        """
        failure: Exception | None = None
        attempts = 0
        if self._transport is not None:
            failure = self._transport.close_exception
            await self._transport.close()
            self._transport = None
        while True:
            if failure is not None:
                await self._back_off(failure, attempts)
            transport = self._new_transport()
            attempts += 1
            try:
                await transport.connect()
            except (TransportError, TimeoutError) as error:
                await transport.close()
                failure = error
            except BaseException:
                await transport.close()
                raise
            else:
                self._transport = transport
                self._was_connected = True
                self._report(ConnectionChange(connected=True))
                return

    async def _back_off(self, failure: Exception, attempts: int) -> None:
        if (refusal := refusal_in(failure)) is not None:
            raise ChatClientError(
                CONNECTION_REFUSED, f"{self.url} refuses the connection: {refusal}."
            ) from failure
        reason = reason_of(failure)
        delay = self._backoff.next_delay()
        if not self._was_connected and attempts >= self._retry.connect_attempts:
            raise ChatClientError(
                CONNECTION_FAILED, f"There is no connection to {self.url}: {reason}."
            ) from failure
        if delay is None:
            self._backoff.reset()
            raise ChatClientError(
                CONNECTION_LOST, f"The connection to {self.url} was lost: {reason}."
            ) from failure
        self._report(ConnectionChange(connected=False, reason=reason, retry_seconds=delay))
        await asyncio.sleep(delay)

    def _report(self, change: ConnectionChange) -> None:
        if self._on_connection is not None:
            self._on_connection(change)

    def _new_transport(self) -> "_Transport":
        return _Transport(
            self.url,
            max_request_bytes=self._max_request_bytes,
            headers=self._headers,
            init_payload=self._init_payload,
            subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
            ping_interval=self._ping_seconds,
            pong_timeout=self._ping_seconds,
            close_timeout=3 * CLOSE_SECONDS,
            connect_args={
                "max_size": self._max_message_bytes,
                "compression": None,
                "ping_interval": None,
                "close_timeout": CLOSE_SECONDS,
            },
        )


class ReplyText:
    """A reply as a client has it: the rule of offsets, without any I/O."""

    def __init__(self, message_id: str | None = None, content: str = "") -> None:
        self.message_id = message_id
        self.content = content
        self._length = utf16_length(content)
        self._updated = False

    def apply(self, chunk: Mapping[str, Any]) -> Update | None:
        """Keeps content = content[:offset] + text, and says what that changes, if anything.

        Raises:
            GapError: the chunk is beyond what is there.
        """
        self.message_id = str(chunk["messageId"])
        offset: int = chunk["offset"]
        text: str = chunk["text"]
        if offset > self._length:
            raise GapError
        replaced = 0
        if offset == self._length:
            self.content += text
            self._length += utf16_length(text)
        else:
            before = self.content
            self.content = _utf16_slice(before, offset) + text
            self._length = utf16_length(self.content)
            common = len(common_prefix(before, self.content))
            text = self.content[common:]
            replaced = len(before) - common
        status, error = _ending(chunk)
        if self._updated and not text and not replaced and not status.is_final:
            return None
        self._updated = True
        return Update(self.message_id, text, self.content, status, error, replaced)


class GapError(Exception):
    """A chunk's offset is beyond the text: something was lost."""


class _CutError(Exception):
    """The connection broke in the middle of an operation."""


@dataclass
class Backoff:
    """The delays between attempts, until an outage has lasted too long."""

    retry: Retry
    now: Callable[[], float] = time.monotonic
    jitter: Callable[[float, float], float] = random.uniform
    _failures: int = field(default=0, init=False)
    _since: float | None = field(default=None, init=False)

    def next_delay(self) -> float | None:
        """Seconds to wait after one more failure; None to give up."""
        if self._since is None:
            self._since = self.now()
        elif self.now() - self._since >= self.retry.outage_seconds:
            return None
        # The exponent is bounded, too: it would overflow before an outage of weeks ends.
        delay = self.retry.first_seconds * 2 ** min(self._failures, 60)
        delay = min(delay, self.retry.longest_seconds)
        self._failures += 1
        return self.jitter(delay / 2, delay)

    def reset(self) -> None:
        """It works again."""
        self._failures = 0
        self._since = None


class _Transport(WebsocketsTransport):
    """gql's transport, with a limit, and without four ways to wait for what is gone.

    Its `keep_alive_timeout` is not used: before Python 3.12 a frame that comes with the end of the
    connection can swallow the cancellation of that watch, and the end is told as late as it fires.
    """

    def __init__(self, url: str, *, max_request_bytes: int, **options: Any) -> None:
        super().__init__(url, **options)
        self._max_request_bytes = max_request_bytes

    async def _send(self, message: str) -> None:
        if len(message) > self._max_request_bytes:  # It is ASCII.
            raise TransportQueryError(
                REQUEST_TOO_LARGE,
                errors=[
                    {
                        "message": f"A request may have {self._max_request_bytes:,} bytes.",
                        "extensions": {"code": REQUEST_TOO_LARGE},
                    }
                ],
            )
        await super()._send(message)

    async def send_ping(self, payload: Any | None = None) -> None:
        # Behind something larger that is stuck, a ping waits as long as for its pong.
        async with asyncio.timeout(self.pong_timeout):
            await super().send_ping(payload)

    async def _send_query(self, request: GraphQLRequest) -> int:
        id = await super()._send_query(request)
        if self.close_exception is not None:
            # It broke while sending; who subscribes now would not be told any more.
            raise TransportConnectionFailed from self.close_exception
        return id

    async def _close_hook(self) -> None:
        if self.adapter.websocket is not None:
            # A goodbye, too, can be stuck. On a connection that is closed by then, nothing happens.
            abort = self.adapter.websocket.transport.abort
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, abort)
        await super()._close_hook()  # type: ignore[no-untyped-call]

    async def _stop_listener(self, query_id: int) -> None:
        # Raised from here it would take the place of the cancellation that ends the subscription.
        with suppress(TransportConnectionFailed):
            await super()._stop_listener(query_id)


def refusal_in(failure: BaseException) -> str | None:
    """Why it is of no use to connect again; None if it may be."""
    for cause in _causes(failure):
        match cause:
            case ConnectionClosed():
                close = cause.rcvd or cause.sent
                return str(close) if close and close.code in FINAL_CLOSE_CODES else None
            case InvalidStatus():
                status = cause.response.status_code
                is_retried = status >= 500 or status in RETRIED_HTTP_STATUSES
                return None if is_retried else f"HTTP {status}"
            case InvalidMessage() | ProxyError():
                return None
            case InvalidHandshake() | InvalidURI() | ssl.SSLCertVerificationError():
                return str(cause)
            case TransportProtocolError():
                return "it does not speak graphql-transport-ws"
    return None


def reason_of(failure: BaseException) -> str:
    """Why a connection ended, or was not made, in a few words."""
    for cause in _causes(failure):
        match cause:
            case ConnectionClosed() if cause.rcvd is not None:
                return f"closed by the server with {cause.rcvd}"
            case InvalidStatus():
                return f"HTTP {cause.response.status_code}"
            case TransportServerError() | TimeoutError():
                return "no sign of life"
            case ConnectionRefusedError():
                return "connection refused"
            case OSError():
                return cause.strerror or str(cause)
    return "cut"


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _error(errors: Sequence[Any]) -> ChatClientError:
    first = errors[0] if errors else {}
    code = (first.get("extensions") or {}).get("code") or UNKNOWN
    return ChatClientError(code, first.get("message") or "The server refused without a reason.")


def _request(request: GraphQLRequest, variables: Mapping[str, Any]) -> GraphQLRequest:
    return GraphQLRequest(request, variable_values=dict(variables))


def _utf16_slice(text: str, end: int) -> str:
    """JavaScript's text.slice(0, end), also of a text that has lone surrogates."""
    if text.isascii():
        return text[:end]
    units = text.encode("utf-16-le", "surrogatepass")
    return units[: 2 * end].decode("utf-16-le", "surrogatepass")


def _ending(data: Mapping[str, Any]) -> tuple[Status, ReplyError | None]:
    """The status and the error of a message or a chunk, whatever later versions may call them."""
    try:
        status = Status(data["status"])
    except ValueError:
        # Whatever it means, it is not STREAMING: nothing more comes.
        return Status.ERROR, ReplyError(
            ReplyErrorCode.COMPLETION_FAILED,
            f"The reply ended as {data['status']}, which this client does not know.",
        )
    error = data["error"]
    if error is None:
        return status, None
    try:
        code = ReplyErrorCode(error["code"])
    except ValueError:
        code = ReplyErrorCode.COMPLETION_FAILED
    return status, ReplyError(code, error["message"])


def _message(data: Mapping[str, Any]) -> Message:
    status, error = _ending(data)
    return Message(
        id=data["id"],
        conversation_id=data["conversationId"],
        role=Role.USER if data["role"] == Role.USER else Role.ASSISTANT,
        content=data["content"],
        status=status,
        created_at=datetime.fromisoformat(data["createdAt"]),
        reply_to_id=data["replyToId"],
        error=error,
    )


def _event(data: Mapping[str, Any]) -> MessagesReset | MessageChanged | None:
    """An event; None for kinds that came later than this client."""
    match data["__typename"]:
        case "MessagesReset":
            messages = tuple(_message(message) for message in data["messages"])
            return MessagesReset(data["conversationId"], messages)
        case "MessageChanged":
            return MessageChanged(_message(data["message"]))
        case _:
            return None
